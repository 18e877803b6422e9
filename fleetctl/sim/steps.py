"""A policy over a load that is given, step by step: what it wants each time, and why. The brain is `decide`'s.

No request is served here: the load is what it is said to be, however many replicas there are. What traffic does to a
fleet, and a fleet to its queue, is `service_world`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fleetctl.decide.lines import ServiceLine, Signals, Starting
from fleetctl.errors import UsageError
from fleetctl.model.services import Service
from fleetctl.sim.policy_scaler import PolicyScaler
from fleetctl.sim.scalers import Scaler, Wish

TICKS_MAX = 200_000
"""Five days at two seconds: a minute's work for the costliest policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What was seen and decided at one tick."""

    at: float
    """Seconds from the beginning."""
    load: float | None
    """Requests queued and running; None: unknown."""
    ready: int
    starting: int
    desired: int
    reason: str


class Noting:
    """A Scaler that keeps what it was shown and what it answered."""

    __slots__ = ("_scaler", "steps")

    def __init__(self, scaler: Scaler) -> None:
        self._scaler = scaler
        self.steps: list[Step] = []

    def observe(self, now: float, seen: ServiceLine) -> Wish:
        wish = self._scaler.observe(now, seen)
        self.steps.append(
            Step(
                at=now,
                load=seen.signals.concurrency,
                ready=seen.ready,
                starting=len(seen.starting),
                desired=wish.desired,
                reason=wish.reason,
            )
        )
        return wish


def over_load(
    service: Service, loads: Sequence[float], *, each_s: float, boot_s: float, period_s: float, begin: int
) -> list[Step]:
    """The policy of `service` at each tick while each of `loads` (requests at once) lasts `each_s` seconds.

    It begins with so many ready replicas; one that is ordered is ready after `boot_s`. Those that start are given back
    first, the youngest first. Raises `UsageError` for more ticks than are played.
    """
    ticks = int(len(loads) * each_s / period_s)
    if ticks > TICKS_MAX:
        raise UsageError(f"{ticks} ticks are more than {TICKS_MAX}", hint="give fewer loads, or a longer --period")
    noting = Noting(PolicyScaler(service))
    ready, ordered_at = begin, list[float]()
    for tick in range(ticks):
        at = tick * period_s
        load = loads[min(len(loads) - 1, int(at / each_s))]
        ready += sum(1 for ordered in ordered_at if at - ordered >= boot_s)
        ordered_at = [ordered for ordered in ordered_at if at - ordered < boot_s]
        wish = noting.observe(
            at,
            ServiceLine(
                name=service.name,
                ready=ready,
                starting=tuple(Starting(age_s=at - ordered) for ordered in ordered_at),
                signals=Signals(concurrency=load, queue=max(0.0, load - ready * service.concurrency)),
            ),
        )
        change = wish.desired - ready - len(ordered_at)
        if change > 0:
            ordered_at += [at] * change
        elif change < 0:
            given_back = min(-change, len(ordered_at))
            ordered_at = ordered_at[: len(ordered_at) - given_back]
            ready -= -change - given_back
    return noting.steps


def changes(steps: Sequence[Step], *, of_load: bool) -> list[Step]:
    """Those at which the count or what is ready is another than before, or the load too: what a person reads."""
    found: list[Step] = []
    for step in steps:
        last = found[-1] if found else None
        if (
            last is None
            or (step.desired, step.ready) != (last.desired, last.ready)
            or (of_load and step.load != last.load)
        ):
            found.append(step)
    return found
