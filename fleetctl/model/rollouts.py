"""Rollouts: the replacement of a Service's Replicas by those of another revision, as the store keeps it."""

from dataclasses import replace
from enum import StrEnum

from fleetctl.model.names import ServiceName
from fleetctl.model.records import dataclass
from fleetctl.model.services import Service

RUNS = (
    "engine",
    "model",
    "image",
    "command",
    "args",
    "env",
    "gpu",
    "concurrency",
    "metrics",
    "readiness_path",
    "loading",
    "pool",
)
"""Fields of a Service that its Replicas run; the others are about how many there are, and when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A Service as it was declared once, whole."""

    name: str
    """Digest of what its Replicas run."""
    service: Service
    declared_at: float
    """Unix seconds; the last time."""


class RolloutState(StrEnum):
    GOING = "going"
    PAUSED = "paused"
    """By the user: nothing moves but what scaling asks for."""
    DONE = "done"
    ABORTED = "aborted"
    """The new revision did not get ready: the Service runs the old one."""
    UNDONE = "undone"
    """The user went back before it was done, and it is back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutCounts:
    """Serving Replicas of a Service in a Rollout."""

    new: int = 0
    passed: int = 0
    """Of the new ones: ready for long enough to be counted on."""
    old: int = 0
    draining: int = 0
    """Of other revisions, ending what they have."""
    wanted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """The newest Rollout of a Service. Times are Unix seconds."""

    service: ServiceName
    to_revision: str
    from_revision: str = ""
    """What served before and is gone back to; empty: nothing that was seen to work."""
    started_at: float
    state: RolloutState = RolloutState.GOING
    reason: str = ""
    """Why it was aborted."""
    ended_at: float | None = None
    back: bool = False
    """Back to what served before, in the midst of a Rollout: nothing stands behind it, so it is never aborted."""
    proven: bool = False
    """A Replica of the new revision was ready for long enough."""
    tried_at: float | None = None
    """Since when a Replica of it has had a machine and none more has been ready for long enough."""
    failed: int = 0
    """Replicas of the new revision that failed, at their start or later, since more of them counted than ever…"""
    most: int = 0
    """…which were so many."""
    held: int = 0
    """While paused: serving Replicas beyond what was wanted when it was paused."""
    counts: RolloutCounts = RolloutCounts()

    @property
    def open(self) -> bool:
        return self.state in (RolloutState.GOING, RolloutState.PAUSED)


def running(declared: Service, revision: Service) -> Service:
    """The Service as declared, running what that revision of it ran."""
    return replace(declared, **{name: getattr(revision, name) for name in RUNS})
