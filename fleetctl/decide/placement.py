"""Replicas to Slots: promote a Standby, bind to a free Slot, choose whom to drain, let go of who has drained."""

from collections.abc import Sequence
from dataclasses import replace

from fleetctl.decide import needs, starts
from fleetctl.decide.desired import artifacts
from fleetctl.decide.draft import Draft
from fleetctl.decide.images import by_digest
from fleetctl.decide.sleeping import beds, fitting, on_blocked_gpu, room_for, shares
from fleetctl.decide.standing import awake, standby_of, standby_slots
from fleetctl.model.instances import Instance, InstancePhase, Wanted
from fleetctl.model.names import InstanceId, ReplicaId, ServiceName
from fleetctl.model.nodes import ArtifactState, NodeStatus
from fleetctl.model.replicas import Origin, Replica, ReplicaPhase, Role
from fleetctl.model.services import Gpu, Pool, Service, Tier, same_product
from fleetctl.model.signals import QueueStats, Reading
from fleetctl.model.snapshots import Intent

DRAIN_SETTLE_S = 1.0
"""A draining Replica is only believed idle on figures taken this long after its routing ended: what was sent to it
just before must have had time to show."""
DRAIN_BLIND_S = 30.0
"""A draining Replica without metrics, to which the gateway has nothing in flight, is believed idle after this long:
whoever asks it past the gateway had time to end."""


def resize(draft: Draft, intent: Intent, desired: int, *, allowed: int | None, room: int = 0) -> int | None:
    """Make the Service's serving Replicas `desired`: Standby first, then new ones; or drain the least useful.

    At most `allowed` are added, None: as many as are missing. So many as there is `room` for on Standby elsewhere are
    added besides, for those on Instances that their cloud may take back. Returns what is left of `allowed`.
    """
    service = intent.service
    fresh = [replica for replica in draft.of_service(service.name) if replica.role is Role.SERVING]
    missing = desired - len(fresh)
    hinted = [replica for replica in fresh if draft.hinted(replica)]
    staying = [replica for replica in fresh if not draft.hinted(replica)]
    if hinted and missing <= 0:
        # They move as a Rollout does, a step at a time, and never above `max`.
        coming = sum(1 for replica in staying if replica.phase is not ReplicaPhase.READY)
        spare = min(room, service.scaling.max - len(fresh), service.scaling.step - coming)
        missing = max(0, min(desired - len(staying), spare))
    elif missing > 0:
        missing -= take_back(draft, intent, intent.revision, missing)
    if allowed is not None:
        missing = min(missing, allowed)
        allowed -= max(0, missing)
    for _ in range(max(0, missing)):
        add(draft, intent, intent.revision)
    kept = min(len(staying), desired)
    there = sum(1 for replica in staying if replica.phase is ReplicaPhase.READY)
    surplus = len(hinted) - max(0, min(desired - there, service.scaling.max - kept))
    for replica in least_useful(draft, hinted)[: max(0, surplus)]:
        drain(draft, replica, f"{replica.instance} may be taken back, and others serve")
    for replica in least_useful(draft, staying)[: max(0, len(staying) - desired)]:
        drain(draft, replica, "fewer are wanted")
    return allowed


def take_back(draft: Draft, intent: Intent, revision: str, wanted: int) -> int:
    """Up to `wanted` draining Replicas of that revision serve again, the quickest there are; how many do."""
    back = [
        replica
        for replica in draft.of_service(intent.service.name)
        if replica.role is Role.DRAINING
        and replica.revision == revision
        and replica.phase is ReplicaPhase.READY
        and not draft.reclaimed(replica)
        and not draft.leaving(replica)
    ][: max(0, wanted)]
    for replica in back:
        draft.put_replica(replace(replica, role=Role.SERVING, drain_from=None))
        draft.say("replica", f"replica/{replica.id}", "taken back from draining")
    return len(back)


_SOON = 1
"""The last of the ranks below whose Standby is there already and need not be waited for."""


