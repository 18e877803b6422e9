"""One request's place, and the slot that it may hold."""

from enum import Enum, IntEnum, auto
from typing import TYPE_CHECKING, Final

from fleetctl.model.names import ReplicaId, ServiceName

if TYPE_CHECKING:
    from fleetctl.gateway.scheduler.affinity import Link
    from fleetctl.gateway.scheduler.fairness import Share
    from fleetctl.gateway.scheduler.replicas import Replica


class Band(IntEnum):
    """Priority: no request of a later band is served while one of an earlier band can be."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


class Phase(Enum):
    NEW = auto()
    QUEUED = auto()
    RUNNING = auto()
    ANSWERED = auto()
    FAILED = auto()
    REFUSED = auto()
    """After it was accepted: shed, displaced, expired, or its Service was taken down. The client was told so."""
    CANCELLED = auto()


# Looked up once: a member of an enumeration costs ten times a global, and each request comes by these.
NEW: Final = Phase.NEW
RUNNING: Final = Phase.RUNNING
ANSWERED: Final = Phase.ANSWERED
NORMAL: Final = Band.NORMAL


class Fault(Enum):
    """How a replica failed a request of which the client has not seen a byte."""

    UNREACHED = auto()
    """No connection: nothing was delivered, so it is tried as often as the time-out allows. The replica rests."""
    BROKEN = auto()
    """Reset, closed or garbage after the request was sent: tried once more, elsewhere. The replica rests."""
    BUSY = auto()
    """It answered 502, 503 or 504: tried once more if there is another replica."""


class Seat:
    """One replica at one address, for as long as both stay the same: an incarnation. Slots are tagged by it."""

    __slots__ = ("address", "generation", "listed", "replica", "service")

    def __init__(self, service: ServiceName, replica: ReplicaId, address: str, generation: int) -> None:
        self.service = service
        self.replica = replica
        self.address = address
        """`host:port`."""
        self.generation = generation
        """Unique in its arbiter, for ever: what a slot's release is checked against."""
        self.listed = True
        """In the newest routes."""


NO_PREFIX: Final[tuple[int, ...]] = ()


class Ticket:
    """What the arbiter knows of one request. The data plane fills in the first part before it asks."""

    __slots__ = (
        "adapter", "again", "alone", "arrived_s", "avoids", "band", "charge", "deadline_s", "delivered_before",
        "granted_s", "heard", "held", "input_tokens", "link", "links", "number", "output_tokens", "overdue_s",
        "patience_s", "phase", "place", "prefilling", "prefix", "replica", "retriable", "retried", "seat", "service",
        "share", "size_bytes", "streams", "tenant", "uncached_tokens",
    )  # fmt: skip

    # written by the arbiter when it has a use for them, so that a ticket is cheap to make
    deadline_s: float
    """When it gets no slot any more."""
    share: "Share"
    """Its tenant's place in its band."""
    links: "tuple[Link, ...]"
    """What its prompt begins with, shortest first."""
    link: "Link | None"
    """The one by which it waits; None: it does not."""
    again: bool
    """It waits to be tried again."""
    overdue_s: float
    """How long it waits for a replica that knows its prompt; then any will do. 0: it has not begun to."""
    replica: "Replica"
    """Whose slot it holds, held last, or waits for."""
    granted_s: float
    charge: float
    """Virtual time that its tenant was charged for it."""
    heard: bool
    prefilling: int
    """Tokens that its replica computes before its first byte; 0: its first byte says nothing of that."""
    alone: bool
    """Its replica computed no other prompt when it came."""
    delivered_before: int
    """What its replica had computed when it came."""

    def __init__(self, service: ServiceName) -> None:
        # filled in by the data plane
        self.service = service
        self.tenant = ""
        """Who pays; empty where the gateway asks for no key."""
        self.band: Band = NORMAL
        self.prefix = NO_PREFIX
        """Chained hashes of what the prompt begins with, shortest first; at most four."""
        self.adapter = ""
        """The LoRA adapter asked for; empty: the model itself."""
        self.input_tokens = 1
        """Estimated from the body's size."""
        self.output_tokens = 0
        """The most that the client wants; 0: it does not say."""
        self.patience_s: float | None = None
        """How long the client itself would wait for a slot; None: as long as the route allows."""
        self.size_bytes = 0
        """Of the body, which is held until the answer begins."""
        self.streams = False
        """It asks for a stream: its first byte comes as soon as its prompt is computed, and tells how fast that was."""
        # written by the arbiter
        self.phase: Phase = NEW
        self.arrived_s = 0.0
        self.number = 0
        self.seat: Seat | None = None
        """Whose slot it holds; None: no slot."""
        self.uncached_tokens = 0
        """Of its prompt, what the replica of its slot must probably compute."""
        self.avoids: Seat | None = None
        self.retried = False
        self.retriable = False
        """At the grant: should this replica fail it before the first byte, another may try."""
        self.place: object = None
        """The queue's own note of where it stands."""
        self.held: object = None
        """The quotas' own note of what its tenant's limits hold for it."""
