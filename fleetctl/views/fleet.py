"""What the store says of the fleet, as rows. Reads the store and nothing else."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from functools import cached_property
from operator import attrgetter
from typing import Any, TypeVar

from fleetctl.decide.standing import blocked, own_pool, standby_of
from fleetctl.model.decisions import Decision, Memory
from fleetctl.model.images import pinned
from fleetctl.model.instances import Instance, InstancePhase, Wanted
from fleetctl.model.names import InstanceId, ServiceName
from fleetctl.model.records import dataclass
from fleetctl.model.replicas import Replica, ReplicaPhase, Role
from fleetctl.model.rollouts import Rollout, RolloutState
from fleetctl.model.services import Pool, Tier
from fleetctl.model.snapshots import Intent, Lease, State
from fleetctl.store import Memo, SqlStore
from fleetctl.views.holds import because
from fleetctl.views.promise import Promise, promise
from fleetctl.views.standbys import standby_figure

T = TypeVar("T")

NEW_S = 5.0
"""A Replica ready for less was perhaps not asked for its load yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRow:
    name: str
    state: str
    """ready, scaling, starting, idle (at zero), draining, down, failing, held; rolling, paused, aborted."""
    ready: int
    booting: int
    desired: int
    min: int
    max: int
    concurrency: float | None
    concurrency_most: float | None
    """More than `concurrency` while the load of some Replicas is unknown."""
    queued: int | None
    target: float
    standby_ready: int
    standby_wanted: int
    """Of use: never more than `max` leaves beside what serves."""
    tier: str
    price_per_hour: float | None
    """Of its serving Replicas."""
    endpoint: str
    reason: str
    trouble: str
    """What a person should look at; empty when all is well."""
    decided_at: float | None
    age_s: float
    rollout: Rollout | None = None
    """The one that is under way, or was given up."""
    image: str = ""
    """By digest, once the fleet knows it; empty: it runs in none."""
    gpu: str = ""
    """The first that it may have, as in `L40S:1`."""
    policy: str = ""
    """The preset of its scaling."""
    oldest_wait_s: float | None = None
    promise: Promise = Promise(ttft_s=None, kept=None)
    held_by_hand: bool = False
    """By `pause`, until `resume`."""
    standby_why: str = ""
    """Why fewer are wanted than the file says, or fewer are there than are wanted; empty: neither is so."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """As its file has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaRow:
    name: str
    service: str
    role: str
    phase: str
    instance: str | None
    gpus: tuple[int, ...]
    address: str | None
    revision: str
    """Of the Service, that it runs."""
    origin: str
    age_s: float
    ready_after_s: float | None
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of its Service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRow:
    name: str
    pool: str
    phase: str
    wanted: str
    provider: str
    gpu: str
    used_gpus: int
    price_per_hour: float | None
    age_s: float
    failure: str | None
    orphan: bool
    """No declared Pool claims it."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of its Pool, or of the Service whose own that is."""


_WAYS = ("by_service", "by_instance", "by_pool", "instance_of", "gpus_used")


