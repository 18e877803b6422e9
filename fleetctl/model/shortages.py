"""What keeps one more machine from being had."""

from fleetctl.model.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """Why no machine was opened for a Replica that waits."""

    stage: str
    """pool, quota, capacity: what a Decision says it is bound by."""
    why: str
    until: float | None = None
    """Unix seconds at which it is tried again; None: nothing is tried by itself."""
    ends: str = ""
    """What ends it, where that is no time."""
