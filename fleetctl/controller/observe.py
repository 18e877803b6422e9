"""Everything a tick sees of the world, gathered within a budget of time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from fleetctl.controller.latest import Latest
from fleetctl.controller.outside import OutsideWatch
from fleetctl.decide.engine_signals import wants_gpus, wants_latencies
from fleetctl.decide.standing import own_pool
from fleetctl.model.instances import Instance, InstancePhase, Listing, Offer, Wanted
from fleetctl.model.names import InstanceId, PoolName, ProviderName, ReplicaId, ServiceName
from fleetctl.model.nodes import NodeStatus
from fleetctl.model.replicas import Replica, ReplicaPhase
from fleetctl.model.services import Pool, Service
from fleetctl.model.signals import OutsideReading, QueueStats, Reading, Target, Unknown
from fleetctl.model.snapshots import Intent
from fleetctl.ports import Clock, GatewayLink, NodeLink, OutsideSource, Provider, SignalSource

BUDGET_S = 0.5
"""A tick waits this long for what it asks; a local answer takes milliseconds, a cloud's listing is waited for less than
its own time once and then read when it comes."""
LISTING_EVERY_S = {"local": 0.0, "ssh": 2.0}
LISTING_EVERY_DEFAULT_S = 10.0
"""Clouds throttle listings; ten seconds is far below their consistency windows. Machines of one's own are asked over
connections that are kept."""
LISTING_EVERY_CHANGING_S = 3.0
"""While something there is on its way up or down, so that nobody waits for the next look."""
_CHANGING = (
    InstancePhase.INTENDED,
    InstancePhase.BOOTING,
    InstancePhase.STOPPING,
    InstancePhase.TERMINATING,
)
OFFERS_EVERY_S = 300.0
NODE_STALE_S = 10.0
LISTING_STALE_S = 60.0
NODES_AT_ONCE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the controller needs of the world."""

    clock: Clock
    providers: Mapping[ProviderName, Provider]
    nodes: NodeLink
    signals: SignalSource
    gateway: GatewayLink | None = None
    outside: OutsideSource | None = None
    """None: signals from outside stay unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    listings: Mapping[ProviderName, Listing | Unknown]
    offers: Mapping[PoolName, tuple[Offer, ...]]
    nodes: Mapping[InstanceId, NodeStatus | Unknown]
    readings: Mapping[ReplicaId, Reading | Unknown]
    queues: Mapping[ServiceName, QueueStats] | Unknown | None
    outside: Mapping[ServiceName, tuple[OutsideReading, ...]]


class Observer:
    """Keeps the newest observation of every part of the world."""

    def __init__(self, ports: Ports, *, fleet: str) -> None:
        self._ports = ports
        self._fleet = fleet
        clock = ports.clock
        self._listings: dict[ProviderName, Latest[ProviderName, Listing]] = {
            name: Latest(clock, stale_s=LISTING_STALE_S, every_s=LISTING_EVERY_S.get(name, LISTING_EVERY_DEFAULT_S))
            for name in ports.providers
        }
        self._offers: Latest[tuple[Pool, ProviderName], tuple[Offer, ...]] = Latest(
            clock, stale_s=OFFERS_EVERY_S * 12, every_s=OFFERS_EVERY_S
        )
        self._nodes: Latest[InstanceId, NodeStatus] = Latest(clock, stale_s=NODE_STALE_S, at_once=NODES_AT_ONCE)
        self._queues: Latest[str, Mapping[ServiceName, QueueStats]] = Latest(clock, stale_s=NODE_STALE_S)
        self._readings: dict[ReplicaId, Reading | Unknown] = {}
        self._outside = None if ports.outside is None else OutsideWatch(clock, ports.outside)
        self._scrape: asyncio.Task[None] | None = None
        self._unreached_at: dict[ProviderName, float] = {}
        """When each Provider was last seen not to answer."""

    async def observe(
        self,
        intents: Sequence[Intent],
        pools: Sequence[Pool],
        instances: Mapping[InstanceId, Instance],
        replicas: Mapping[ReplicaId, Replica],
    ) -> Observed:
        """One look at everything, at most `BUDGET_S` long."""
        by_name = {intent.service.name: intent for intent in intents}
        targets = [
            _target(replica, _running(by_name[replica.service], replica), replica.address)
            for replica in replicas.values()
            if replica.phase is ReplicaPhase.READY and replica.address is not None and replica.service in by_name
        ]
        listings, offers, nodes, queues, readings = await asyncio.gather(
            self._list(instances),
            self._offer(intents, pools),
            self._ask_nodes(instances),
            self._ask_gateway(),
            self._read(targets),
        )
        return Observed(
            listings=listings,
            offers=offers,
            nodes=self._silent_by_themselves(instances, listings, nodes),
            readings=readings,
            queues=queues,
            outside={} if self._outside is None else self._outside.readings(intents),
        )

    def _silent_by_themselves(
        self,
        instances: Mapping[InstanceId, Instance],
        listings: Mapping[ProviderName, Listing | Unknown],
        nodes: Mapping[InstanceId, NodeStatus | Unknown],
    ) -> Mapping[InstanceId, NodeStatus | Unknown]:
        """A Node's silence counts from when its Provider answered: before, our own way out may have been broken."""
        now = self._ports.clock.now()
        for name, listing in listings.items():
            if isinstance(listing, Unknown):
                self._unreached_at[name] = now
        if not self._unreached_at:
            return nodes
        found: dict[InstanceId, NodeStatus | Unknown] = {}
        for key, node in nodes.items():
            unreached_at = self._unreached_at.get(instances[key].offer.provider, 0.0)
            if isinstance(node, Unknown) and node.since < unreached_at:
                node = replace(node, since=unreached_at)
            found[key] = node
        return found

    async def _list(self, instances: Mapping[InstanceId, Instance]) -> dict[ProviderName, Listing | Unknown]:
        changing = {row.offer.provider for row in instances.values() if row.phase in _CHANGING}

        async def one(name: ProviderName) -> Listing | Unknown:
            provider = self._ports.providers[name]
            every_s = LISTING_EVERY_S.get(name, LISTING_EVERY_DEFAULT_S)
            found = await self._listings[name].refresh(
                {name: lambda: provider.list(self._fleet)},
                budget_s=BUDGET_S,
                every_s=min(every_s, LISTING_EVERY_CHANGING_S) if name in changing else every_s,
            )
            return found[name]

        names = list(self._ports.providers)
        return dict(zip(names, await asyncio.gather(*(one(name) for name in names)), strict=True))

    async def _offer(self, intents: Sequence[Intent], pools: Sequence[Pool]) -> dict[PoolName, tuple[Offer, ...]]:
        every = {pool.name: pool for pool in pools}
        for intent in intents:
            if intent.service.pool is None:
                every.setdefault(intent.service.pool_name, own_pool(intent.service))
        sources: dict[tuple[Pool, ProviderName], Callable[[], Awaitable[tuple[Offer, ...]]]] = {}
        for pool in every.values():
            for name in pool.placement.providers or tuple(self._ports.providers):
                provider = self._ports.providers.get(name)
                if provider is not None:
                    sources[pool, name] = _offers_of(provider, pool)
        answers = await self._offers.refresh(sources, budget_s=BUDGET_S)
        found: dict[PoolName, tuple[Offer, ...]] = {}
        for (pool, _), answer in answers.items():
            if not isinstance(answer, Unknown):
                found[pool.name] = found.get(pool.name, ()) + answer
        return {name: tuple(sorted(offers, key=_price)) for name, offers in found.items()}

    async def _ask_nodes(self, instances: Mapping[InstanceId, Instance]) -> dict[InstanceId, NodeStatus | Unknown]:
        sources: dict[InstanceId, Callable[[], Awaitable[NodeStatus]]] = {
            instance.id: _status_of(self._ports, instance.address)
            for instance in instances.values()
            if instance.address is not None
            and instance.phase in (InstancePhase.BOOTING, InstancePhase.READY)
            and instance.wanted is Wanted.RUNNING
        }
        return await self._nodes.refresh(sources, budget_s=BUDGET_S)

    async def _ask_gateway(self) -> Mapping[ServiceName, QueueStats] | Unknown | None:
        gateway = self._ports.gateway
        if gateway is None:
            return None
        return (await self._queues.refresh({"gateway": gateway.stats}, budget_s=BUDGET_S))["gateway"]

    async def _read(self, targets: Sequence[Target]) -> Mapping[ReplicaId, Reading | Unknown]:
        if self._scrape is None or self._scrape.done():
            self._scrape = asyncio.create_task(self._scrape_all(targets))
            await asyncio.wait([self._scrape], timeout=BUDGET_S)
        wanted = {target.replica for target in targets}
        self._readings = {key: value for key, value in self._readings.items() if key in wanted}
        return dict(self._readings)

    async def _scrape_all(self, targets: Sequence[Target]) -> None:
        self._readings.update(await self._ports.signals.read(targets))

    async def close(self) -> None:
        for listing in self._listings.values():
            await listing.close()
        await self._offers.close()
        await self._nodes.close()
        await self._queues.close()
        if self._outside is not None:
            await self._outside.close()
        if self._scrape is not None:
            self._scrape.cancel()
            await asyncio.gather(self._scrape, return_exceptions=True)


