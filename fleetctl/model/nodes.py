"""A Node: the whole desired state the controller gives it, and the whole status it reports."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from fleetctl.model.names import InstanceId, ReplicaId, ServiceName
from fleetctl.model.notices import Notice
from fleetctl.model.replicas import ReplicaPhase, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """An image or weights that a Node shall hold, by name (a digest or a pinned revision where there is one)."""

    kind: Literal["image", "weights"]
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One HTTP request to the engine."""

    path: str
    """With its query."""
    method: Literal["GET", "POST"] = "POST"
    body: str = ""
    """JSON; empty: no body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSpec:
    """What a Node runs for one Replica. `command` has `{port}` left open: the Node picks a free port."""

    id: ReplicaId
    service: ServiceName
    revision: str
    engine: str
    model: str
    concurrency: int
    command: tuple[str, ...]
    image: str | None = None
    env: tuple[tuple[str, str], ...] = ()
    gpus: tuple[int, ...] = ()
    asleep: bool = False
    """Put the loaded engine to sleep (or keep it so); false wakes it."""
    startup_timeout_s: float = 1800.0
    readiness_path: str = "/health"
    sleep: tuple[Call, ...] = ()
    """Requests that put it to sleep, in order; none: it cannot sleep."""
    wake: tuple[Call, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDesired:
    """The whole desired state of a Node. What is not in it is removed from the Node."""

    generation: str
    """Digest of the rest; the Node reports the one it has taken over."""
    epoch: str
    """Which store speaks. A Node whose epoch differs keeps its Replicas until it is given a desired state."""
    fence: int
    """The Lease's fencing number; a Node refuses a smaller one than it has seen."""
    artifacts: tuple[Artifact, ...] = ()
    replicas: tuple[ReplicaSpec, ...] = ()


class ArtifactState(StrEnum):
    WAITING = "waiting"
    FETCHING = "fetching"
    PRESENT = "present"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactStatus:
    artifact: Artifact
    state: ArtifactState
    stage: Stage | None = None
    bytes_done: int | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaStatus:
    """What runs on a Node for one Replica."""

    id: ReplicaId
    service: ServiceName
    revision: str
    phase: ReplicaPhase
    gpus: tuple[int, ...]
    address: str | None
    stages: tuple[Stage, ...] = ()
    """This Node's stages of this Replica's start: image, weights, engine, wake."""
    pid: int | None = None
    container: str | None = None
    failure: str | None = None
    """Why it failed: exit code and the last lines of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeGpu:
    index: int
    name: str
    memory_mib: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """The whole status of a Node."""

    instance: InstanceId
    version: str
    """fleetctl's version on the Node."""
    at: float
    generation: str
    """Of the desired state it works on; empty before the first."""
    epoch: str
    fence: int
    gpus: tuple[NodeGpu, ...] = ()
    artifacts: tuple[ArtifactStatus, ...] = ()
    replicas: tuple[ReplicaStatus, ...] = ()
    stages: tuple[Stage, ...] = ()
    """The Node's own boot stages."""
    disk_free_bytes: int | None = None
    notice: Notice | None = None
    """What its cloud says of its end; None: nothing."""
    memory_bytes: int | None = None
    gpus_listed: bool = True
    """By the driver; false: they are what was declared, as on a machine that rehearses."""
    driver: str | None = None
    """The GPU driver's version; empty: there is none, or it does not answer. None: not looked."""
    cuda: str = ""
    """The newest CUDA that the driver runs."""
    runtime: str | None = None
    """What runs containers, with its version, as in `docker 27.3.1`; empty: nothing does. None: not looked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A command that ended on a machine."""

    code: int
    out: bytes
    err: bytes