@dataclass(frozen=True, kw_only=True)
class FleetView:
    """One look at the store, with the ways through it that rows need."""

    at: float
    lease: Lease | None
    intents: tuple[Intent, ...]
    pools: tuple[Pool, ...]
    instances: tuple[Instance, ...]
    replicas: tuple[Replica, ...]
    decisions: dict[str, Decision]
    endpoint: str
    refused: Mapping[str, str]
    """By Service: why a machine that it needs may not be launched."""
    rollouts: Mapping[str, Rollout] = field(default_factory=dict)
    """The newest of each Service."""
    pins: Mapping[str, str] = field(default_factory=dict)
    """What each image's name by tag means in this fleet."""
    memories: Mapping[str, Memory] = field(default_factory=dict)
    """By Service."""

    @property
    def age_s(self) -> float | None:
        """How old the newest Decision is."""
        newest = max((decision.at for decision in self.decisions.values()), default=None)
        return None if newest is None else self.at - newest

    @cached_property
    def by_service(self) -> Mapping[str, list[Replica]]:
        """The Replicas of each Service that has any."""
        return _grouped(self.replicas, attrgetter("service"))

    @cached_property
    def by_instance(self) -> Mapping[str, list[Replica]]:
        """The Replicas on each Instance that has any."""
        groups = _grouped(self.replicas, attrgetter("instance"))
        groups.pop(None, None)
        return groups

    @cached_property
    def by_pool(self) -> Mapping[str, list[Instance]]:
        """The Instances of each Pool that has any."""
        return _grouped(self.instances, attrgetter("pool"))

    @cached_property
    def instance_of(self) -> Mapping[str, Instance]:
        return {instance.id: instance for instance in self.instances}

    def sharing(self, before: "FleetView | None") -> "FleetView":
        """This view with the ways through its machines that one before has found, where the machines are the same."""
        if before is not None and self.replicas is before.replicas and self.instances is before.instances:
            found = {name: before.__dict__[name] for name in _WAYS if name in before.__dict__}
            self.__dict__.update(found)
        return self

    @cached_property
    def gpus_used(self) -> Mapping[str, int]:
        """By Instance, where any is."""
        return {name: len({gpu for one in held for gpu in one.gpus}) for name, held in self.by_instance.items()}

    def replicas_of(self, service: str) -> list[Replica]:
        return self.by_service.get(service, [])

    def used_gpus(self, instance: InstanceId) -> int:
        return self.gpus_used.get(instance, 0)

    def rollout_of(self, intent: Intent) -> Rollout | None:
        """The Service's Rollout from one revision to another, if it is under way or was given up."""
        row = self.rollouts.get(str(intent.service.name))
        if row is None or not row.from_revision or row.to_revision != intent.revision or not intent.up:
            return None
        given_up = row.state is RolloutState.ABORTED and intent.in_force(row) is not intent
        return row if row.open or given_up else None

    def pool_of(self, intent: Intent) -> Pool:
        named = {pool.name: pool for pool in self.pools}
        return named.get(intent.service.pool_name) or own_pool(intent.service)

    @property
    def pool_labels(self) -> dict[str, dict[str, str]]:
        """By Pool; a Service's own Pool has the Service's."""
        own = {intent.service.name: intent.service.labels for intent in self.intents if intent.service.pool is None}
        declared = {pool.name: pool.labels for pool in self.pools}
        return {str(name): dict(labels) for name, labels in (*own.items(), *declared.items())}

    @property
    def live_instances(self) -> list[Instance]:
        return [instance for instance in self.instances if not instance.over]

    @property
    def price_per_hour(self) -> tuple[float, int]:
        """Dollars an hour of everything billed, and how many billed Instances have no known price."""
        billed = [instance.offer.price_per_hour for instance in self.instances if instance.billed]
        return sum(price for price in billed if price is not None), sum(price is None for price in billed)


def fleet_view(store: SqlStore, listen: str, now: float, memo: Memo | None = None) -> FleetView:
    """One consistent-enough look at the store; with a `memo` the same rows give the same nouns."""
    return view_of(store.intents(), store.load(memo), store.decisions(memo), store.lease(), listen=listen, now=now)


def view_of(
    wanted: tuple[tuple[Intent, ...], tuple[Pool, ...]],
    state: State,
    decisions: Mapping[ServiceName, Decision],
    lease: Lease | None,
    *,
    listen: str,
    now: float,
) -> FleetView:
    """A look made of what was read."""
    intents, pools = wanted
    return FleetView(
        at=now,
        lease=lease,
        intents=intents,
        pools=pools,
        instances=tuple(state.instances.values()),
        replicas=tuple(sorted(state.replicas.values(), key=attrgetter("service", "created_at"))),
        decisions={str(name): decision for name, decision in decisions.items()},
        endpoint=f"http://{listen}",
        refused={str(name): memory.refused for name, memory in state.memories.items() if memory.refused},
        rollouts={str(name): row for name, row in state.rollouts.items()},
        pins=state.pins,
        memories={str(name): memory for name, memory in state.memories.items()},
    )


def service_rows(view: FleetView) -> list[ServiceRow]:
    """Every Service that is up, or down and not yet gone; those in trouble first."""
    return sorted((_service_row(view, intent) for intent in view.intents), key=worst_first)


_WORST = ("failing", "held", "aborted", "starting")
_LEAST = ("idle", "draining", "down")


def worst_first(row: ServiceRow) -> tuple[int, float, str]:
    """Sorts by who needs a person first.

    Those that cannot serve or are held; then broken promises, the most broken first; then those with a queue, whose
    oldest has waited longest first; then those that change; then the rest, and those at rest last.
    """
    if row.state in _WORST:
        return _WORST.index(row.state), 0.0, row.name
    if row.promise.broken_by > 0:
        return 10, -row.promise.broken_by, row.name
    if row.queued:
        return 11, -(row.oldest_wait_s or 0.0), row.name
    if row.state in _LEAST:
        return 20 + _LEAST.index(row.state), 0.0, row.name
    return (13 if row.state == "ready" else 12), 0.0, row.name


