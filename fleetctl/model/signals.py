"""Measured load, or unknown."""

from dataclasses import dataclass

from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.services import EngineMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Not measured, and why. Never zero, never "gone"."""

    reason: str
    since: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The load of one Replica, read from its engine's own metrics."""

    at: float
    running: float
    waiting: float

    @property
    def total(self) -> float:
        return self.running + self.waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One Replica whose load can be read."""

    replica: ReplicaId
    address: str
    """`host:port` of the engine's HTTP server."""
    engine: str
    metrics: EngineMetrics | None = None
    """Names for a `generic` engine; None: the engine's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """What the gateway holds for one Service."""

    at: float
    service: ServiceName
    queued: int
    oldest_wait_s: float
    in_flight: tuple[tuple[ReplicaId, int], ...]
    """Requests sent to each Replica and not yet answered."""
    arrived: int
    """Requests accepted since the gateway started."""
    completed: int
    failed: int
    """Accepted, then not answered by any Replica."""
