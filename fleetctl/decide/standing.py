"""What stands by for a Service as declared, and which sleeper can be woken: what a look needs, without a Draft."""

from collections.abc import Iterable

from fleetctl.model.replicas import Replica, ReplicaPhase, Role
from fleetctl.model.services import Pool, Service, Standby


def own_pool(service: Service) -> Pool:
    """The Pool of a Service that names none: one Replica an Instance, room for its `max` and what comes on top.

    On top come its Standby and, in a Rollout, the surge of new Replicas before the old ones leave.
    """
    standby = service.standby
    pool = Pool(name=service.pool_name, gpu=service.gpu, placement=service.placement)
    spare = pool.standby if standby is None else standby
    slots = spare.slots if spare.slots is not None else spare.steps * service.scaling.step
    return Pool(
        name=pool.name,
        gpu=pool.gpu,
        placement=pool.placement,
        standby=spare,
        max=service.scaling.max + max(slots, service.rollout.surge or service.scaling.step),
    )


def standby_of(pool: Pool, service: Service) -> Standby:
    """A Service's own Standby, or its Pool's."""
    return pool.standby if service.standby is None else service.standby


def standby_slots(standby: Standby, service: Service, wanted: int | None = None) -> int:
    """Slots that stand by for the Service where nothing else is in their way.

    `wanted` is what the Decision says where the file leaves it to it (`standby: auto`); None: it does not know yet.
    """
    if standby.auto and wanted is not None:
        return wanted
    return standby.slots if standby.slots is not None else standby.steps * service.scaling.step


def awake(replica: Replica) -> bool:
    """Whether it has its GPUs' memory for itself, may have it, or is to take it."""
    return replica.role is not Role.ASLEEP or replica.phase is not ReplicaPhase.ASLEEP


def blocked(replica: Replica, beside: Iterable[Replica]) -> bool:
    """Whether one of those on its Instance is awake on a GPU that it sleeps on."""
    gpus = set(replica.gpus)
    return any(other.id != replica.id and awake(other) and gpus.intersection(other.gpus) for other in beside)
