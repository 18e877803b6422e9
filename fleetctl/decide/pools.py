"""Instances of a Pool: the Slots its Replicas need + Standby − what is there or on its way."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from fleetctl.decide import budget, offers, shortages
from fleetctl.decide.draft import Draft
from fleetctl.decide.placement import choose_gpus, free_gpus, gpus_needed, holds_artifacts, standby_wanted
from fleetctl.decide.rests import too_soon
from fleetctl.decide.sleeping import beds, fitting, room_for, shares
from fleetctl.decide.standing import standby_of
from fleetctl.model.decisions import Action, Verb
from fleetctl.model.images import pinned
from fleetctl.model.instances import Instance, InstancePhase, LaunchSpec, Offer, Wanted
from fleetctl.model.names import InstanceId, ServiceName
from fleetctl.model.nodes import NodeStatus
from fleetctl.model.replicas import Replica, Role
from fleetctl.model.services import Pool, Service, Tier
from fleetctl.model.snapshots import Intent

TERMINATE_AGAIN_S = 60.0
"""A termination that has not shown in the listings after this long is asked for again."""


STANDBY = "standby"
"""Why an Instance is opened when no Replica asks for it."""


@dataclass(slots=True)
class _Room:
    """Free GPUs of an Instance that runs or is on its way, while the Pool's needs are laid into it."""

    instance: Instance
    free: int
    bound: bool
    """Some Replica is on it."""
    soon: int = 0
    """GPUs of Replicas that drain: good enough for Standby, too late for a Replica that waits."""
    laid: bool = False
    """Some need was laid into it."""
    beds: dict[int, frozenset[ServiceName]] = field(default_factory=dict)
    """GPUs on which engines sleep, or are to, with whose; those that are to have numbers below 0."""


def size(draft: Draft, pool: Pool, waiting: Sequence[Replica]) -> None:
    """Bring the Pool's Instances to what its Replicas and its Standby need. `waiting` have no Slot yet."""
    # What its cloud takes back is no room for anything, and is given back once it is empty.
    rooms = [
        _room(draft, instance)
        for instance in draft.in_pool(pool.name)
        if instance.wanted is Wanted.RUNNING and not instance.reclaimed and not draft.closed(instance)
    ]
    # Fullest first, so that what is empty can go; what is ready before what is on its way; last what may be taken.
    rooms.sort(
        key=lambda room: (
            not room.bound,
            room.instance.hinted,
            room.instance.phase is not InstancePhase.READY,
            room.instance.created_at,
            room.instance.id,
        )
    )
    complete = True
    for replica in waiting:
        service = draft.service_of(replica) or draft.intents[replica.service].service
        beside = replica.role is Role.ASLEEP and shares(pool, service)
        complete &= _make_room(draft, pool, rooms, service, f"replica {replica.id}", beside=beside)
    for room in rooms:
        room.free += room.soon
    for service in _warm_slots(draft, pool):
        complete &= _make_room(draft, pool, rooms, service, STANDBY)
    _keep_least(draft, pool, rooms)
    _put_to_rest(draft, pool, rooms)
    if complete:
        _give_back(draft, pool, rooms)


def _room(draft: Draft, instance: Instance) -> _Room:
    replicas = draft.on_instance(instance.id)
    leaving = {gpu for replica in replicas if replica.role is Role.DRAINING for gpu in replica.gpus}
    those = beds(draft, instance.id, instance.offer.gpu.count, now=False)
    return _Room(
        instance=instance,
        free=len(free_gpus(draft, instance)),
        bound=bool(replicas),
        soon=len(leaving - {gpu for replica in replicas if replica.role is not Role.DRAINING for gpu in replica.gpus}),
        beds={gpu: whose for gpu, whose in those.items() if whose},
    )


def _make_room(
    draft: Draft, pool: Pool, rooms: list[_Room], service: Service, why: str, *, beside: bool = False
) -> bool:
    """Lay one need into a room, opening one more if there must be. False: not now.

    `beside`: it is to sleep, on a GPU where others may sleep too.
    """
    if beside and _lay_to_sleep(draft, rooms, service):
        return True
    if not beside and _lay(rooms, service):
        return True
    room = _open(draft, pool, service, why)
    if room is None:
        return False
    rooms.append(room)
    return _lay_to_sleep(draft, [room], service) if beside else _lay([room], service)


def _lay(rooms: Sequence[_Room], service: Service) -> bool:
    for room in rooms:
        count = gpus_needed(service, room.instance.offer.gpu)
        if count is not None and count <= room.free:
            room.free -= count
            room.laid = True
            return True
    return False


def _lay_to_sleep(draft: Draft, rooms: Sequence[_Room], service: Service) -> bool:
    """Lay an engine that sleeps beside others, or onto GPUs that are free."""
    for room in rooms:
        count = gpus_needed(service, room.instance.offer.gpu)
        if count is None or not room_for(draft, room.instance, room.beds, service):
            continue
        gpus = choose_gpus(fitting(room.beds, service), count)
        if gpus is None and count <= room.free:
            room.free -= count
            gpus = tuple(range(-room.free - count, -room.free))
        if gpus is not None:
            room.beds.update({gpu: room.beds.get(gpu, frozenset()) | {service.name} for gpu in gpus})
            room.laid = True
            return True
    return False


