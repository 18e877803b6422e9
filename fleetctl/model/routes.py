"""The gateway's view of capacity. It comes from the controller and replaces the one before."""

from dataclasses import dataclass

from fleetctl.model.names import ReplicaId, ServiceName


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    replica: ReplicaId
    address: str
    """`host:port`."""
    slots: int
    """Requests it may serve at once; 0 drains it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    service: ServiceName
    models: tuple[str, ...]
    """Values of `model` in a request's body that select this Service, besides its name."""
    upstreams: tuple[Upstream, ...]
    queue_timeout_s: float = 1800.0
    queue_limit: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """The whole view. The gateway refuses a smaller `fence` than it has seen in the same `epoch`."""

    fence: int
    """The Lease's fencing number."""
    epoch: str = ""
    """Which store speaks; a new store begins its fences anew."""
    routes: tuple[Route, ...]
