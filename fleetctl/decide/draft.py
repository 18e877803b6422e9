"""The Plan of one tick while it is being made: rows as they will be, and what follows from them."""

from collections.abc import Hashable, Iterator, Mapping, Sequence

from fleetctl.decide.images import pins
from fleetctl.decide.standing import own_pool
from fleetctl.model.decisions import Action, Event
from fleetctl.model.instances import Instance
from fleetctl.model.names import InstanceId, PoolName, ReplicaId, ServiceName
from fleetctl.model.nodes import Artifact, ArtifactStatus, EngineCache, Feed
from fleetctl.model.orders import Wish
from fleetctl.model.replicas import Replica
from fleetctl.model.rollouts import Rollout
from fleetctl.model.services import Pool, Service
from fleetctl.model.shortages import Shortage
from fleetctl.model.snapshots import Intent, Snapshot
from fleetctl.model.starts import Start


class Draft:
    """Rows of a Snapshot with the changes made so far. Lives for one call of `plan`."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.now = snapshot.now
        self.instances: dict[InstanceId, Instance] = dict(snapshot.instances)
        self.replicas: dict[ReplicaId, Replica] = dict(snapshot.replicas)
        self.counters: dict[str, int] = dict(snapshot.counters)
        self.actions: list[Action] = []
        self.events: list[Event] = []
        self.starts: list[Start] = []
        """Those that ended in this tick."""
        intents = snapshot.in_force()
        self.intents: Mapping[ServiceName, Intent] = {intent.service.name: intent for intent in intents}
        """Each of the revision that holds, which need not be the declared one."""
        self.rollouts: dict[ServiceName, Rollout] = dict(snapshot.rollouts)
        self.pools: Mapping[PoolName, Pool] = _pools(snapshot, intents)
        self.failed_services: dict[ServiceName, int] = {}
        self.failures: dict[ServiceName, str] = {}
        """What the last of them left behind, in a sentence."""
        self.died: dict[ServiceName, list[tuple[str, str]]] = {}
        """Revision, and what its Node says, of each Replica that this tick saw fail to start, or die."""
        self.refused: dict[ServiceName, str] = {}
        """Why a machine that a Service needs may not be launched."""
        self.short: dict[ServiceName, Shortage] = {}
        """What keeps a machine that a Service's Replica needs from being had, beside what is `refused`."""
        self.unmet: dict[ServiceName, str] = {}
        """What a Service needs of a Node that is free for it, and does not find there."""
        self.standby: dict[ServiceName, int] = {}
        """Slots that this tick's Decisions want to stand by, where the file leaves it to them."""
        self.taken: dict[str, int] = {}
        """By `str(Place)`: machines that were announced this very tick to be taken away there."""
        self.pins: Mapping[str, str] = pins(snapshot)
        """What each image's name by tag means, once a Node has fetched it."""
        self.feeds: Mapping[InstanceId, tuple[Feed, ...]] | None = None
        """Whom each Node follows for what; None: not found yet in this tick."""
        self.engine_caches: dict[Hashable, EngineCache | None] = {}
        """By what they follow from: found once for all Nodes of a kind."""
        self.ailing: dict[PoolName, list[tuple[InstanceId, tuple[ArtifactStatus, ...]]]] = {}
        """Of each Pool, as far as it was asked for: Nodes that do not answer or cannot get something, with what."""
        self.usable_caches: dict[InstanceId, tuple[Artifact, ...]] = {}
        """Of each Node, as far as they were asked for in this tick."""
        self._orders: Mapping[str, Wish] = {order.subject: order.wish for order in snapshot.orders}
        self._pool_digests: dict[PoolName, str] = {}
        self._services_by_pool: dict[PoolName, list[Intent]] = {}
        for intent in intents:
            self._services_by_pool.setdefault(intent.service.pool_name, []).append(intent)
        self._by_instance: dict[InstanceId, set[ReplicaId]] = {}
        self._by_service: dict[ServiceName, set[ReplicaId]] = {}
        self._service_replicas: dict[ServiceName, Sequence[Replica]] = {}
        """What `of_service` last said of each, as long as it holds: it is asked often."""
        self._service_revisions: dict[ServiceName, frozenset[str]] = {}
        """The same of the revisions that run."""
        self._by_pool: dict[PoolName, list[InstanceId]] = {}
        for replica in self.replicas.values():
            self._index(replica)
        for instance in self.instances.values():
            self._by_pool.setdefault(instance.pool, []).append(instance.id)

    # rows

    def put_instance(self, instance: Instance) -> None:
        if instance.id not in self.instances:
            self._by_pool.setdefault(instance.pool, []).append(instance.id)
        self.instances[instance.id] = instance

    def put_replica(self, replica: Replica) -> None:
        before = self.replicas.get(replica.id)
        if before is None:
            self._index(replica)
        elif before.instance != replica.instance:
            self._unindex(before)
            self._index(replica)
        self.replicas[replica.id] = replica
        self._service_replicas.pop(replica.service, None)
        self._service_revisions.pop(replica.service, None)

    def remove_replica(self, replica: Replica) -> None:
        self._unindex(replica)
        self._service_replicas.pop(replica.service, None)
        self._service_revisions.pop(replica.service, None)
        del self.replicas[replica.id]

    def of_service(self, service: ServiceName) -> Sequence[Replica]:
        """Its Replicas, oldest first."""
        known = self._service_replicas.get(service)
        if known is None:
            known = sorted((self.replicas[key] for key in self._by_service.get(service, ())), key=_age)
            self._service_replicas[service] = known
        return known

    def on_instance(self, instance: InstanceId) -> Sequence[Replica]:
        """Its Replicas, oldest first."""
        found = [self.replicas[key] for key in self._by_instance.get(instance, ())]
        if len(found) > 1:
            found.sort(key=_age)
        return found

    def reclaimed(self, replica: Replica) -> bool:
        """Whether it is on an Instance that its cloud takes back."""
        return replica.instance is not None and self.instances[replica.instance].reclaimed

    def hinted(self, replica: Replica) -> bool:
        """Whether it is on an Instance that its cloud may take back."""
        return replica.instance is not None and self.instances[replica.instance].hinted

    def pool_closed(self, pool: PoolName) -> bool:
        """Whether the user lets nothing new be placed anywhere in the Pool."""
        return f"pool/{pool}" in self._orders

    def closed(self, instance: Instance) -> bool:
        """Whether the user lets nothing new be placed there."""
        orders = self._orders
        return bool(orders) and (f"instance/{instance.id}" in orders or f"pool/{instance.pool}" in orders)

    def emptying(self, instance: Instance) -> bool:
        """Whether the user wants what is there to move off, and the Instance given back."""
        asked = (self._orders.get(f"instance/{instance.id}"), self._orders.get(f"pool/{instance.pool}"))
        return Wish.DRAIN in asked

    def leaving(self, replica: Replica) -> bool:
        """Whether the user wants another one in its place."""
        if not self._orders:
            return False
        if f"replica/{replica.id}" in self._orders:
            return True
        return replica.instance is not None and self.emptying(self.instances[replica.instance])

    def cut_off(self, replica: Replica) -> bool:
        """Whether the user wants it to end at once, whatever it serves."""
        return self._orders.get(f"replica/{replica.id}") is Wish.STOP

    def in_pool(self, pool: PoolName) -> Iterator[Instance]:
        """Its Instances that are not over, in the order they were made."""
        for key in self._by_pool.get(pool, ()):
            instance = self.instances[key]
            if not instance.over:
                yield instance

    def ever_in_pool(self, pool: PoolName) -> Iterator[Instance]:
        """Its Instances with those that are over, as long as the store keeps them."""
        return (self.instances[key] for key in self._by_pool.get(pool, ()))

    def services_of(self, pool: PoolName) -> list[Intent]:
        return self._services_by_pool.get(pool, [])

    def revisions_of(self, intent: Intent) -> list[str]:
        """Those whose image and weights are held: what runs or comes in, and what an open Rollout may go back to."""
        service = intent.service.name
        found = {intent.revision, *self._running(service)}
        rollout = self.rollouts.get(service)
        if rollout is not None and rollout.open and rollout.from_revision:
            found.add(rollout.from_revision)
        return sorted(found)

    def _running(self, service: ServiceName) -> frozenset[str]:
        found = self._service_revisions.get(service)
        if found is None:
            found = self._service_revisions[service] = frozenset(one.revision for one in self.of_service(service))
        return found

    def service_of(self, replica: Replica) -> Service | None:
        """The Service with what this Replica runs; of a revision that nobody knows any more, what others run."""
        intent = self.intents.get(replica.service)
        return None if intent is None else intent.running(replica.revision) or intent.service

    def pool_digest(self, pool: PoolName) -> str:
        """Changes when what the Pool's Nodes shall hold or run changes."""
        found = self._pool_digests.get(pool)
        if found is None:
            found = " ".join(
                f"{intent.service.name} {self.revisions_of(intent)} {intent.up} {intent.service.startup_timeout_s}"
                f" {intent.service.warm_up}"
                f" {self._digests(intent)}"
                for intent in self.services_of(pool)
            )
            self._pool_digests[pool] = found
        return found

    def _digests(self, intent: Intent) -> str:
        services = (intent.running(name) for name in self.revisions_of(intent))
        return " ".join(sorted({self.pins.get(one.image or "", "") for one in services if one is not None}))

    # identifiers

    def new_id(self, name: str) -> str:
        """`name-epoch-n`: never used before in this store, nor in another store of the same fleet."""
        prefix = f"{name}-{self.snapshot.epoch}"
        number = self.counters.get(prefix, 0) + 1
        self.counters[prefix] = number
        return f"{prefix}-{number}"

    # what people are told

    def say(self, kind: str, subject: str, message: str) -> None:
        self.events.append(Event(at=self.now, kind=kind, subject=subject, message=message))

    def busy(self, instance: InstanceId) -> bool:
        """Whether an Action that changes the Instance itself is in flight."""
        flying = self.snapshot.in_flight
        return bool(flying) and any(f"{verb}/{instance}" in flying for verb in ("launch", "start", "stop", "terminate"))

    def _index(self, replica: Replica) -> None:
        self._by_service.setdefault(replica.service, set()).add(replica.id)
        if replica.instance is not None:
            self._by_instance.setdefault(replica.instance, set()).add(replica.id)

    def _unindex(self, replica: Replica) -> None:
        self._by_service[replica.service].discard(replica.id)
        if replica.instance is not None:
            self._by_instance[replica.instance].discard(replica.id)


def _age(replica: Replica) -> tuple[float, str]:
    return (replica.created_at, replica.id)


def _pools(snapshot: Snapshot, intents: Sequence[Intent]) -> dict[PoolName, Pool]:
    """The declared Pools, and one for each Service that names none."""
    pools = {pool.name: pool for pool in snapshot.pools}
    for intent in intents:
        service = intent.service
        if service.pool is None and service.pool_name not in pools:
            pools[service.pool_name] = own_pool(service)
    return pools
