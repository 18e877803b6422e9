"""Starts of Replicas, as they are remembered: from the decision until one was ready, stage by stage."""

from collections.abc import Iterable
from typing import Literal

from fleetctl.model.names import InstanceId, ReplicaId, ServiceName
from fleetctl.model.records import dataclass
from fleetctl.model.replicas import Origin, Role, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start that is over. Every time in it is Unix seconds of the controller's clock."""

    service: ServiceName
    revision: str
    replica: ReplicaId
    role: Role = Role.SERVING
    """What it was started to be."""
    instance: InstanceId | None = None
    provider: str = ""
    machine: str = ""
    """The Offer's machine type…"""
    gpu: str = ""
    """…and its GPUs, as in `L40S:4`."""
    origin: Origin = "cold"
    decided_at: float
    ended_at: float
    """When the gateway could be told of it, or when it had failed."""
    outcome: Literal["ready", "failed"] = "ready"
    reason: str = ""
    """Why it failed."""
    stages: tuple[Stage, ...] = ()
    """Within the start, all of them ended; they may lie side by side."""

    @property
    def took_s(self) -> float:
        return self.ended_at - self.decided_at


def attributed(start: Start) -> float:
    """The share of a start's time that some stage covers, in [0, 1]; 1 where it took no time."""
    if start.took_s <= 0:
        return 1.0
    return covered_s(spans(start.stages, since=start.decided_at, until=start.ended_at)) / start.took_s


def spans(stages: Iterable[Stage], *, since: float, until: float) -> list[tuple[float, float]]:
    """Beginning and end of each stage, as much of it as lies between `since` and `until`."""
    cut = (
        (max(since, stage.started_at), min(until, until if stage.ended_at is None else stage.ended_at))
        for stage in stages
    )
    return [(begun, ended) for begun, ended in cut if ended > begun]


def covered_s(intervals: Iterable[tuple[float, float]]) -> float:
    """Seconds in at least one of the intervals."""
    total, reached = 0.0, float("-inf")
    for begun, ended in sorted(intervals):
        total += max(0.0, ended - max(begun, reached))
        reached = max(reached, ended)
    return total
