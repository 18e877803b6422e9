"""Standby as it stands: the Slots that could serve a Service at their tier's speed, now."""

from fleetctl.decide.draft import Draft
from fleetctl.decide.placement import free_gpus, gpus_needed
from fleetctl.decide.sleeping import on_blocked_gpu
from fleetctl.decide.standing import standby_of
from fleetctl.model.instances import InstancePhase, Wanted
from fleetctl.model.replicas import ReplicaPhase, Role
from fleetctl.model.services import Tier
from fleetctl.model.snapshots import Intent


def standby_ready(draft: Draft, intent: Intent, *, hinted: bool = True) -> int:
    """Slots on standby that the Service could take. Those of a shared Pool count for each of its Services.

    `hinted`: those on Instances that their cloud may take back count too.
    """
    service = intent.service
    pool = draft.pools[service.pool_name]
    tier = standby_of(pool, service).tier
    if tier in (Tier.HOT, Tier.ASLEEP):
        role, phase = (Role.HOT, ReplicaPhase.READY) if tier is Tier.HOT else (Role.ASLEEP, ReplicaPhase.ASLEEP)
        return sum(
            1
            for one in draft.of_service(service.name)
            if one.role is role
            and one.phase is phase
            and (hinted or not draft.hinted(one))
            and not on_blocked_gpu(draft, one)
        )
    wanted, stage = (
        (Wanted.STOPPED, InstancePhase.STOPPED) if tier is Tier.STOPPED else (Wanted.RUNNING, InstancePhase.READY)
    )
    found = 0
    for instance in draft.in_pool(pool.name):
        if instance.reclaimed or (instance.hinted and not hinted):
            continue
        count = gpus_needed(service, instance.offer.gpu)
        if count and instance.wanted is wanted and instance.phase is stage:
            found += len(free_gpus(draft, instance)) // count
    return found
