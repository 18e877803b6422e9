"""Decisions with their reasons, the memory that policies keep between ticks, and the Plan of a tick."""

from enum import StrEnum

from fleetctl.model.instances import Instance, LaunchSpec
from fleetctl.model.learning import Leads, Learning
from fleetctl.model.names import InstanceId, ProviderName, ReplicaId, ServiceName
from fleetctl.model.nodes import NodeDesired
from fleetctl.model.places import Experience
from fleetctl.model.records import dataclass
from fleetctl.model.replicas import Replica
from fleetctl.model.rollouts import Rollout
from fleetctl.model.routes import Routes
from fleetctl.model.services import Standby
from fleetctl.model.signals import Flow, Histogram, Load, OutsideReading, Tally, Utilization
from fleetctl.model.starts import Start


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What a policy has measured, by name: (unix seconds, value), oldest first; each value holds until the next."""

    name: str
    values: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSeen:
    """The most requests that any engine of the Service ran at once while others waited inside it."""

    limit: float
    sightings: int
    """In a row, of a full engine that ran no more than that."""
    since: float
    """Unix seconds; of the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the scaling of one Service remembers, stored with every tick, so that a restart forgets nothing.

    Each history is a tuple of (unix seconds, value), oldest first, bounded in `decide/windows.py`.
    """

    load: tuple[tuple[float, float], ...] = ()
    """Measured concurrency; unknown ticks leave no entry."""
    wishes: tuple[tuple[float, int], ...] = ()
    """Raw wishes of the policy, for stabilisation."""
    moves: tuple[tuple[float, int], ...] = ()
    """Replicas added (+) or removed (−), for rate policies."""
    panic_until: float | None = None
    panic_wish: int = 0
    busy_at: float | None = None
    """Last time that any request was queued or running."""
    failures: tuple[float, ...] = ()
    """When Replicas of the present revision failed before they were ever ready."""
    last_desired: int | None = None
    tally: Tally | None = None
    """The counters as last read; None: none yet."""
    learning: Learning | None = None
    """What the policy `auto` has learned; None: it has not begun."""
    standby: int | None = None
    """Slots that shall stand by, where the file leaves it to fleetctl; None: not known yet."""
    leads: Leads | None = None
    """Starts that were seen, where something hangs on them and the policy is not `auto`, which keeps its own."""
    ahead_of: float | None = None
    """The last beginning of a Schedule that capacity is being brought for before its time."""
    lulls: tuple[tuple[float, float], ...] = ()
    """(beginning, seconds) of each time without a request that was ended by one, where going to zero is learned."""
    lull: tuple[float, float] | None = None
    """(beginning, seconds that the last Replica is kept) of the one that lasts."""
    series: tuple[Series, ...] = ()
    """Windows of policies and signals, but for concurrency's, which is `load`."""
    latencies: tuple[tuple[float, Histogram], ...] = ()
    """Times that requests took, by when the part of the window began, oldest first."""
    grew_at: float | None = None
    """When more Replicas became ready than were before, as `latency_slo` sees it…"""
    grew_to: int = 0
    """…and how many were ready then, or at the last tick."""
    batch: BatchSeen | None = None
    """What the engines' own metrics say of their batch limit; None: nothing waited inside an engine yet."""
    refused: str = ""
    """Why a machine that its Replicas need may not be launched; empty: none was refused."""
    failure: str = ""
    """What the last of `failures` left behind, in a sentence…"""
    troubles: tuple[str, ...] = ()
    """…and what else was told to be wrong on its Nodes, by key, as long as it lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """All that a Decision is made from besides the Service's Intent and its Memory."""

    at: float
    """Unix seconds; in lines, seconds from any beginning."""
    load: Load | None
    """None: unknown, never zero."""
    why_unknown: str = ""
    """With an unknown load."""
    current: int = 0
    """Serving Replicas, ready or on their way, of the present revision; of any while a Rollout replaces them."""
    ready: int = 0
    coming: int = 0
    """Replicas of the present revision on their way, Standby too."""
    ages_s: tuple[float, ...] = ()
    """How long ago each serving Replica on its way was ordered."""
    draining: int = 0
    """Replicas that end what they have and take nothing new."""
    standby: int = 0
    """Slots that stand by, ready to be taken."""
    flow: Flow = Flow()
    utilization: Utilization | None = None
    """Of GPUs; None: unknown, or nothing asks for it."""
    fullest: float | None = None
    """Most requests that an engine ran at once while others waited inside it; None: in none did any wait."""
    outside: tuple[OutsideReading, ...] = ()
    """Of the Service's signals from outside; one that is absent is unknown."""
    failures: tuple[float, ...] = ()
    """When Replicas of the present revision failed before they were ever ready, as long as it counts."""
    price_per_replica: float | None = None
    """US dollars an hour; None: not known."""
    shared_standby: Standby | None = None
    """The Pool's, where the Service states none of its own; None: the usual one."""
    notices: tuple[str, ...] = ()
    """A sentence for each of its machines that its cloud takes back, or may."""
    rollout: str = ""
    """A sentence on its Rollout, while there is one."""
    trouble: str = ""
    """What a person should do something about; empty: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageNote:
    """One stage of a Decision: the count after it and, when it changed or held the count, why."""

    stage: str
    value: int | None
    note: str = ""
    until: float | None = None
    """Unix seconds at which it lets go, if nothing else happens; None: there is no such time, or nobody knows it."""
    ends: str = ""
    """What ends it, where that is no time; empty: that is not for anybody to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How many Replicas of a Service, and why."""

    service: ServiceName
    at: float
    current: int
    """Serving Replicas, ready or on their way, that the Service had."""
    ready: int
    desired: int
    binding: str
    """The stage that set the count."""
    reason: str
    """One sentence for people."""
    stages: tuple[StageNote, ...]
    concurrency: float | None
    """Queued + running, now, as far as it is known; None: nothing is."""
    concurrency_most: float | None
    """The same with every unknown Replica taken as full to the target."""
    unknown: int
    """Ready Replicas whose load is not known."""
    queued: int | None
    target: float
    """Requests per Replica aimed at."""
    price_per_hour: float | None = None
    """Of the Service's serving Replicas at `desired`; None: not all prices are known."""
    standby: int | None = None
    """Slots that shall stand by, where the policy sizes them (`standby: auto`); None: the file says how many."""
    inputs: Inputs | None = None
    """What it was made from; None: stored by a fleetctl that did not keep it."""
    trouble: str = ""
    """What makes it blind and how to mend it, such as a `concurrency` that is not the engine's; empty: nothing."""

    @property
    def change(self) -> int:
        return self.desired - self.current


