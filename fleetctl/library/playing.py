"""Recorded traffic played against policies, in virtual time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fleetctl.errors import NotFound, UsageError
from fleetctl.library.rows import Rows
from fleetctl.model.services import Service
from fleetctl.spec.fleet import Fleet

if TYPE_CHECKING:
    # Imported when something is played: a client that only looks does without.
    from fleetctl.sim.traces import Trace
    from fleetctl.views.outcomes import Outcome


def simulate(
    services: Fleet | Service | Sequence[Service],
    traffic: "Trace | str | Path | Mapping[str, Trace | str | Path]",
    *,
    policies: Sequence[str] = (),
    against: Sequence[str] = (),
    sweep: Mapping[str, Sequence[object]] | None = None,
    cold_s: float | None = None,
    standby_s: float | None = None,
    seed: int = 1,
    best: bool = True,
    price: float = 2.0,
    processes: int = 1,
) -> "Rows[Outcome]":
    """What autoscalers would have done with this traffic: one Outcome for each; as `fleetctl simulate` plays them.

    `traffic` is a Trace, or the path of a CSV file (`arrival_s,input_tokens,output_tokens`, may be gzipped); of several
    Services one each, by name. Services that share a Pool play together where a whole Fleet is given. `policies` are
    presets, or paths of presets; none: each Service's own. `against` are peers, as in `hpa` or `knative:0.5`. `sweep`
    tries every combination, as in `{"scaling.target": [0.5, 0.7]}`; then the rows are the cheapest first, and `front`
    marks those that no other beats. `cold_s` and `standby_s` are median starts in seconds, before those of the files.
    `best` looks for the best schedule known afterwards, for `ratio`. `price` is US dollars of one GPU for an hour. With
    more `processes` runs go side by side, which on systems that start processes anew needs a `__main__` guard. The same
    seed gives the same figures. Raises `NotFound`, `SpecError` and `UsageError`.
    """
    from fleetctl.sim.contest import Setting, compete, contestant
    from fleetctl.sim.entrants import entrants_of
    from fleetctl.views.outcomes import outcomes, swept

    pools = {pool.name: pool for pool in services.pools} if isinstance(services, Fleet) else {}
    declared = services.services if isinstance(services, Fleet) else services
    found = _contested((declared,) if isinstance(declared, Service) else tuple(declared), traffic)
    contestants = tuple(
        contestant(service, trace, cold_s=cold_s, standby_s=standby_s, price=price) for service, trace in found
    )
    words = [f"{knob}={','.join(str(value) for value in values)}" for knob, values in (sweep or {}).items()]
    setting = Setting(contestants=contestants, pools=pools, seed=seed)
    entrants = entrants_of(contestants, policies, against, words)
    played, known = compete(setting, entrants, with_best=best, processes=processes)
    return Rows((swept if sweep else outcomes)(setting, played, known))


def read_trace(path: str | Path) -> "Trace":
    """The recorded requests of a CSV file, plain or gzipped, with the columns `arrival_s,input_tokens,output_tokens`.

    Raises `SpecError` with file and line.
    """
    from fleetctl.sim.traces import read_trace

    return read_trace(Path(path))


def _contested(
    services: Sequence[Service], traffic: "Trace | str | Path | Mapping[str, Trace | str | Path]"
) -> "list[tuple[Service, Trace]]":
    """Which Service gets which traffic, in the order of the Services."""
    if not isinstance(traffic, Mapping):
        if len(services) != 1:
            raise UsageError(
                f"{len(services)} services are given one traffic", hint="give one each, by name: {'chat': …}"
            )
        return [(services[0], _trace(traffic))]
    names = [str(one.name) for one in services]
    for name in traffic:
        if name not in names:
            raise NotFound(f"no service {name!r} is given", hint=f"there are: {', '.join(names) or 'none'}")
    if not traffic:
        raise UsageError("there is no traffic to play", hint="give a trace, or the path of a CSV file")
    return [(one, _trace(traffic[one.name])) for one in services if one.name in traffic]


def _trace(given: "Trace | str | Path") -> "Trace":
    found = read_trace(given) if isinstance(given, str | Path) else given
    if not len(found):
        raise UsageError("no request lies in that traffic", hint="take a longer stretch of it")
    return found