def _service_row(view: FleetView, intent: Intent) -> ServiceRow:
    service = intent.service
    replicas = view.replicas_of(service.name)
    serving = [replica for replica in replicas if replica.role is Role.SERVING]
    ready = sum(1 for replica in serving if replica.phase is ReplicaPhase.READY)
    decision = view.decisions.get(service.name)
    desired = decision.desired if decision is not None else service.scaling.min
    pool = view.pool_of(intent)
    standby = standby_of(pool, service)
    slots = standby_figure(
        intent,
        pool,
        decision,
        serving=len(serving),
        ready=standby_ready(view, intent, pool, standby.tier),
        waits=view.refused.get(service.name, "") or _full(view, pool),
    )
    price = _price_of(view, serving)
    silent = _silent(replicas, decision)
    rollout = view.rollout_of(intent)
    state = _state(intent, replicas, ready, desired, decision, silent, rollout)
    load = decision.inputs.load if decision is not None and decision.inputs is not None else None
    tally = view.memories[service.name].tally if service.name in view.memories else None
    return ServiceRow(
        name=service.name,
        state=state,
        ready=ready,
        booting=len(serving) - ready,
        desired=desired,
        min=service.scaling.min,
        max=service.scaling.max,
        concurrency=decision.concurrency if decision else None,
        concurrency_most=decision.concurrency_most if decision else None,
        queued=decision.queued if decision else None,
        target=service.target_concurrency,
        standby_ready=slots.ready,
        standby_wanted=slots.wanted,
        standby_why=slots.why,
        tier=standby.tier,
        price_per_hour=price,
        endpoint=f"{view.endpoint}/{service.name}/v1",
        reason=because(decision) if decision else "no decision yet",
        trouble=_trouble(state, ready, decision, silent)
        or _over_budget(view, service.name, replicas)
        or _no_room(view, pool, replicas)
        or (decision.trouble if decision is not None and intent.up else ""),
        decided_at=decision.at if decision else None,
        age_s=view.at - (intent.created_at or intent.changed_at),
        rollout=rollout,
        image=pinned(service.image, view.pins) if service.image is not None else "",
        gpu=str(service.gpu[0]),
        policy=service.scaling.preset,
        oldest_wait_s=None if load is None else load.oldest_wait_s,
        promise=promise(service.slo, tally.ttft if tally is not None else None),
        held_by_hand=intent.up and intent.override is not None and intent.override.held,
        labels=dict(service.labels),
    )


def _silent(replicas: Sequence[Replica], decision: Decision | None) -> int:
    """Replicas that serve and did not tell their load when it was decided; those that are new are not asked yet."""
    if decision is None or not decision.unknown:
        return 0
    settled = [
        replica
        for replica in replicas
        if replica.phase is ReplicaPhase.READY
        and replica.role in (Role.SERVING, Role.DRAINING)
        and replica.ready_at is not None
        and decision.at - replica.ready_at > NEW_S
    ]
    return min(decision.unknown, len(settled))


def _trouble(state: str, ready: int, decision: Decision | None, silent: int) -> str:
    if decision is None:
        return ""
    known = decision.inputs.trouble if decision.inputs is not None else ""
    why = f"; {known}" if known else ""
    if state == "failing":
        return f"{decision.reason}{why}"
    if decision.concurrency is None and state == "held":
        return f"its load is unknown, so its count is held at {decision.desired} ({decision.reason}){why}"
    if silent:
        what = "its one replica" if silent == ready == 1 else f"{silent} of its {ready} replicas"
        why = why or " (do the engines answer at their /metrics?)"
        return f"the load of {what} is unknown, so nothing is taken away{why}"
    return ""


def _over_budget(view: FleetView, service: str, replicas: Sequence[Replica]) -> str:
    waiting = sum(1 for replica in replicas if replica.instance is None)
    why = view.refused.get(service)
    return f"{waiting} of its replicas wait for a machine: {why}" if why and waiting else ""


def _no_room(view: FleetView, pool: Pool, replicas: Sequence[Replica]) -> str:
    """Replicas that wait for a Slot in a Pool that may not grow wait for ever unless somebody acts."""
    waiting = sum(1 for replica in replicas if replica.instance is None)
    if not waiting or not _full(view, pool):
        return ""
    return f"{waiting} of its replicas wait for a slot: pool {pool.name} has its max of {pool.max} instances"


def _full(view: FleetView, pool: Pool) -> str:
    """That the Pool may not grow; empty: it may."""
    held = sum(1 for instance in view.by_pool.get(pool.name, ()) if not instance.over)
    return f"pool {pool.name} has its max of {pool.max} instances" if held >= pool.max else ""


