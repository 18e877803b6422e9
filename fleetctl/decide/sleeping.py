"""Engines asleep: how deeply they sleep, and which of them may lie on one GPU.

An engine that sleeps has left its GPUs' memory, so that several can lie on the same GPUs (a Pool's `standby: {share:
true}`), as long as one of them at most is awake. To get there each is loaded first, and is awake meanwhile. Those of
one Service never lie on the same GPU: they could not serve at once.
"""

from collections.abc import Iterable, Mapping, Sequence

from fleetctl.decide.cold_start import gigabytes
from fleetctl.decide.draft import Draft
from fleetctl.decide.standing import awake, blocked, standby_of
from fleetctl.engines import engine, weights
from fleetctl.model.instances import Instance
from fleetctl.model.names import InstanceId, ServiceName
from fleetctl.model.nodes import Artifact, NodeStatus
from fleetctl.model.replicas import Replica, Role
from fleetctl.model.services import Pool, Service, Tier

MEMORY_SHARE = 0.8
"""Of a host's memory, for the weights of engines asleep. The rest is the engines' own processes, a few GB each, and the
page cache that the next start reads its weights through."""
SLEEPERS_MAX = 8
"""Engines asleep on one GPU. Each keeps its context and captured graphs there, half a GB to two (vLLM blog,
2025-10-26: sleep frees nine tenths); eight leave most of a large GPU to the one that is awake."""


def weights_bytes(service: Service, status: NodeStatus | None) -> float:
    """Of the Service's weights: as the Node has measured them, else by the model's name."""
    kind = engine(service.engine)
    if kind.weights == "none":
        return 0.0
    if status is not None:
        held = Artifact(kind="weights", name=weights(kind, service))
        for artifact in status.artifacts:
            if artifact.artifact == held and artifact.bytes_total is not None:
                return float(artifact.bytes_total)
    return gigabytes(service) * 1e9


def memory_holds(draft: Draft, instance: Instance, services: Iterable[Service]) -> bool:
    """Whether the host's memory holds the weights of them all; where it is not known: yes."""
    status = draft.snapshot.nodes.get(instance.id)
    if not isinstance(status, NodeStatus) or status.memory_bytes is None:
        return True
    return sum(weights_bytes(service, status) for service in services) <= MEMORY_SHARE * status.memory_bytes


def level(draft: Draft, instance: Instance, service: Service, replicas: Sequence[Replica]) -> int:
    """How deeply the Service's Replicas sleep on this Instance, which has `replicas`.

    What the file says; else level 1 where the host's memory holds the weights of all that sleep there, and 2 where not.
    Those that sleep already stay as they are: the Node wakes each by the way that it was put to sleep.
    """
    sleep = engine(service.engine).sleep
    if sleep is None or sleep.dropping is None:
        return 1
    said = standby_of(draft.pools[instance.pool], service).sleep_level
    if said is not None:
        return said
    asleep = [draft.service_of(one) for one in replicas if one.role is Role.ASLEEP]
    return 1 if memory_holds(draft, instance, [one for one in asleep if one is not None]) else 2


def shares(pool: Pool, service: Service) -> bool:
    """Whether the Service's Replicas asleep may lie on GPUs with those of others."""
    return pool.standby.share and standby_of(pool, service).tier is Tier.ASLEEP


def on_blocked_gpu(draft: Draft, replica: Replica) -> bool:
    """The same, where it is."""
    return replica.instance is not None and blocked(replica, draft.on_instance(replica.instance))


Beds = Mapping[int, frozenset[ServiceName]]
"""By GPU: the Services whose engines sleep there. A GPU where one is awake is not among them."""


def beds(draft: Draft, instance: InstanceId, count: int, *, now: bool) -> dict[int, frozenset[ServiceName]]:
    """Of the Instance's `count` GPUs those on which engines only sleep, and empty ones.

    With `now` they are asleep; without, some may still be loading in order to sleep.
    """
    found = dict.fromkeys(range(count), frozenset[ServiceName]())
    for replica in draft.on_instance(instance):
        up = awake(replica) if now else replica.role is not Role.ASLEEP
        for gpu in replica.gpus:
            if up:
                found.pop(gpu, None)
            elif gpu in found:
                found[gpu] |= {replica.service}
    return found


def fitting(those: Beds, service: Service) -> list[int]:
    """The GPUs, sorted, on which one more of the Service may sleep."""
    return sorted(gpu for gpu, whose in those.items() if service.name not in whose and len(whose) < SLEEPERS_MAX)


def room_for(draft: Draft, instance: Instance, those: Beds, service: Service) -> bool:
    """Whether the host's memory holds its weights too, where it cannot drop them. One that sleeps alone always fits."""
    names = {name for whose in those.values() for name in whose}
    sleep = engine(service.engine).sleep
    drops = sleep is not None and sleep.dropping is not None
    if not names or (drops and standby_of(draft.pools[instance.pool], service).sleep_level != 1):
        return True
    others = [draft.intents[name].service for name in sorted(names) if name in draft.intents]
    return memory_holds(draft, instance, [*others, service])