def _running(intent: Intent, replica: Replica) -> Service:
    return intent.running(replica.revision) or intent.service


def _target(replica: Replica, service: Service, address: str) -> Target:
    gpus = wants_gpus(service)
    return Target(
        replica=replica.id,
        address=address,
        engine=service.engine,
        metrics=service.metrics,
        latencies=wants_latencies(service),
        gpus=replica.gpus if gpus else None,
        gpu_metrics_port=service.gpu_metrics.port if gpus and service.gpu_metrics is not None else None,
    )


def _offers_of(provider: Provider, pool: Pool) -> Callable[[], Awaitable[tuple[Offer, ...]]]:
    return lambda: offers_of(provider, pool)


async def offers_of(provider: Provider, pool: Pool) -> tuple[Offer, ...]:
    """What the Provider offers on every market that the Pool wants."""
    found: list[Offer] = []
    for market in pool.placement.markets:
        found += await provider.offers(replace(pool, placement=replace(pool.placement, market=market, mix=None)))
    return tuple(found)


def _status_of(ports: Ports, address: str) -> Callable[[], Awaitable[NodeStatus]]:
    async def heard() -> NodeStatus:
        status = await ports.nodes.status(address)
        return status if status.heard_at is not None else replace(status, heard_at=ports.clock.now())

    return heard


def _price(offer: Offer) -> tuple[bool, float]:
    return (offer.price_per_hour is None, offer.price_per_hour or 0.0)