_ROLLING = {RolloutState.GOING: "rolling", RolloutState.PAUSED: "paused", RolloutState.ABORTED: "aborted"}


def _state(
    intent: Intent,
    replicas: Sequence[Replica],
    ready: int,
    desired: int,
    decision: Decision | None,
    silent: int,
    rollout: Rollout | None,
) -> str:
    if not intent.up:
        return "draining" if replicas else "down"
    if decision is not None and decision.binding == "failures":
        return "failing"
    if decision is not None and (decision.concurrency is None or (silent and silent >= ready)):
        return "held"
    if desired == 0 and ready == 0:
        return "idle"
    if ready == 0:
        return "starting"
    if rollout is not None:
        return _ROLLING[rollout.state]
    draining = any(replica.role is Role.DRAINING for replica in replicas)
    return "scaling" if ready != desired or draining else "ready"


def standby_ready(view: FleetView, intent: Intent, pool: Pool, tier: Tier) -> int:
    """Standby Slots that could serve the Service at its tier's speed, now."""
    service = intent.service
    role = {Tier.HOT: Role.HOT, Tier.ASLEEP: Role.ASLEEP}.get(tier)
    if role is not None:
        phase = ReplicaPhase.READY if tier is Tier.HOT else ReplicaPhase.ASLEEP
        return sum(
            1
            for replica in view.replicas_of(service.name)
            if replica.role is role and replica.phase is phase and not blocked(replica, beside(view, replica))
        )
    wanted, phase_of = (
        (Wanted.STOPPED, InstancePhase.STOPPED) if tier is Tier.STOPPED else (Wanted.RUNNING, InstancePhase.READY)
    )
    free = 0
    for instance in view.by_pool.get(pool.name, ()):
        if instance.wanted is wanted and instance.phase is phase_of:
            free += (instance.offer.gpu.count - view.used_gpus(instance.id)) // service.gpu[0].count
    return free


def beside(view: FleetView, replica: Replica) -> list[Replica]:
    """Those on its Instance, with it."""
    return [] if replica.instance is None else view.by_instance.get(replica.instance, [])


def _grouped(rows: Iterable[T], key: Callable[[T], Any]) -> dict[Any, list[T]]:
    """By attribute, in the rows' order: tens of thousands of rows with every look of a dashboard."""
    groups: defaultdict[Any, list[T]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(groups)


def _price_of(view: FleetView, replicas: Sequence[Replica]) -> float | None:
    """By the GPUs that they take of their machines; None: some price is not known."""
    gpus: defaultdict[str, int] = defaultdict(int)
    for replica in replicas:
        if replica.instance is not None:
            gpus[replica.instance] += len(replica.gpus)
    total = 0.0
    for name, count in gpus.items():
        instance = view.instance_of.get(name)
        if instance is None or instance.offer.price_per_hour is None:
            return None
        total += instance.offer.price_per_hour * count / instance.offer.gpu.count
    return total


def replica_rows(view: FleetView, service: str | None = None) -> list[ReplicaRow]:
    labels = {intent.service.name: dict(intent.service.labels) for intent in view.intents}
    return [
        ReplicaRow(
            name=replica.id,
            service=replica.service,
            role=replica.role,
            phase=replica.phase,
            instance=replica.instance,
            gpus=replica.gpus,
            address=replica.address,
            revision=replica.revision,
            origin=replica.origin,
            age_s=view.at - replica.created_at,
            ready_after_s=None if replica.ready_at is None else replica.ready_at - replica.created_at,
            labels=labels.get(replica.service, {}),
        )
        for replica in (view.replicas if service is None else view.replicas_of(service))
    ]


def instance_rows(view: FleetView) -> list[InstanceRow]:
    claimed = {intent.service.pool_name for intent in view.intents} | {pool.name for pool in view.pools}
    labels = view.pool_labels
    return [
        InstanceRow(
            name=instance.id,
            pool=instance.pool,
            phase=instance.phase,
            wanted=instance.wanted,
            provider=instance.offer.provider,
            gpu=str(instance.offer.gpu),
            used_gpus=view.used_gpus(instance.id),
            price_per_hour=instance.offer.price_per_hour,
            age_s=view.at - instance.created_at,
            failure=instance.failure,
            orphan=instance.pool not in claimed,
            labels=labels.get(instance.pool, {}),
        )
        for instance in sorted(view.live_instances, key=lambda instance: (instance.pool, instance.created_at))
    ]