def add(draft: Draft, intent: Intent, revision: str) -> None:
    """One more serving Replica of that revision: the best of the Standby, or else a new one."""
    service = intent.service
    ranks: dict[tuple[Role, ReplicaPhase], tuple[int, Origin]] = {
        (Role.HOT, ReplicaPhase.READY): (0, "hot"),
        (Role.ASLEEP, ReplicaPhase.ASLEEP): (1, "asleep"),
        (Role.HOT, ReplicaPhase.LOADING): (2, "hot"),
        (Role.ASLEEP, ReplicaPhase.LOADING): (3, "asleep"),
    }
    best: tuple[tuple[bool, bool, int], Origin, Replica] | None = None
    for replica in draft.of_service(service.name):
        rank = ranks.get((replica.role, replica.phase))
        if rank is None or replica.revision != revision or on_blocked_gpu(draft, replica):
            continue
        # Of those that could serve soon, one that may be taken away comes last.
        key = (rank[0] > _SOON, draft.hinted(replica), rank[0])
        if best is None or key < best[0]:
            best = (key, rank[1], replica)
    if best is None:
        made = ReplicaId(draft.new_id(service.name))
        draft.put_replica(Replica(id=made, service=service.name, revision=revision, created_at=draft.now))
        return
    _, origin, replica = best
    _promote(draft, replica, origin, since=draft.now)


def _promote(draft: Draft, replica: Replica, origin: Origin, *, since: float) -> None:
    """Let a Standby serve; it has been wanted `since`."""
    ready_at = draft.now if replica.phase is ReplicaPhase.READY else None
    draft.put_replica(
        replace(
            replica,
            role=Role.SERVING,
            origin=origin,
            created_at=since,
            bound_at=draft.now,
            ready_at=ready_at,
            asleep_at=None,
            stages=(),
        )
    )
    if ready_at is not None:
        starts.ended(draft, draft.replicas[replica.id])
    draft.say("replica", f"replica/{replica.id}", f"promoted from {origin} standby on {replica.instance}")


_WARMTH = {
    ReplicaPhase.PENDING: 0,
    ReplicaPhase.FAILED: 0,
    ReplicaPhase.PREPARING: 1,
    ReplicaPhase.LOADING: 2,
    ReplicaPhase.ASLEEP: 3,
    ReplicaPhase.READY: 4,
}


def least_useful(draft: Draft, replicas: Sequence[Replica]) -> list[Replica]:
    """Those first: far from ready, to go by hand, alone on its Instance (which can then go), least loaded, newest."""
    crowd: dict[str, int] = {}
    for replica in replicas:
        if replica.instance is not None:
            crowd[replica.instance] = crowd.get(replica.instance, 0) + 1

    def key(replica: Replica) -> tuple[int, bool, int, float, float]:
        reading = draft.snapshot.readings.get(replica.id)
        load = reading.total if isinstance(reading, Reading) else 0.0
        company = crowd[replica.instance] if replica.instance is not None else 0
        return (_WARMTH[replica.phase], not draft.leaving(replica), company, load, -replica.created_at)

    return sorted(replicas, key=key)


def drain(draft: Draft, replica: Replica, why: str) -> None:
    """Send it nothing more; it ends with its last request. One that is not ready ends at once."""
    if replica.phase is not ReplicaPhase.READY:
        draft.remove_replica(replica)
        draft.say("replica", f"replica/{replica.id}", f"given up before it was ready: {why}")
        return
    draft.put_replica(replace(replica, role=Role.DRAINING, drain_from=draft.now))
    draft.say("replica", f"replica/{replica.id}", f"draining: {why}")


def release_drained(draft: Draft, intent: Intent, queue: QueueStats | None, *, gateway: bool) -> None:
    """Remove Replicas that have drained, or recycle them as the Standby that is lacking."""
    service = intent.service
    pool = draft.pools[service.pool_name]
    in_flight = dict(queue.in_flight) if queue is not None else {}
    for replica in draft.of_service(service.name):
        if replica.role is not Role.DRAINING or replica.drain_from is None:
            continue
        waited_s = draft.now - replica.drain_from
        overdue = waited_s > service.drain_timeout_s
        if not overdue and not _idle(draft, replica, queue, in_flight, gateway=gateway):
            continue
        if overdue:
            draft.say(
                "warning",
                f"replica/{replica.id}",
                f"stopped {_burden(draft, replica)}: the drain timeout of {service.drain_timeout_s:g} s is over",
            )
        tier = standby_of(pool, service).tier
        right = replica.revision == intent.revision and not draft.reclaimed(replica) and not draft.leaving(replica)
        if intent.up and not overdue and right and tier in (Tier.HOT, Tier.ASLEEP):
            role = Role.HOT if tier is Tier.HOT else Role.ASLEEP
            # One that still waits for a Slot is not kept: this engine has loaded already.
            others = (other for other in draft.of_service(service.name) if other.instance is not None)
            held = sum(1 for other in others if other.role is role)
            if held < standby_wanted(draft, intent, pool):
                draft.put_replica(replace(replica, role=role, drain_from=None))
                draft.say("replica", f"replica/{replica.id}", f"drained; recycled as {tier} standby")
                continue
        draft.remove_replica(replica)
        draft.say("replica", f"replica/{replica.id}", f"drained in {waited_s:.1f} s and stopped")


