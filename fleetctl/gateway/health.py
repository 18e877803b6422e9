"""What a gateway says of itself."""

from dataclasses import dataclass

from fleetctl.model.names import ServiceName


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayHealth:
    pid: int
    """Of the gateway's first process: when it ends, all have ended."""
    version: str
    listen: str
    """The public `host:port`."""
    started_at: float
    """Unix seconds."""
    fence: int
    """The largest it has followed; 0: none yet."""
    services: tuple[ServiceName, ...]
    stopping: bool
    workers: tuple[int, ...] = ()
    """Process ids of those that carry bytes, where they are not `pid` itself."""
