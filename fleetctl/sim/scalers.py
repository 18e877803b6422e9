"""What an autoscaler answers each tick. What it is told is a `ServiceLine`, as `fleetctl decide` is."""

from dataclasses import dataclass
from typing import Protocol

from fleetctl.decide.lines import ServiceLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the scaler wants."""

    desired: int
    """Ready + starting."""
    standby: int | None = None
    """Units kept on standby; None: as the world is set."""
    reason: str = ""


class Scaler(Protocol):
    """A rule with memory. It is told every tick, in order, and reads no clock but `now`."""

    def observe(self, now: float, seen: ServiceLine) -> Wish: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """The same fleet, whatever comes."""

    replicas: int

    def observe(self, now: float, seen: ServiceLine) -> Wish:
        return Wish(desired=self.replicas, reason=f"fixed at {self.replicas}")
