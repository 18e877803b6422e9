"""Several gateways in front of one fleet: what each says of itself, and how many slots of each Replica are its own."""

from collections.abc import Mapping
from dataclasses import field

from fleetctl.model.keys import EntryReport
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.records import dataclass
from fleetctl.model.routes import Identity, Routes
from fleetctl.model.signals import QueueStats, Starved


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayBeat:
    """What one gateway process says of itself, about once a second. All of it is of one moment."""

    name: str
    """Of its place, chosen by whoever starts it: a restarted gateway keeps it."""
    incarnation: str
    """Of the process: `host/pid/start`. No two processes ever share one."""
    address: str
    """The public `host:port` that its clients use."""
    host: str
    """The computer it runs on, by its own name."""
    version: str
    number: int
    """Of the beat. It only grows, so that a beat that is read twice is known for what it is."""
    follows: int = 0
    """The number of the grant that it obeys; 0: none, it gives no request to any Replica."""
    replaces: str = ""
    """An incarnation that is certainly over: it ran on the same computer."""
    leaving: bool = False
    """It drains and takes nothing new: it needs no slot but those that its requests still hold."""
    queues: tuple[QueueStats, ...] = ()
    entry: EntryReport | None = None
    """Who used it."""
    starved: Starved = Starved(count=0)
    """Services that got a request while they had no Replica: of the last seconds, and how many such requests ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayGrant:
    """The slots that one gateway may use, and those that it may still be using. The controller writes it."""

    name: str
    incarnation: str
    number: int = 0
    """Grows with every change of `slots`; a gateway says which it follows."""
    slots: Mapping[ReplicaId, int] = field(default_factory=dict)
    """What it may use: requests at once. A Replica that is absent is not for it."""
    held: Mapping[ReplicaId, int] = field(default_factory=dict)
    """What it may at most be using, by all that is known. Never less than `slots`; nobody else gets any of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayOrders:
    """What a gateway that joined is to follow, as the store has it."""

    holder: str
    """The incarnation that has its name. Empty: nobody; its slots were taken back, and it must join again."""
    grant: GatewayGrant | None = None
    """None: the controller has not seen it yet."""
    routes: Routes | None = None
    """Of all gateways, with every slot there is. None: as before, or there are none."""
    routes_number: int = 0
    identity: Identity | None = None
    """None: as before, or nobody may enter yet."""
    identity_number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """The newest beat of one incarnation that a controller has seen."""

    number: int
    at: float
    """When the controller saw it first, by its own clock: clocks of several computers are not compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """One gateway as slots are divided: what it needs and what it can reach."""

    name: str
    incarnation: str
    demand: Mapping[ServiceName, int]
    """Requests that wait or run there."""
    oldest_wait_s: Mapping[ServiceName, float]
    in_flight: Mapping[ReplicaId, int]
    """Of the same moment as `follows`."""
    follows: int
    unreachable: frozenset[ReplicaId] = frozenset()
    """Replicas that it has no way to."""
    leaving: bool = False
