"""A Node: the whole desired state the controller gives it, and the whole status it reports."""

from dataclasses import field
from enum import StrEnum
from typing import Literal

from fleetctl.model.names import InstanceId, ReplicaId, ServiceName
from fleetctl.model.notices import Notice
from fleetctl.model.records import dataclass
from fleetctl.model.replicas import ReplicaPhase, Stage

PEER_PORT = 7717
"""Where rented Nodes give Artifacts to each other, and what their cloud's rule opens between them: TCP. Below the range
from which Linux takes ports for connections that begin on it (32768); no engine, exporter or Docker listens there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """An image, weights or an engine's cache that a Node shall hold, by name (with its digest or revision where it is
    pinned)."""

    kind: Literal["image", "weights", "cache"]
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A Node that others fetch Artifacts from."""

    instance: InstanceId
    address: str
    """`host:port`, as the other Nodes reach it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Where one Node fetches one Artifact in chunks: it follows the first of `parents` that serves it."""

    artifact: Artifact
    parents: tuple[Peer, ...] = ()
    """Best first: who is before it in its chain, then that one's own parents. None: it fetches from the origin, and
    others follow it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFolder:
    """A folder in which an engine keeps what it compiled."""

    path: str
    """Where the engine has it when `env` is unset; `~` is its home folder."""
    env: str | None = None
    """The variable that moves it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCache:
    """What an engine compiles at its first start, kept for the next start of exactly the same."""

    artifact: Artifact
    """Of kind `cache`; its name is the digest of all that it depends on (`decide/engine_cache.py`)."""
    folders: tuple[CacheFolder, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One HTTP request to the engine."""

    path: str
    """With its query."""
    method: Literal["GET", "POST"] = "POST"
    body: str = ""
    """JSON; empty: no body."""
    expect: str = ""
    """What the answer must hold, spaces aside, to be one; empty: any answer of 200 to 299 is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSpec:
    """What a Node runs for one Replica. `command` has `{port}` left open: the Node picks a free port; in `command` and
    `env` it puts the folder (or file) in which it holds the weights for `{weights}`."""

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
    """Requests that wake it, in order, if it was put to sleep by `sleep`."""
    sleepable: bool = False
    """It is started so that it can sleep: whoever reaches it can steer it, so it may listen on loopback only."""
    warm_up: tuple[Call, ...] = ()
    """Requests that it answers before it counts as ready, in order."""
    cache: EngineCache | None = None
    """None: the engine compiles nothing worth keeping."""
    lists: Call | None = None
    """Answered once its model can be asked; None: what answers at `readiness_path` is ready."""


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
    feeds: tuple[Feed, ...] = ()
    """Of those Artifacts that travel from Node to Node; the others come straight from their origin."""
    peer_key: str = field(default="", repr=False)
    """Hex: by this Nodes of one fleet know each other. Put in by the way to the Node, never stored with the rest."""
    hub_token: str = field(default="", repr=False)
    """Opens gated models of the Hugging Face hub to the Node. Likewise put in on the way; empty: none is known."""


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
    bytes_total: int | None = None
    """None: not known yet."""
    origin_bytes: int = 0
    """Of this fetch, over the wire from its origin…"""
    peer_bytes: int = 0
    """…and from other Nodes."""
    rate: float | None = None
    """Bytes a second, lately; None: nothing moves."""
    digest: str = ""
    """Of an image: what the registry calls it (`sha256:…`). Of weights and caches: of their manifest."""
    parent: InstanceId | None = None
    """Whom it is fetched from now; None: the origin, or nobody."""
    shared: bool = False
    """Of an image: other Nodes can fetch it from here now. What else comes in chunks they always can."""


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
    """This Node's stages of this Replica's start."""
    accepted_at: float | None = None
    """When this Node first had the order to run it; None: not said."""
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
    """The machine's: boot, and install where its agent was installed over SSH."""
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
    snapshotter: str | None = None
    """Of containerd's, what unpacks images, as in `stargz`; empty: Docker's own store does. None: not looked."""
    peers: str = ""
    """`host:port` at which other Nodes fetch its Artifacts; empty: it serves none."""
    instructions: str = ""
    """Digest of the instructions that its CPU knows: what is compiled for one kind may not run on another. Empty: not
    looked."""
    engines: tuple[tuple[str, str], ...] = ()
    """Version by engine, of those that run here without an image."""
    heard_at: float | None = None
    """By the controller's clock, when this status came: beside `at`, it tells two clocks apart. None on the Node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A command that ended on a machine."""

    code: int
    out: bytes
    err: bytes