def _burden(draft: Draft, replica: Replica) -> str:
    reading = draft.snapshot.readings.get(replica.id)
    return f"with {reading.total:g} requests running" if isinstance(reading, Reading) else "with its load unknown"


def _idle(
    draft: Draft, replica: Replica, queue: QueueStats | None, in_flight: dict[ReplicaId, int], *, gateway: bool
) -> bool:
    assert replica.drain_from is not None
    settled = replica.drain_from + DRAIN_SETTLE_S
    if gateway and (queue is None or queue.at < settled or in_flight.get(replica.id, 0) > 0):
        return False
    reading = draft.snapshot.readings.get(replica.id)
    if not isinstance(reading, Reading):
        # Its own figures are not to be had; what the gateway sent it has been answered for a while.
        return gateway and draft.now - replica.drain_from >= DRAIN_BLIND_S
    return reading.at >= settled and reading.total == 0


def standby_wanted(draft: Draft, intent: Intent, pool: Pool) -> int:
    """Standby Slots that the Service may ever use: never more than what `max` leaves."""
    service = intent.service
    if not intent.up:
        return 0
    serving = sum(1 for replica in draft.of_service(service.name) if replica.role is Role.SERVING)
    slots = standby_slots(standby_of(pool, service), service, draft.standby.get(service.name))
    return max(0, min(slots, service.scaling.max - serving))


def keep_standby_replicas(draft: Draft, intent: Intent, *, allowed: int | None) -> None:
    """For the hot and asleep tiers: as many idle Replicas as are wanted, of the present revision.

    At most `allowed` are added, None: as many as are missing.
    """
    service = intent.service
    pool = draft.pools[service.pool_name]
    tier = standby_of(pool, service).tier
    role = {Tier.HOT: Role.HOT, Tier.ASLEEP: Role.ASLEEP}.get(tier)
    wanted = standby_wanted(draft, intent, pool) if role is not None else 0
    idle = [replica for replica in draft.of_service(service.name) if replica.role in (Role.HOT, Role.ASLEEP)]
    # What stands by follows once all that serves is of the new revision: until then it may be needed as it is.
    rollout = draft.rollouts.get(service.name)
    moving = rollout is not None and rollout.open and rollout.from_revision != ""
    revisions = {intent.revision, rollout.from_revision} if rollout is not None and moving else {intent.revision}
    right = [replica for replica in idle if replica.role is role and replica.revision in revisions]
    for replica in [replica for replica in idle if replica not in right] + least_useful(draft, right)[
        : max(0, len(right) - wanted)
    ]:
        draft.remove_replica(replica)
        draft.say("replica", f"replica/{replica.id}", "standby no longer wanted: stopped")
    if role is None or moving:
        return
    missing = wanted - len(right)
    for _ in range(max(0, missing if allowed is None else min(missing, allowed))):
        key = ReplicaId(draft.new_id(service.name))
        draft.put_replica(
            Replica(id=key, service=service.name, revision=intent.revision, role=role, created_at=draft.now)
        )


def gpus_needed(service: Service, held: Gpu) -> int | None:
    """GPUs of an Instance that one Replica takes, or None when it cannot run there."""
    for wanted in service.gpu:
        if same_product(wanted.name, held.name):
            return wanted.count if wanted.count <= held.count else None
    return None


def free_gpus(draft: Draft, instance: Instance) -> list[int]:
    taken = {index for replica in draft.on_instance(instance.id) for index in replica.gpus}
    return [index for index in range(instance.offer.gpu.count) if index not in taken]


def choose_gpus(free: Sequence[int], count: int) -> tuple[int, ...] | None:
    """`count` of the free GPUs, neighbours on an aligned boundary where there are any (they share the fast links)."""
    if len(free) < count:
        return None
    have = set(free)
    for start in free:
        block = range(start, start + count)
        if start % count == 0 and have.issuperset(block):
            return tuple(block)
    return tuple(free[:count])