class Verb(StrEnum):
    """What one Action does. Every one may be repeated."""

    LAUNCH = "launch"
    START = "start"
    STOP = "stop"
    TERMINATE = "terminate"
    APPLY = "apply"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One idempotent change, as data."""

    verb: Verb
    instance: InstanceId
    provider: ProviderName
    reason: str
    launch: LaunchSpec | None = None
    """With `launch`."""
    address: str | None = None
    """With `apply`: where the node agent is."""
    desired: NodeDesired | None = None
    """With `apply`."""

    @property
    def key(self) -> str:
        """Two Actions of one key are the same Action; the second is not issued while the first is in flight."""
        return f"{self.verb}/{self.instance}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one attempt at an Action ended; data for the next tick."""

    key: str
    instance: InstanceId
    verb: Verb
    at: float
    took_s: float
    error: str | None = None
    """None: done."""
    error_code: str | None = None
    """`FleetError.code`."""
    retryable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, for people."""

    at: float
    kind: str
    """scale, instance, replica, rollout, hold, warning, controller, intent."""
    subject: str
    """`service/chat`, `instance/…`, `replica/…`, `pool/…`, `fleet`."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Decisions, the rows they change, and the Actions that follow. Rows are stored before any Action is taken."""

    at: float
    decisions: tuple[Decision, ...] = ()
    instances: tuple[Instance, ...] = ()
    """Changed or new rows."""
    replicas: tuple[Replica, ...] = ()
    """Changed or new rows."""
    removed_replicas: tuple[ReplicaId, ...] = ()
    memories: tuple[tuple[ServiceName, Memory], ...] = ()
    counters: tuple[tuple[str, int], ...] = ()
    """Last numbers given out, by prefix of the identifier."""
    places: tuple[Experience, ...] = ()
    """Changed or new ones."""
    rollouts: tuple[Rollout, ...] = ()
    """Changed or new ones."""
    starts: tuple[Start, ...] = ()
    """That ended."""
    pins: tuple[tuple[str, str], ...] = ()
    """New ones: an image's name by tag, and the digest that it has meant since."""
    removed_pins: tuple[str, ...] = ()
    """Names that no Service has any more."""
    actions: tuple[Action, ...] = ()
    routes: Routes | None = None
    events: tuple[Event, ...] = ()
