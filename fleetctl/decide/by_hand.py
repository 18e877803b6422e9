"""What users ask of single Pools, Instances and Replicas: others take the place of what is to go, and then it goes.

A Replica that serves is replaced before it drains, as far as `max` has room for both; where it has none, it drains
first, if enough others are ready. By our own hand the ready ones never fall below what is wanted, nor below `min`.
Where nothing can take its place, because the Service's own Pool is closed, it stays.
"""

from dataclasses import replace

from fleetctl.decide import placement
from fleetctl.decide.draft import Draft
from fleetctl.model.instances import Wanted
from fleetctl.model.names import PoolName
from fleetctl.model.replicas import Replica, ReplicaPhase, Role
from fleetctl.model.snapshots import Intent


def heed(draft: Draft) -> None:
    """End what is to go and serves nobody, and what is to end at once whatever it serves."""
    for replica in list(draft.replicas.values()) if draft.snapshot.orders else ():
        if draft.cut_off(replica):
            draft.remove_replica(replica)
            draft.say("warning", f"replica/{replica.id}", "stopped by hand, without a drain")
        elif not draft.leaving(replica) or replica.role is Role.DRAINING:
            continue
        elif replica.role is not Role.SERVING:
            draft.remove_replica(replica)
            draft.say("replica", f"replica/{replica.id}", "standby ended: it is to go, by hand")
        elif replica.phase is not ReplicaPhase.READY:
            placement.drain(draft, replica, "it is to go, by hand")


def moves(draft: Draft, intent: Intent) -> bool:
    """Whether some serving Replica of the Service is to go."""
    if not draft.snapshot.orders:
        return False
    return any(one.role is Role.SERVING and draft.leaving(one) for one in draft.of_service(intent.service.name))


def resize(draft: Draft, intent: Intent, desired: int, *, allowed: int | None) -> int | None:
    """Make the Service's serving Replicas `desired`, others in place of those that are to go, a step at a time.

    Arguments and result are those of `placement.resize`.
    """
    scaling = intent.service.scaling
    stays = draft.pool_closed(intent.service.pool_name)
    going, staying = _split(draft, intent)
    lacking = max(0, desired - len(going) - len(staying))
    lacking -= placement.take_back(draft, intent, intent.revision, lacking)
    going, staying = _split(draft, intent)
    there = len(going) + len(staying)
    if not stays:
        coming = sum(1 for one in staying if one.phase is not ReplicaPhase.READY)
        beyond = min(desired - len(staying), scaling.max - there, scaling.step - coming) - lacking
        lacking += max(0, beyond)
    if allowed is not None:
        lacking = min(lacking, allowed)
        allowed -= lacking
    for _ in range(lacking):
        placement.add(draft, intent, intent.revision)

    going, staying = _split(draft, intent)
    ready = sum(1 for one in staying if one.phase is ReplicaPhase.READY)
    surplus = len(going) - max(0, desired - ready)
    full = len(going) + len(staying) >= scaling.max and ready == len(staying)
    if surplus <= 0 and full and not stays and allowed != 0 and len(going) + ready > max(1, scaling.min):
        surplus = 1
    for replica in placement.least_useful(draft, going)[: max(0, surplus)]:
        placement.drain(draft, replica, "it is to go, by hand")
    for replica in placement.least_useful(draft, staying)[: max(0, len(staying) - desired)]:
        placement.drain(draft, replica, "fewer are wanted")
    return allowed


def _split(draft: Draft, intent: Intent) -> tuple[list[Replica], list[Replica]]:
    """Serving Replicas that are to go, and the others."""
    serving = [one for one in draft.of_service(intent.service.name) if one.role is Role.SERVING]
    going = [one for one in serving if draft.leaving(one)]
    return going, [one for one in serving if one not in going]


def emptied(draft: Draft) -> None:
    """Give back Instances that are to go once nothing is on them.

    Those that are only closed stay for their Services, and go with the last of them: nobody pays for what is down.
    """
    for instance in list(draft.instances.values()) if draft.snapshot.orders else ():
        if instance.over or instance.wanted is Wanted.TERMINATED or draft.on_instance(instance.id):
            continue
        if draft.emptying(instance):
            why = "it was drained by hand"
        elif draft.closed(instance) and instance.booted_at is not None and _all_down(draft, instance.pool):
            why = "its services are down"
        else:
            continue
        draft.put_instance(replace(instance, wanted=Wanted.TERMINATED))
        draft.say("instance", f"instance/{instance.id}", f"giving it back: {why}")


def _all_down(draft: Draft, pool: PoolName) -> bool:
    return pool in draft.pools and not any(intent.up for intent in draft.services_of(pool))
