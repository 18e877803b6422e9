"""What each GPU of the fleet is used for now, as rates: for the ledger of time and money."""

from collections.abc import Mapping, Sequence

from fleetctl.decide.standing import own_pool, standby_of, standby_slots
from fleetctl.model.instances import Instance, InstancePhase
from fleetctl.model.ledger import Account, Rate, Use
from fleetctl.model.names import InstanceId
from fleetctl.model.replicas import Replica, ReplicaPhase, Role
from fleetctl.model.services import Tier
from fleetctl.model.signals import Reading
from fleetctl.model.snapshots import Intent, Snapshot

_ORDER = tuple(Use)


def rates(snapshot: Snapshot) -> tuple[Rate, ...]:
    """One for each account in use, by the rows as earlier ticks left them. Deterministic."""
    on: dict[InstanceId, list[Replica]] = {}
    for replica in snapshot.replicas.values():
        if replica.instance is not None:
            on.setdefault(replica.instance, []).append(replica)
    intents: dict[str, list[Intent]] = {}
    for intent in snapshot.in_force():
        intents.setdefault(intent.service.pool_name, []).append(intent)
    spare = {pool: _spare_gpus(snapshot, found) for pool, found in intents.items()}
    sums: dict[Account, list[float]] = {}
    for instance in snapshot.instances.values():
        if not instance.billed:
            continue
        owners = intents.get(instance.pool, ())
        owner = str(owners[0].service.name) if len(owners) == 1 else ""
        used = _gpus(snapshot, on.get(instance.id, ()))
        count = instance.offer.gpu.count
        shares: dict[tuple[str, Use], float] = {}
        for service, use in used.values():
            shares[service, use] = shares.get((service, use), 0.0) + 1.0
        free = count - len(used)
        if free > 0 and instance.phase is InstancePhase.READY:
            stands = min(free, max(0, spare.get(instance.pool, 0)))
            spare[instance.pool] = spare.get(instance.pool, 0) - stands
            shares[owner, Use.STANDBY] = shares.get((owner, Use.STANDBY), 0.0) + stands
            shares[owner, Use.IDLE] = shares.get((owner, Use.IDLE), 0.0) + free - stands
        elif free > 0:
            boots = instance.phase in (InstancePhase.INTENDED, InstancePhase.BOOTING)
            key = (owner, Use.STARTING if boots else Use.IDLE)
            shares[key] = shares.get(key, 0.0) + free
        _add(sums, instance, shares)
    return tuple(
        Rate(account=account, gpus=gpus, dollars_per_hour=dollars, unpriced_gpus=unpriced)
        for account, (gpus, dollars, unpriced) in sums.items()
    )


def _add(sums: dict[Account, list[float]], instance: Instance, shares: Mapping[tuple[str, Use], float]) -> None:
    offer = instance.offer
    for (service, use), gpus in shares.items():
        if gpus <= 0:
            continue
        account = Account(
            service=service, pool=instance.pool, provider=offer.provider, market=offer.market.value, use=use
        )
        total = sums.setdefault(account, [0.0, 0.0, 0.0])
        total[0] += gpus
        if offer.price_per_hour is None:
            total[2] += gpus
        else:
            total[1] += offer.price_per_hour * gpus / offer.gpu.count


def _gpus(snapshot: Snapshot, replicas: Sequence[Replica]) -> dict[int, tuple[str, Use]]:
    """By GPU of one Instance: whose it is, and what for. Of several engines on it, the one that is awake counts."""
    found: dict[int, tuple[str, Use]] = {}
    for replica in replicas:
        mine = (str(replica.service), _use(snapshot, replica))
        for gpu in replica.gpus:
            other = found.get(gpu)
            if other is None or (_ORDER.index(mine[1]), mine[0]) < (_ORDER.index(other[1]), other[0]):
                found[gpu] = mine
    return found


def _use(snapshot: Snapshot, replica: Replica) -> Use:
    if replica.phase is ReplicaPhase.ASLEEP:
        return Use.STANDBY
    if replica.phase is not ReplicaPhase.READY:
        return Use.STARTING
    if replica.role in (Role.HOT, Role.ASLEEP):
        return Use.STANDBY
    reading = snapshot.readings.get(replica.id)
    return Use.IDLE if isinstance(reading, Reading) and reading.total == 0 else Use.SERVING


def _spare_gpus(snapshot: Snapshot, intents: Sequence[Intent]) -> int:
    """GPUs without an engine that are to stand by in the Pool of these Services: shared ones count once."""
    own = shared = 0
    pools = {pool.name: pool for pool in snapshot.pools}
    for intent in intents:
        service = intent.service
        standby = standby_of(pools.get(service.pool_name) or own_pool(service), service)
        if not intent.up or standby.tier is not Tier.WARM:
            continue
        memory = snapshot.memories.get(service.name)
        slots = standby_slots(standby, service, None if memory is None else memory.standby)
        if service.standby is not None:
            own += slots * service.gpu[0].count
        else:
            shared = max(shared, slots * service.gpu[0].count)
    return own + shared
