"""Running copies of a Service, as the store keeps them."""

from enum import StrEnum
from typing import Literal

from fleetctl.model.names import InstanceId, ReplicaId, ServiceName
from fleetctl.model.records import dataclass


class Role(StrEnum):
    """What we intend a Replica to be."""

    SERVING = "serving"
    HOT = "hot"
    """Standby: engine loaded, no requests routed to it."""
    ASLEEP = "asleep"
    """Standby: engine alive, weights off the GPU."""
    DRAINING = "draining"
    """No new requests; running ones end; then it is stopped."""


class ReplicaPhase(StrEnum):
    PENDING = "pending"
    """Has no Slot yet."""
    PREPARING = "preparing"
    """Bound to a Slot; image and weights on their way."""
    LOADING = "loading"
    """Engine process started, not ready."""
    READY = "ready"
    ASLEEP = "asleep"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of a start. Unix seconds: in what a Node says, by its clock; in a Replica or a Start, by ours.

    The controller's own: slot (until one was free for it), launch (until its Provider had the order), boot (until its
    Node answered), within it install (of the node agent, where that is done over SSH), apply (until its Node had the
    order), settle (ready on its Node, until the controller saw it). The Node's: image, weights and cache, side by side,
    then gpus (until others had left them), engine, warm_up; or wake.
    """

    name: str
    started_at: float
    ended_at: float | None = None
    bytes_total: int | None = None
    detail: str = ""
    origin_bytes: int | None = None
    """Over the wire from its origin; None: not counted…"""
    peer_bytes: int | None = None
    """…and from other Nodes."""
    whole_s: float | None = None
    """How long all of it took, where the stage is only what a start waited for; None: it is the stage."""


Origin = Literal["cold", "stopped", "warm", "asleep", "hot"]
"""What a Replica was started from: a new Instance, or a Standby of that tier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One running copy of a Service."""

    id: ReplicaId
    service: ServiceName
    revision: str
    """Digest of what a Replica of the Service runs; a change of it means a Rollout."""
    role: Role = Role.SERVING
    phase: ReplicaPhase = ReplicaPhase.PENDING
    instance: InstanceId | None = None
    gpus: tuple[int, ...] = ()
    """GPU indexes on its Instance."""
    address: str | None = None
    """`host:port` of the engine's HTTP server."""
    origin: Origin = "cold"
    created_at: float
    """When it was decided (for a promoted Standby: when it was promoted)."""
    bound_at: float | None = None
    ready_at: float | None = None
    drain_from: float | None = None
    stages: tuple[Stage, ...] = ()
    failure: str | None = None
    clock_lead_s: float | None = None
    """What is added to its Node's clock to have the controller's; None: not known yet."""
    asleep_at: float | None = None
    """When it first slept, as the Standby that it was started to be."""