def _wake_instead(draft: Draft, pool: Pool) -> None:
    """Who still waits for a Slot is served by one asleep whose GPUs have become free meanwhile."""
    for intent in draft.services_of(pool.name) if pool.standby.share else ():
        every = draft.of_service(intent.service.name)
        waiting = [one for one in every if one.role is Role.SERVING and one.instance is None]
        for replica in every:
            if replica.role is not Role.ASLEEP or awake(replica) or on_blocked_gpu(draft, replica):
                continue
            first = next((one for one in waiting if one.revision == replica.revision), None)
            if first is not None:
                waiting.remove(first)
                draft.remove_replica(first)
                _promote(draft, replica, "asleep", since=first.created_at)


def _bed(draft: Draft, instance: Instance, service: Service, count: int) -> tuple[int, ...] | None:
    """GPUs of which nobody is awake, for one more engine to load and then to sleep: beside others, else alone."""
    total = instance.offer.gpu.count
    if not room_for(draft, instance, beds(draft, instance.id, total, now=False), service):
        return None
    those = beds(draft, instance.id, total, now=True)
    beside = {gpu: whose for gpu, whose in those.items() if whose}
    return choose_gpus(fitting(beside, service), count) or choose_gpus(fitting(those, service), count)


def bind(draft: Draft, pool: Pool) -> list[Replica]:
    """Give each pending Replica of the Pool the best free Slot on a Node that answers; the rest is returned."""
    _wake_instead(draft, pool)
    waiting = [
        replica
        for intent in draft.services_of(pool.name)
        for replica in draft.of_service(intent.service.name)
        if replica.instance is None
    ]
    if not waiting:
        return []
    # Who serves comes before who stands by, the longest wait first.
    waiting.sort(key=lambda replica: (replica.role is not Role.SERVING, replica.created_at, replica.id))
    nodes = [
        (instance, status)
        for instance in draft.in_pool(pool.name)
        if instance.phase is InstancePhase.READY
        and instance.wanted is Wanted.RUNNING
        and not instance.reclaimed
        and not draft.closed(instance)
        and isinstance(status := draft.snapshot.nodes.get(instance.id), NodeStatus)
    ]
    # Looked at once and not for each that waits: a large fleet is full, and many may wait for minutes.
    room = {instance.id: free_gpus(draft, instance) for instance, _ in nodes}
    nodes = [one for one in nodes if room[one[0].id] or pool.standby.share]
    holding: dict[tuple[InstanceId, ServiceName, str], bool] = {}
    left: list[Replica] = []
    for replica in waiting:
        service = draft.service_of(replica) or draft.intents[replica.service].service
        best: tuple[tuple[bool, bool, int, float], Instance, tuple[int, ...], bool] | None = None
        lacking = ""
        for instance, status in nodes:
            count = gpus_needed(service, instance.offer.gpu)
            free = room[instance.id]
            gpus = choose_gpus(free, count) if count is not None else None
            if count is not None and replica.role is Role.ASLEEP and shares(pool, service):
                gpus = _bed(draft, instance, service, count)
            if gpus is None:
                continue
            why = needs.unmet(service, instance, status, lazy=pool.lazy)
            if why:
                lacking = lacking or why
                continue
            what = (instance.id, replica.service, replica.revision)
            if what not in holding:
                holding[what] = holds_artifacts(draft, status, service)
            warm = holding[what]
            rank = (not warm, instance.hinted, len(free), instance.created_at)
            if best is None or rank < best[0]:
                best = (rank, instance, gpus, warm)
        if best is None:
            left.append(replica)
            if lacking and replica.role is Role.SERVING:
                draft.unmet.setdefault(service.name, lacking)
            continue
        _, instance, gpus, warm = best
        draft.put_replica(
            replace(
                replica,
                instance=instance.id,
                gpus=gpus,
                phase=ReplicaPhase.PREPARING,
                bound_at=draft.now,
                origin=_origin(replica, instance, warm=warm),
            )
        )
        room[instance.id] = free_gpus(draft, instance)
    return left


def holds_artifacts(draft: Draft, status: NodeStatus, service: Service) -> bool:
    """Whether the Node holds all that the Service needs; an image that it fetched by tag counts by its digest."""
    present = {held.artifact for held in status.artifacts if held.state is ArtifactState.PRESENT}
    present |= {by_digest(held) for held in status.artifacts if held.state is ArtifactState.PRESENT and held.digest}
    return all(artifact in present for artifact in artifacts(service, draft.pins))


def _origin(replica: Replica, instance: Instance, *, warm: bool) -> Origin:
    if instance.booted_at is None or instance.booted_at <= replica.created_at:
        return "warm" if warm else "cold"
    return "stopped" if (instance.resumed_at or 0.0) >= replica.created_at else "cold"
