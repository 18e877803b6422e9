"""One whole look at a fleet, now or at an earlier time: what the dashboard draws."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from fleetctl.model.decisions import Decision, Event
from fleetctl.model.instances import Instance
from fleetctl.model.snapshots import Intent
from fleetctl.model.starts import Start
from fleetctl.views.charts import DemandPoint
from fleetctl.views.fleet import FleetView, ServiceRow

TRACE_S: Final = 7200.0
"""How far back demand is drawn."""
TRACE_POINTS: Final = 240
"""Points of a trace: two for each column of a wide terminal."""
EVENTS_MAX: Final = 500
STARTS_MAX: Final = 50
"""Starts that the waterfall's figures are of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLine:
    """One Pool: what it holds, by what it costs."""

    name: str
    ready: int
    instances: int
    standby: str
    """`1/2 warm`."""
    standby_short: bool
    gpus_used: int
    gpus: int
    price_per_hour: float | None
    spot: int
    """Instances of the spot market."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Everything at one time. Only `traces`, `events` and `starts` reach back."""

    at: float
    """Unix seconds of the data; for a look at now, when it was read."""
    now: bool = True
    """False: it is played back."""
    view: FleetView
    """The same object as in the look before where nothing has changed since."""
    services: Sequence[ServiceRow]
    events: Sequence[Event] = ()
    """Newest first."""
    starts: Sequence[Start] = ()
    """Newest first."""
    traces: Mapping[str, Sequence[DemandPoint]] = field(default_factory=dict)
    """By Service, oldest first."""
    stands: Mapping[str, float] = field(default_factory=dict)
    """By Service: since when its newest Decision says what it says, in Unix seconds."""
    machines_at: float | None = None
    """When machines and replicas were read, in Unix seconds; None: with this look."""
    whole: bool = True
    """False: what lies back is not read yet; the next look has it."""
    max_cost_per_hour: float | None = None

    @property
    def data_age_s(self) -> float | None:
        """How old the newest Decision is, 0 where the clock was set back since; None: there is none."""
        newest = max((one.at for one in self.view.decisions.values()), default=None)
        return None if newest is None else max(0.0, self.at - newest)

    @property
    def machines_age_s(self) -> float:
        """How long ago machines and replicas were read, where they have changed since; 0: they are as they are."""
        return 0.0 if self.machines_at is None else max(0.0, self.at - self.machines_at)

    def decision(self, service: str) -> Decision | None:
        return self.view.decisions.get(service)


class Source(Protocol):
    """Where looks come from."""

    def look(self) -> Look:
        """The next one. Raises `errors.StoreFailure`, and `errors.Conflict` once a newer fleetctl has the store."""


def pool_lines(view: FleetView, rows: Iterable[ServiceRow]) -> list[PoolLine]:
    """Every Pool with Instances, or of a Service that is up."""
    by_name = {row.name: row for row in rows}
    intents: dict[str, list[Intent]] = {}
    for intent in view.intents:
        if intent.up:
            intents.setdefault(view.pool_of(intent).name, []).append(intent)
    lines = []
    for name in sorted({*intents, *(pool for pool, held in view.by_pool.items() if any(not one.over for one in held))}):
        held = [one for one in view.by_pool.get(name, ()) if not one.over]
        of = [by_name[one.service.name] for one in intents.get(name, ()) if one.service.name in by_name]
        ready = max((row.standby_ready for row in of), default=0)
        wanted = max((row.standby_wanted for row in of), default=0)
        lines.append(
            PoolLine(
                name=name,
                ready=sum(1 for one in held if one.phase == "ready"),
                instances=len(held),
                standby=f"{ready}/{wanted} {of[0].tier}" if of else "-",
                standby_short=ready < wanted,
                gpus_used=sum(view.used_gpus(one.id) for one in held),
                gpus=sum(one.offer.gpu.count for one in held),
                price_per_hour=_price(held),
                spot=sum(1 for one in held if one.offer.market == "spot"),
            )
        )
    return lines


def _price(instances: Iterable[Instance]) -> float | None:
    prices = [one.offer.price_per_hour for one in instances if one.billed]
    return None if any(price is None for price in prices) else sum(price or 0.0 for price in prices)
