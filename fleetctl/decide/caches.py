"""Which engine caches each Node shall hold: those that its Services' engines can use there, once some Node has them."""

from collections.abc import Sequence

from fleetctl.decide.draft import Draft
from fleetctl.decide.engine_cache import engine_cache
from fleetctl.decide.standing import standby_of
from fleetctl.model.instances import Instance
from fleetctl.model.nodes import Artifact, ArtifactState, EngineCache, NodeStatus
from fleetctl.model.services import Service, Tier, same_product


def cache_of(
    draft: Draft, instance: Instance, service: Service, revision: str, gpus: Sequence[int]
) -> EngineCache | None:
    """What an engine of the Service can keep and use on these GPUs of the Instance; found once for all alike."""
    status = draft.snapshot.nodes.get(instance.id)
    if not isinstance(status, NodeStatus) or not status.instructions:
        return None
    sleepable = standby_of(draft.pools[instance.pool], service).tier is Tier.ASLEEP
    there = (status.gpus, status.gpus_listed, status.driver, status.cuda, status.instructions, status.engines)
    what = (service.name, revision, sleepable, tuple(gpus), there)
    if what not in draft.engine_caches:
        draft.engine_caches[what] = engine_cache(service, status, gpus, sleepable=sleepable, pins=draft.pins)
    return draft.engine_caches[what]


def usable_caches(draft: Draft, instance: Instance) -> tuple[Artifact, ...]:
    """Those that engines of the Pool's Services could use there, whether anybody has them or not."""
    known = draft.usable_caches.get(instance.id)
    if known is None:
        known = draft.usable_caches[instance.id] = tuple(_usable(draft, instance))
    return known


def _usable(draft: Draft, instance: Instance) -> dict[Artifact, None]:
    found: dict[Artifact, None] = {}
    status = draft.snapshot.nodes.get(instance.id)
    if not isinstance(status, NodeStatus) or not status.instructions:
        return found
    for intent in draft.services_of(instance.pool):
        for revision in draft.revisions_of(intent) if intent.up else ():
            service = intent.running(revision) or intent.service
            count = _gpus(service, instance)
            cache = cache_of(draft, instance, service, revision, range(count)) if count else None
            if cache is not None:
                found[cache.artifact] = None
    return found


def holds(draft: Draft, instance: Instance, artifact: Artifact) -> bool:
    """Whether the Node has reported it there."""
    status = draft.snapshot.nodes.get(instance.id)
    return isinstance(status, NodeStatus) and any(
        one.artifact == artifact and one.state is ArtifactState.PRESENT for one in status.artifacts
    )


def _gpus(service: Service, instance: Instance) -> int:
    """How many of the Instance's GPUs a Replica takes; 0: it does not run there."""
    offered = instance.offer.gpu
    wanted = next((one for one in service.gpu if same_product(one.name, offered.name)), None)
    return wanted.count if wanted is not None and wanted.count <= offered.count else 0
