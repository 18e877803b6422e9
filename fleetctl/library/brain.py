"""The brain alone: observations in, Decisions with reasons out, and nothing else is touched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from fleetctl.decide.counterfactuals import counterfactuals
from fleetctl.decide.lines import Line, Recollection, ServiceLine, Signals, Starting, decisions, standby_wanted
from fleetctl.errors import NotFound, UsageError
from fleetctl.library.rows import Rows
from fleetctl.model.decisions import Decision, Memory
from fleetctl.model.names import ServiceName
from fleetctl.model.services import Service
from fleetctl.model.snapshots import Intent
from fleetctl.spec.fleet import Fleet
from fleetctl.views.explanation import Explanation


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed(Signals):
    """One Service as its actuator sees it, and what was measured since the Decision before. None: unknown.

    An unknown load holds the count; it is never taken for zero.
    """

    ready: int
    """Replicas that serve."""
    starting_s: Sequence[float] = ()
    """Of each Replica on its way: seconds since it was ordered."""
    draining: int = 0
    standby: int = 0
    """Slots that stand by, ready to be taken."""


class Brain:
    """What decides in a fleet, without the fleet: for an actuator of one's own, and for trying things out.

    It reads no clock and touches nothing. The same observations give the same Decisions, which are those of
    `fleetctl decide`.
    """

    def __init__(
        self, services: Fleet | Service | Sequence[Service], *, policy: str | None = None, state: bytes | None = None
    ) -> None:
        """`policy` is a preset, or the path of one, in place of the files' own; `state` is what another one's gave.

        Raises `UsageError` without any Service, and for a state that is none.
        """
        found = _services(services)
        if policy is not None:
            from fleetctl.spec.knobs import with_knobs, with_preset  # pydantic with it

            found = tuple(with_knobs(with_preset(one, policy), {}) for one in found)
        self._services = {str(one.name): one for one in found}
        self._known = _recalled(state)
        self._before = self._known
        self._newest: dict[str, Decision] = {}

    @property
    def services(self) -> Rows[Service]:
        """Those that it decides for, as it scales them."""
        return Rows(self._services.values())

    def decide(self, t: float, observed: Mapping[str, Observed]) -> Rows[Decision]:
        """How many Replicas of each Service that was observed, and why.

        `t` is seconds from any beginning, later than at the last call; time that stands still or runs backwards holds
        every count. A Decision's `desired` is Replicas ready or on their way. Raises `NotFound` for a Service that is
        not declared, and `UsageError` for counts below zero and times that are none; then nothing is remembered.
        """
        if not isfinite(t):
            raise UsageError(f"t is {t}", hint="give seconds from any beginning")
        line = Line(t=t, services=tuple(self._line(name, one) for name, one in observed.items()))
        made, known = decisions(line, tuple(self._services.values()), self._known)
        self._before, self._known = self._known, known
        self._newest = {str(one.service): one for one in made}
        return Rows(made)

    def standby(self, decision: Decision) -> int:
        """Slots that shall stand by beyond its `desired`."""
        return standby_wanted(self._service(str(decision.service)), decision)

    def explanation(self, service: str) -> Explanation:
        """The newest Decision about a Service, and what it would have been without what held it.

        Raises `NotFound` where the last call of `decide` did not have the Service.
        """
        declared = self._service(service)
        decision = self._newest.get(service)
        if decision is None:
            raise NotFound(f"nothing was decided about {service}", hint="observe it in decide(t, {…}) first")
        if decision.inputs is None:  # time did not go on: nothing was decided
            return Explanation(decision=decision, without=())
        before = self._before
        began = decision.at if before.began is None else before.began
        intent = Intent(service=declared, revision="", changed_at=began)
        memory = before.memories.get(decision.service) or Memory()
        return Explanation(decision=decision, without=counterfactuals(intent, decision.inputs, memory))

    def state(self) -> bytes:
        """All that it remembers, as JSON, for a `Brain` to go on with after a restart."""
        import msgspec

        return msgspec.json.encode(self._known)

    def _service(self, name: str) -> Service:
        if name not in self._services:
            raise NotFound(f"service {name!r} is not declared", hint=f"declared: {', '.join(sorted(self._services))}")
        return self._services[name]

    def _line(self, name: str, seen: Observed) -> ServiceLine:
        self._service(name)
        for what in ("ready", "draining", "standby"):
            if getattr(seen, what) < 0:
                raise UsageError(f"{name}: {what} is negative", hint="counts are 0 or more")
        return ServiceLine(
            name=ServiceName(name),
            ready=seen.ready,
            starting=tuple(Starting(age_s=age_s) for age_s in seen.starting_s),
            draining=seen.draining,
            standby=seen.standby,
            signals=seen,
        )


def _services(given: Fleet | Service | Sequence[Service]) -> tuple[Service, ...]:
    match given:
        case Fleet():
            found = given.services
        case Service():
            found = (given,)
        case _:
            found = tuple(given)
    if not found:
        raise UsageError("no service is declared", hint="kind: service; an example: fleetctl init")
    return found


def _recalled(state: bytes | None) -> Recollection:
    import msgspec

    if state is None:
        return Recollection()
    try:
        return msgspec.json.decode(state, type=Recollection)
    except msgspec.MsgspecError as error:
        raise UsageError(f"the state cannot be read: {error}", hint="leave it out to begin anew") from error
