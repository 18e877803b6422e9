"""From rows to what Nodes and the gateway are told: the whole desired state, every time."""

import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from fleetctl.decide.caches import cache_of, holds, usable_caches
from fleetctl.decide.draft import Draft
from fleetctl.decide.feeds import Member, feeds, travels
from fleetctl.decide.images import image_feeds, unpinned
from fleetctl.decide.sleeping import level
from fleetctl.decide.standing import standby_of
from fleetctl.engines import command, engine, environment, model_source, weights
from fleetctl.engines.answers import model_listed
from fleetctl.model.decisions import Action, Verb
from fleetctl.model.images import pinned
from fleetctl.model.instances import Instance, InstancePhase, Wanted
from fleetctl.model.names import InstanceId, PoolName
from fleetctl.model.nodes import Artifact, EngineCache, Feed, NodeDesired, NodeStatus, ReplicaSpec
from fleetctl.model.replicas import Replica, ReplicaPhase, Role
from fleetctl.model.routes import Route, Routes, Upstream
from fleetctl.model.services import Service, Tier

NO_PINS: Mapping[str, str] = MappingProxyType({})
"""No image was fetched yet."""


def artifacts(service: Service, pins: Mapping[str, str]) -> tuple[Artifact, ...]:
    """What a Node must hold before a Replica of the Service starts quickly; images by their digest."""
    found = []
    if service.image is not None:
        found.append(Artifact(kind="image", name=pinned(service.image, pins)))
    found.append(Artifact(kind="weights", name=weights(engine(service.engine), service)))
    return tuple(found)


def replica_spec(
    replica: Replica,
    service: Service,
    *,
    sleepable: bool,
    level: int = 1,
    pins: Mapping[str, str] = NO_PINS,
    cache: EngineCache | None = None,
) -> ReplicaSpec:
    """What a Node runs for the Replica; `sleepable`: so that it can be put to sleep, now or later, at that level."""
    kind = engine(service.engine)
    sleep = kind.sleep.level(level) if kind.sleep is not None else None
    return ReplicaSpec(
        id=replica.id,
        service=service.name,
        revision=replica.revision,
        engine=service.engine,
        model=weights(kind, service),
        concurrency=service.concurrency,
        command=command(kind, service, sleepable=sleepable),
        image=None if service.image is None else pinned(service.image, pins),
        env=environment(kind, service, sleepable=sleepable),
        gpus=replica.gpus,
        asleep=replica.role is Role.ASLEEP,
        startup_timeout_s=service.startup_timeout_s,
        readiness_path=service.readiness_path or kind.readiness_path,
        sleep=sleep.enter if sleep else (),
        wake=sleep.wake if sleep else (),
        sleepable=sleepable and sleep is not None,
        cache=cache,
        warm_up=service.warm_up,
        lists=model_listed(kind, service),
    )


def node_desired(draft: Draft, instance: Instance) -> NodeDesired:
    """The whole desired state of one Instance's Node."""
    replicas = draft.on_instance(instance.id)
    specs = []
    for replica in replicas:
        service = draft.service_of(replica)
        if service is not None:
            tier = standby_of(draft.pools[instance.pool], service).tier
            deep = _level(draft, instance, replica, replicas) or 1
            cache = cache_of(draft, instance, service, replica.revision, replica.gpus)
            sleepable = tier is Tier.ASLEEP
            spec = replica_spec(replica, service, sleepable=sleepable, level=deep, pins=draft.pins, cache=cache)
            specs.append(spec)
    return NodeDesired(
        generation=_generation(draft, instance, replicas),
        epoch=draft.snapshot.epoch,
        fence=draft.snapshot.fence,
        artifacts=(*_held(draft, instance.pool), *_caches(draft, instance)),
        replicas=tuple(specs),
        feeds=_feeds(draft).get(instance.id, ()),
    )


def _held(draft: Draft, pool: PoolName) -> tuple[Artifact, ...]:
    """What every Node of the Pool shall hold."""
    held: dict[Artifact, None] = {}
    for intent in draft.services_of(pool):
        if intent.up:
            for name in draft.revisions_of(intent):
                held.update(dict.fromkeys(artifacts(intent.running(name) or intent.service, draft.pins)))
    return tuple(held)


def _caches(draft: Draft, instance: Instance) -> tuple[Artifact, ...]:
    """The engine caches that it holds, or can have from another Node: nobody waits for what is nowhere."""
    coming = {feed.artifact for feed in _feeds(draft).get(instance.id, ()) if feed.parents}
    usable = usable_caches(draft, instance)
    return tuple(one for one in usable if one in coming or holds(draft, instance, one))