def _warm_slots(draft: Draft, pool: Pool) -> Iterator[Service]:
    """One item for each Slot that is to stand by on a running Instance.

    Services that state no Standby of their own share the Pool's: it is as large as the largest of them needs.
    """
    shared: list[Service] = []
    for intent in draft.services_of(pool.name):
        service = intent.service
        tier = standby_of(pool, service).tier
        if not intent.up or tier not in (Tier.WARM, Tier.STOPPED):
            continue
        slots = standby_wanted(draft, intent, pool)
        if tier is Tier.STOPPED:
            slots = max(0, slots - _stopped_slots(draft, pool, service))
        if service.standby is not None:
            yield from [service] * slots
        elif slots * service.gpu[0].count > len(shared) * (shared[0].gpu[0].count if shared else 0):
            shared = [service] * slots
    yield from shared


def _stopped_slots(draft: Draft, pool: Pool, service: Service) -> int:
    slots = 0
    for instance in draft.in_pool(pool.name):
        count = gpus_needed(service, instance.offer.gpu)
        if instance.wanted is Wanted.STOPPED and count is not None:
            slots += instance.offer.gpu.count // count
    return slots


def _open(draft: Draft, pool: Pool, service: Service, why: str) -> _Room | None:
    """One more running Instance: a stopped one if there is any, else a new one. None: not now."""
    if draft.pool_closed(pool.name):
        said = f"pool {pool.name} is closed by hand: fleetctl pool uncordon {pool.name}"
        draft.refused.setdefault(service.name, said)
        return None
    for instance in draft.in_pool(pool.name):
        rests = instance.wanted is Wanted.STOPPED and instance.phase is InstancePhase.STOPPED
        fits = gpus_needed(service, instance.offer.gpu) is not None
        if rests and fits and why != STANDBY and not _pausing(instance, draft.now) and not draft.closed(instance):
            if _refused(draft, service, instance.offer):
                continue
            instance = replace(instance, wanted=Wanted.RUNNING, ordered_at=draft.now)
            draft.put_instance(instance)
            draft.say("instance", f"instance/{instance.id}", f"starting it from stopped standby for {why}")
            return _Room(instance=instance, free=instance.offer.gpu.count, bound=False)
    # Whatever is not over may still be billed, or may be again.
    if sum(1 for _ in draft.in_pool(pool.name)) >= pool.max:
        if why != STANDBY:
            draft.short.setdefault(service.name, shortages.full(pool))
        return None
    offer = next((one for one in offers.candidates(draft, pool, service) if not _refused(draft, service, one)), None)
    if offer is None:
        asked = why != STANDBY and service.name not in draft.short
        shortage = shortages.none_to_be_had(draft, pool, service) if asked else None
        if shortage is not None:
            draft.short.setdefault(service.name, shortage)
        return None
    key = InstanceId(draft.new_id(pool.name))
    instance = Instance(id=key, pool=pool.name, offer=offer, phase_at=draft.now, created_at=draft.now)
    draft.put_instance(instance)
    price = "price unknown" if offer.price_per_hour is None else f"${offer.price_per_hour:g}/h"
    draft.say("instance", f"instance/{key}", f"launching {offer.gpu} at {offer.provider} ({price}) for {why}")
    return _Room(instance=instance, free=offer.gpu.count, bound=False)


def _refused(draft: Draft, service: Service, offer: Offer) -> bool:
    """Whether the fleet's limit forbids one more machine of this Offer. What is found first is told."""
    why = budget.refusal(draft, offer)
    if why:
        draft.refused.setdefault(service.name, why)
    return bool(why)


def _keep_least(draft: Draft, pool: Pool, rooms: list[_Room]) -> None:
    """The Pool's `min` holds while any of its Services is up."""
    up = [intent for intent in draft.services_of(pool.name) if intent.up]
    if not up:
        return
    lacking = pool.min - sum(1 for room in rooms if room.bound or room.laid)
    for room in rooms:
        if lacking > 0 and not (room.bound or room.laid):
            room.laid = True
            lacking -= 1
    for _ in range(max(0, lacking)):
        room_or_none = _open(draft, pool, up[0].service, f"min {pool.min}")
        if room_or_none is None:
            return
        room_or_none.laid = True
        rooms.append(room_or_none)


def _put_to_rest(draft: Draft, pool: Pool, rooms: Sequence[_Room]) -> None:
    """Stop Instances that are to stand by stopped, once they hold what they will need."""
    for intent in _resting(draft, pool):
        service = intent.service
        lacking = standby_wanted(draft, intent, pool) - _stopped_slots(draft, pool, service)
        for room in rooms:
            instance = room.instance
            status = draft.snapshot.nodes.get(instance.id)
            if lacking <= 0:
                break
            if room.bound or instance.phase is not InstancePhase.READY or instance.wanted is not Wanted.RUNNING:
                continue
            if not isinstance(status, NodeStatus) or not holds_artifacts(draft, status, service):
                continue
            lacking -= instance.offer.gpu.count // service.gpu[0].count
            room.laid = True
            draft.put_instance(replace(instance, wanted=Wanted.STOPPED))
            draft.say("instance", f"instance/{instance.id}", "holds image and weights: stopping it to stand by")


