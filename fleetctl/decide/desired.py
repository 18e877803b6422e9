"""From rows to what Nodes and the gateway are told: the whole desired state, every time."""

import hashlib
from collections.abc import Sequence

from fleetctl.decide.draft import Draft, standby_of
from fleetctl.engines import command, engine, environment, model_source
from fleetctl.model.decisions import Action, Verb
from fleetctl.model.instances import Instance, InstancePhase, Wanted
from fleetctl.model.nodes import Artifact, NodeDesired, NodeStatus, ReplicaSpec
from fleetctl.model.replicas import Replica, ReplicaPhase, Role
from fleetctl.model.routes import Route, Routes, Upstream
from fleetctl.model.services import Service, Tier


def artifacts(service: Service) -> tuple[Artifact, ...]:
    """What a Node must hold before a Replica of the Service starts quickly."""
    found = []
    if service.image is not None:
        found.append(Artifact(kind="image", name=service.image))
    found.append(Artifact(kind="weights", name=service.model))
    return tuple(found)


def replica_spec(replica: Replica, service: Service, *, sleepable: bool) -> ReplicaSpec:
    """What a Node runs for the Replica; `sleepable`: so that it can be put to sleep now or later."""
    kind = engine(service.engine)
    sleep = kind.sleep
    return ReplicaSpec(
        id=replica.id,
        service=service.name,
        revision=replica.revision,
        engine=service.engine,
        model=service.model,
        concurrency=service.concurrency,
        command=command(kind, service, sleepable=sleepable),
        image=service.image,
        env=environment(kind, service, sleepable=sleepable),
        gpus=replica.gpus,
        asleep=replica.role is Role.ASLEEP,
        startup_timeout_s=service.startup_timeout_s,
        readiness_path=service.readiness_path or kind.readiness_path,
        sleep=sleep.enter if sleep else (),
        wake=sleep.wake if sleep else (),
    )


def node_desired(draft: Draft, instance: Instance) -> NodeDesired:
    """The whole desired state of one Instance's Node."""
    replicas = draft.on_instance(instance.id)
    held: dict[Artifact, None] = {}
    for intent in draft.services_of(instance.pool):
        if intent.up:
            held.update(dict.fromkeys(artifacts(intent.service)))
    specs = []
    for replica in replicas:
        intent_of = draft.intents.get(replica.service)
        if intent_of is not None:
            service = intent_of.service
            tier = standby_of(draft.pools[instance.pool], service).tier
            specs.append(replica_spec(replica, service, sleepable=tier is Tier.ASLEEP))
    return NodeDesired(
        generation=_generation(draft, instance, replicas),
        epoch=draft.snapshot.epoch,
        fence=draft.snapshot.fence,
        artifacts=tuple(held),
        replicas=tuple(specs),
    )


def _generation(draft: Draft, instance: Instance, replicas: Sequence[Replica]) -> str:
    """A digest of what the desired state depends on; cheaper than a digest of the state itself."""
    parts = [draft.pool_digest(instance.pool)]
    parts.extend(
        f"{replica.id} {replica.revision} {replica.gpus} {replica.role is Role.ASLEEP}" for replica in replicas
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def apply_nodes(draft: Draft) -> None:
    """An Apply for each Node that does not work on what it should."""
    for instance in draft.instances.values():
        if instance.phase is not InstancePhase.READY or instance.wanted is not Wanted.RUNNING:
            continue
        status = draft.snapshot.nodes.get(instance.id)
        if not isinstance(status, NodeStatus) or instance.address is None or instance.pool not in draft.pools:
            continue
        replicas = draft.on_instance(instance.id)
        same = (
            status.epoch == draft.snapshot.epoch
            and status.fence == draft.snapshot.fence
            and status.generation == _generation(draft, instance, replicas)
        )
        if same or f"{Verb.APPLY}/{instance.id}" in draft.snapshot.in_flight:
            continue
        draft.actions.append(
            Action(
                verb=Verb.APPLY,
                instance=instance.id,
                provider=instance.offer.provider,
                reason=f"{len(replicas)} replicas",
                address=instance.address,
                desired=node_desired(draft, instance),
            )
        )


def routes(draft: Draft) -> Routes:
    """Where the gateway may send requests, for every Service that is up or still drains."""
    found = []
    for intent in draft.intents.values():
        service = intent.service
        upstreams = tuple(
            Upstream(
                replica=replica.id,
                address=replica.address,
                slots=service.concurrency if replica.role is Role.SERVING else 0,
            )
            for replica in draft.of_service(service.name)
            if replica.phase is ReplicaPhase.READY
            and replica.address is not None
            and replica.role in (Role.SERVING, Role.DRAINING)
        )
        if not intent.up and not upstreams:
            continue
        found.append(
            Route(
                service=service.name,
                models=(model_source(service.model).name,),
                upstreams=upstreams,
                queue_timeout_s=service.queue_timeout_s,
                # A Service going down serves what it has begun and takes nothing new.
                queue_limit=10_000 if intent.up else 0,
            )
        )
    return Routes(fence=draft.snapshot.fence, epoch=draft.snapshot.epoch, routes=tuple(found))