def _feeds(draft: Draft) -> Mapping[InstanceId, tuple[Feed, ...]]:
    """Whom each Node follows for what, found once a tick."""
    if draft.feeds is None:
        wanted: dict[Artifact, list[Member]] = {}
        held: dict[PoolName, tuple[Artifact, ...]] = {}
        names: dict[Artifact, tuple[Artifact, ...]] = {}
        for instance in draft.instances.values():
            status = draft.snapshot.nodes.get(instance.id)
            if not isinstance(status, NodeStatus) or not status.peers or not _stays(instance):
                continue
            if instance.pool not in held:
                held[instance.pool] = _travelling(draft, instance.pool)
            there = {one.artifact: one for one in status.artifacts}
            for artifact in (*held[instance.pool], *usable_caches(draft, instance)):
                if artifact not in names:
                    names[artifact] = (artifact, *unpinned(artifact, draft.pins))
                wanted.setdefault(artifact, []).append(
                    Member(
                        instance=instance.id,
                        zone=_zone(instance) if artifact.kind != "cache" else _region(instance),
                        address=status.peers,
                        status=next((there[one] for one in names[artifact] if one in there), None),
                    )
                )
        coming = _coming(draft)
        found: dict[InstanceId, tuple[Feed, ...]] = {}
        for artifact, members in wanted.items():
            if artifact.kind == "image":
                pools = (pool for pool, ones in held.items() if artifact in ones)
                fed = image_feeds(artifact, members, frozenset().union(*(coming.get(pool, ()) for pool in pools)))
            elif artifact.kind == "cache":
                fed = {node: feed for node, feed in feeds(artifact, _with_a_holder(members)).items() if feed.parents}
            else:
                fed = feeds(artifact, members)
            for node, feed in fed.items():
                found[node] = (*found.get(node, ()), feed)
        draft.feeds = found
    return draft.feeds


def _travelling(draft: Draft, pool: PoolName) -> tuple[Artifact, ...]:
    """What Nodes of the Pool can give each other. An image that is begun lazily is read where it lies."""
    lazy = pool in draft.pools and draft.pools[pool].lazy is not None
    return tuple(one for one in _held(draft, pool) if travels(one) and not (lazy and one.kind == "image"))


def _coming(draft: Draft) -> Mapping[PoolName, frozenset[str]]:
    """The zones in which each Pool has Instances on their way."""
    found: dict[PoolName, set[str]] = {}
    for instance in draft.instances.values():
        if instance.wanted is Wanted.RUNNING and instance.phase in (InstancePhase.INTENDED, InstancePhase.BOOTING):
            found.setdefault(instance.pool, set()).add(_zone(instance))
    return {pool: frozenset(zones) for pool, zones in found.items()}


def _zone(instance: Instance) -> str:
    return f"{instance.offer.provider}/{instance.offer.region}/{instance.offer.zone}"


def _region(instance: Instance) -> str:
    """As far as engine caches travel: they are small, and a zone where nobody has compiled has no other origin."""
    return f"{instance.offer.provider}/{instance.offer.region}"


def _with_a_holder(members: Sequence[Member]) -> list[Member]:
    """Those that somebody of their own can give it to."""
    there = {member.zone for member in members if member.holds}
    return [member for member in members if member.zone in there]


def _stays(instance: Instance) -> bool:
    """Whether others may count on it."""
    running = instance.phase is InstancePhase.READY and instance.wanted is Wanted.RUNNING
    return running and not instance.reclaimed


def _generation(draft: Draft, instance: Instance, replicas: Sequence[Replica]) -> str:
    """A digest of what the desired state depends on; cheaper than a digest of the state itself."""
    parts = [draft.pool_digest(instance.pool)]
    parts.extend(
        f"{replica.id} {replica.revision} {replica.gpus} {_level(draft, instance, replica, replicas)}"
        for replica in replicas
    )
    for replica in replicas:
        service = draft.service_of(replica)
        cache = cache_of(draft, instance, service, replica.revision, replica.gpus) if service is not None else None
        if cache is not None:
            parts.append(f"{replica.id} {cache.artifact.name}")
    parts.extend(cache.name for cache in _caches(draft, instance))
    for feed in _feeds(draft).get(instance.id, ()):
        parents = " ".join(f"{peer.instance} {peer.address}" for peer in feed.parents)
        parts.append(f"{feed.artifact.kind} {feed.artifact.name} {parents}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _level(draft: Draft, instance: Instance, replica: Replica, replicas: Sequence[Replica]) -> int:
    """How deeply it shall sleep; 0: it shall be awake."""
    service = draft.service_of(replica) if replica.role is Role.ASLEEP else None
    return 0 if service is None else level(draft, instance, service, replicas)


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
        # In a Rollout each revision takes as many as it declares, and both names of the model find the Service.
        runs = {name: intent.running(name) or service for name in draft.revisions_of(intent)}
        models = (service.model, *(one.model for one in runs.values()))
        upstreams = tuple(
            Upstream(
                replica=replica.id,
                address=replica.address,
                slots=runs[replica.revision].concurrency if replica.role is Role.SERVING else 0,
                # Those that an engine is started with are loaded before it is ready.
                adapters=runs[replica.revision].adapters,
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
                models=tuple(dict.fromkeys(model_source(model).name for model in models)),
                upstreams=upstreams,
                queue_timeout_s=service.queue_timeout_s,
                # A Service going down serves what it has begun and takes nothing new.
                queue_limit=service.queue.limit if intent.up else 0,
                hosts=service.hosts,
                adapters=service.adapters,
                cold_timeout_s=service.queue.cold_timeout_s,
                queue_limit_bytes=service.queue.limit_bytes,
                shed=service.queue.shed,
                probe_path=service.readiness_path or engine(service.engine).readiness_path,
            )
        )
    return Routes(fence=draft.snapshot.fence, epoch=draft.snapshot.epoch, routes=tuple(found))
