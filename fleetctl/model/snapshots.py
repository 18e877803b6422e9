"""All that a tick knows. `decide` is a function of this and nothing else; time is a field of it."""

from collections.abc import Mapping
from dataclasses import field, replace

from fleetctl.model.decisions import Memory, Outcome
from fleetctl.model.instances import Instance, Listing, Offer
from fleetctl.model.names import InstanceId, PoolName, ProviderName, ReplicaId, ServiceName
from fleetctl.model.nodes import NodeStatus
from fleetctl.model.orders import Order
from fleetctl.model.places import Experience
from fleetctl.model.records import dataclass
from fleetctl.model.replicas import Replica
from fleetctl.model.rollouts import Revision, Rollout, RolloutState, running
from fleetctl.model.services import Pool, Schedule, Service
from fleetctl.model.signals import OutsideReading, QueueStats, Reading, Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A count set by hand with `scale`, until it expires."""

    replicas: int
    until: float | None = None
    held: bool = False
    """By `pause`: the count that was there, until `resume`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What the user wants of one Service. `up=False`: drain it and give everything back."""

    service: Service
    revision: str
    up: bool = True
    override: Override | None = None
    changed_at: float = 0.0
    created_at: float = 0.0
    """When it was declared first; 0: before this was kept."""
    declared_at: float = 0.0
    """When its file was last handed in, changed or not; 0: before this was kept."""
    paused: bool = False
    """Its Rollout stands still until the user lets it go on."""
    revisions: tuple[Revision, ...] = ()
    """The last few that were declared, the present one among them; kept apart in the store."""
    added: tuple[Schedule, ...] = ()
    """Schedules by command, beside those of the file; they survive that it is handed in again."""

    def timetabled(self) -> "Intent":
        """With the Schedules by command among the Service's own."""
        if not self.added:
            return self
        return replace(self, service=replace(self.service, schedule=(*self.service.schedule, *self.added)))

    def running(self, revision: str) -> Service | None:
        """The Service with what Replicas of that revision run; None: not known any more."""
        if revision == self.revision:
            return self.service
        found = next((one for one in self.revisions if one.name == revision), None)
        return None if found is None else running(self.service, found.service)

    def in_force(self, rollout: Rollout | None) -> "Intent":
        """What holds: the declared revision, or the one before it where the declared one was given up."""
        if rollout is None or rollout.state is not RolloutState.ABORTED or rollout.to_revision != self.revision:
            return self
        if rollout.ended_at is not None and self.declared_at > rollout.ended_at:
            return self  # handed in once more: it is tried again
        before = self.running(rollout.from_revision)
        return self if before is None else replace(self, service=before, revision=rollout.from_revision)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to be the one controller, as the store keeps it."""

    holder: str
    fence: int
    """Grows with every change of holder; writes that carry an older one are refused."""
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a controller starts from: everything that earlier ticks stored."""

    instances: Mapping[InstanceId, Instance]
    replicas: Mapping[ReplicaId, Replica]
    memories: Mapping[ServiceName, Memory]
    counters: Mapping[str, int]
    places: Mapping[str, Experience] = field(default_factory=dict)
    """By `str(Place)`."""
    rollouts: Mapping[ServiceName, Rollout] = field(default_factory=dict)
    pins: Mapping[str, str] = field(default_factory=dict)
    """Digests of images, by their name by tag."""
    counted_until: float | None = None
    """Unix seconds up to which the ledger has counted; None: it is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    now: float
    """Unix seconds."""
    fleet: str
    epoch: str
    """Made with the store; part of every identifier, so that a new store never reuses one."""
    fence: int
    intents: tuple[Intent, ...] = ()
    pools: tuple[Pool, ...] = ()
    """Declared ones; a Service that names no Pool has one made for it."""
    instances: Mapping[InstanceId, Instance] = field(default_factory=dict)
    replicas: Mapping[ReplicaId, Replica] = field(default_factory=dict)
    memories: Mapping[ServiceName, Memory] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    places: Mapping[str, Experience] = field(default_factory=dict)
    """What was experienced where, by `str(Place)`."""
    rollouts: Mapping[ServiceName, Rollout] = field(default_factory=dict)
    """The newest of each Service."""
    pins: Mapping[str, str] = field(default_factory=dict)
    """Digests of images, by their name by tag, as they were first fetched."""
    listings: Mapping[ProviderName, Listing | Unknown] = field(default_factory=dict)
    """The newest listing of each Provider. Its age counts."""
    consistency_s: Mapping[ProviderName, float] = field(default_factory=dict)
    """How long a Provider's listings may lack what exists, or show what is gone."""
    offers: Mapping[PoolName, tuple[Offer, ...]] = field(default_factory=dict)
    """Best first. A Pool that is absent: not known yet."""
    nodes: Mapping[InstanceId, NodeStatus | Unknown] = field(default_factory=dict)
    readings: Mapping[ReplicaId, Reading | Unknown] = field(default_factory=dict)
    queues: Mapping[ServiceName, QueueStats] | Unknown | None = None
    """None: the fleet has no gateway. Unknown: it has one and it did not answer."""
    outside: Mapping[ServiceName, tuple[OutsideReading, ...]] = field(default_factory=dict)
    """The newest of each Service's signals from outside."""
    in_flight: frozenset[str] = frozenset()
    """Keys of Actions begun and not ended."""
    outcomes: tuple[Outcome, ...] = ()
    """Actions ended since the tick before."""
    max_cost_per_hour: float | None = None
    """US dollars that the whole fleet may cost; None: no limit."""
    orders: tuple[Order, ...] = ()
    """What the user asks of single Pools, Instances and Replicas."""

    def in_force(self) -> tuple[Intent, ...]:
        """The intents, each of the revision that holds, with the Schedules that were added to it."""
        return tuple(intent.in_force(self.rollouts.get(intent.service.name)).timetabled() for intent in self.intents)