def _give_back(draft: Draft, pool: Pool, rooms: Sequence[_Room]) -> None:
    up = any(intent.up for intent in draft.services_of(pool.name))
    for room in rooms:
        if room.bound or room.laid or _unheard(draft, room.instance):
            continue
        _end(draft, room.instance, "nothing needs it")
    left = [(intent.service, standby_wanted(draft, intent, pool)) for intent in _resting(draft, pool)]
    for instance in list(draft.in_pool(pool.name)):
        if instance.wanted is not Wanted.STOPPED:
            continue
        counts = [gpus_needed(service, instance.offer.gpu) if wanted > 0 else None for service, wanted in left]
        if not any(counts):
            _end(draft, instance, "fewer are to stand by stopped" if up else "its services are down")
            continue
        # One Instance stands by for every Service that could use it, as when it was stopped.
        left = [
            (service, wanted - (instance.offer.gpu.count // count if count else 0))
            for (service, wanted), count in zip(left, counts, strict=True)
        ]


def _unheard(draft: Draft, instance: Instance) -> bool:
    """Whether it was adopted and its Node has not yet told what runs there."""
    ours = instance.id.startswith(f"{instance.pool}-{draft.snapshot.epoch}-")
    return not ours and instance.booted_at is None


def _resting(draft: Draft, pool: Pool) -> list[Intent]:
    """The Services that are up and have Standby stopped."""
    return [
        intent
        for intent in draft.services_of(pool.name)
        if intent.up and standby_of(pool, intent.service).tier is Tier.STOPPED
    ]


def _end(draft: Draft, instance: Instance, why: str) -> None:
    draft.put_instance(replace(draft.instances[instance.id], wanted=Wanted.TERMINATED))
    draft.say("instance", f"instance/{instance.id}", f"giving it back: {why}")


def give_back_undeclared(draft: Draft) -> None:
    """Give back what is left of a Pool that the user took out of the files, once nothing runs on it.

    Only Instances that this very store ordered: others may belong to a Pool that is yet to be declared again.
    """
    ours = f"-{draft.snapshot.epoch}-"
    for instance in list(draft.instances.values()):
        if instance.pool in draft.pools or instance.over or instance.wanted is Wanted.TERMINATED:
            continue
        if ours in instance.id and not draft.on_instance(instance.id):
            _end(draft, instance, f"pool {instance.pool} is no longer declared")


def converge(draft: Draft) -> None:
    """The Action that brings each Instance nearer to what is wanted of it, unless one is in flight."""
    for instance in draft.instances.values():
        if instance.over or draft.busy(instance.id) or _pausing(instance, draft.now):
            continue
        verb = _next_verb(instance, draft.now)
        if verb is None or (verb in (Verb.LAUNCH, Verb.START) and draft.closed(instance)):
            continue
        launch = None
        if verb is Verb.LAUNCH:
            pool = draft.pools.get(instance.pool)
            if pool is None:
                continue
            launch = LaunchSpec(
                id=instance.id,
                fleet=draft.snapshot.fleet,
                pool=pool.name,
                offer=instance.offer,
                local=pool.local,
                images=_images(draft, pool, instance),
                registry_mirrors=pool.registry_mirrors,
            )
        draft.actions.append(
            Action(
                verb=verb,
                instance=instance.id,
                provider=instance.offer.provider,
                reason=f"{instance.phase}, wanted {instance.wanted}",
                launch=launch,
            )
        )


def _images(draft: Draft, pool: Pool, instance: Instance) -> tuple[str, ...]:
    """What its Services run in, for the machine to fetch while it boots; nothing where several come together.

    Those fetch it once for all, and then from each other. A repeated launch says the same as the first.
    """
    together = (one for one in draft.ever_in_pool(pool.name) if one.created_at == instance.created_at)
    if len(list(together)) > 1:
        return ()
    services = [intent.service for intent in draft.services_of(pool.name) if intent.up]
    return tuple(sorted({pinned(service.image, draft.pins) for service in services if service.image is not None}))


def _next_verb(instance: Instance, now: float) -> Verb | None:
    phase = instance.phase
    match instance.wanted:
        case Wanted.RUNNING:
            if phase is InstancePhase.INTENDED:
                return Verb.LAUNCH
            return Verb.START if phase is InstancePhase.STOPPED else None
        case Wanted.STOPPED:
            return Verb.STOP if phase in (InstancePhase.READY, InstancePhase.BOOTING) else None
        case Wanted.TERMINATED:
            again = phase is not InstancePhase.TERMINATING or now - instance.phase_at > TERMINATE_AGAIN_S
            return Verb.TERMINATE if again else None


def _pausing(instance: Instance, now: float) -> bool:
    """Whether the last attempt failed too recently to try again."""
    return instance.failed_at is not None and too_soon(instance.failures, instance.failed_at, now)
