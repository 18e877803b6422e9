"""The controller's own gateway and those that joined, as one: alone nothing changes; together they share the slots."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fleetctl.controller.fronts import Fronts
from fleetctl.errors import AgentFailure
from fleetctl.model.gateways import GatewayBeat
from fleetctl.model.keys import EntryReport
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Identity, Route, Routes, TenantUse, Upstream
from fleetctl.model.signals import QueueStats, Starved
from fleetctl.store import SqlStore, open_store

CHAT = ServiceName("chat")
SILENT_S = 20.0


class Gateway:
    """The controller's own: it keeps its routes, has as many requests as it is told, and can be away."""

    def __init__(self) -> None:
        self.away = False
        self.routes: Routes | None = None
        self.identity: Identity | None = None
        self.queued = 0
        self.running: dict[str, int] = {}

    @property
    def slots(self) -> dict[str, int]:
        assert self.routes is not None
        return {str(one.replica): one.slots for route in self.routes.routes for one in route.upstreams}

    async def route(self, routes: Routes) -> None:
        self._answer()
        self.routes = routes

    async def identify(self, identity: Identity) -> None:
        self.identity = identity

    async def entry(self) -> EntryReport:
        return EntryReport(gateway="own")

    async def stats(self) -> Mapping[ServiceName, QueueStats]:
        self._answer()
        return {CHAT: stats(self.queued, self.running)}

    async def starved(self, after: int) -> Starved:
        return Starved(count=after)

    async def close(self) -> None: ...

    def _answer(self) -> None:
        if self.away:
            raise AgentFailure("the gateway does not answer")


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds


def stats(queued: int, running: Mapping[str, int]) -> QueueStats:
    return QueueStats(
        at=0.0,
        service=CHAT,
        queued=queued,
        oldest_wait_s=0.0,
        in_flight=tuple((ReplicaId(name), count) for name, count in running.items()),
        arrived=queued + sum(running.values()),
        completed=0,
        failed=0,
    )


def routes(fence: int, **replicas: str) -> Routes:
    """Replicas by name, each with its address and four slots."""
    upstreams = tuple(Upstream(replica=ReplicaId(name), address=at, slots=4) for name, at in replicas.items())
    return Routes(fence=fence, epoch="e", routes=(Route(service=CHAT, models=(), upstreams=upstreams),))


class World:
    """A controller that ticks, and gateways that have joined."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.clock = Hand()
        self.gateway = Gateway()
        lease = store.acquire("tests", ttl_s=1e9, now=0.0)
        assert lease is not None
        self.fence = lease.fence
        self.replicas = {"r": "10.0.0.9:80"}
        self.restart()
        self.others: dict[str, GatewayBeat] = {}

    def restart(self) -> None:
        self.fronts = Fronts(self.store, self.gateway, self.clock, host="here", silent_s=SILENT_S)

    def join(self, name: str, *, host: str = "there") -> None:
        self.others[name] = GatewayBeat(
            name=name, incarnation=f"{name}/1", address=f"{name}:80", host=host, version="1", number=1
        )
        self.store.join_gateway(self.others[name])

    def say(self, name: str, *, queued: int = 0, running: Mapping[str, int] | None = None) -> None:
        """It follows what it is granted, and says so."""
        beat = self.others[name]
        grant = self.store.gateway_orders(name, beat.incarnation).grant
        self.others[name] = beat = replace(
            beat,
            number=beat.number + 1,
            follows=grant.number if grant is not None else 0,
            queues=(stats(queued, running or {}),),
        )
        assert self.store.beat_gateway(beat)

    def slots(self, name: str) -> dict[str, int]:
        grant = self.store.gateway_orders(name, self.others[name].incarnation).grant
        return {} if grant is None else {str(replica): count for replica, count in grant.slots.items()}

    async def tick(self, seconds: float = 1.0) -> Mapping[ServiceName, QueueStats] | None:
        self.clock.at += seconds
        try:
            found = await self.fronts.stats()
        except AgentFailure:
            found = None
        try:
            await self.fronts.route(routes(self.fence, **self.replicas))
        except AgentFailure:
            assert self.gateway.away
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with closing(open_store(str(tmp_path / "fleet.db"))) as store:
        yield World(store)


async def test_alone_it_has_every_slot_and_nothing_is_stored(world: World) -> None:
    found = await world.tick()

    assert world.gateway.slots == {"r": 4}
    assert found == {CHAT: stats(0, {})}
    assert not world.fronts.several
    assert world.store.gateways() == ((), ())


async def test_who_joins_gets_slots_when_they_are_given_up_and_not_before(world: World) -> None:
    await world.tick()
    world.gateway.running = {"r": 4}
    await world.tick()
    world.join("b")

    await world.tick()
    taken = (world.gateway.slots, world.slots("b"))
    world.say("b")
    await world.tick()
    running_still = world.slots("b")
    world.gateway.running = {"r": 2}
    world.say("b", queued=2)
    await world.tick()
    world.say("b", queued=2)
    await world.tick()

    assert taken == ({"r": 3}, {}) or taken == ({"r": 4}, {})
    assert running_still == {}
    assert world.slots("b") == {"r": 2}
    assert world.gateway.slots == {"r": 2}
    assert [event.message for event in world.store.events()] == ["gateway b:80 on there has joined"]


async def test_queues_are_told_as_one(world: World) -> None:
    world.gateway.queued = 3
    await world.tick()
    world.join("b")
    await world.tick()
    world.say("b", queued=5, running={"r": 1})

    found = await world.tick()

    assert found is not None
    assert (found[CHAT].queued, found[CHAT].in_flight) == (8, ((ReplicaId("r"), 1),))
    assert found[CHAT].arrived == 3 + 6


async def test_what_a_silent_one_had_comes_back_after_the_named_time(world: World) -> None:
    await world.tick()
    world.join("b")
    for _ in range(4):
        await world.tick()
        world.say("b", queued=4)
    await world.tick()
    assert world.slots("b")

    await world.tick(SILENT_S - 1.0)
    before = world.gateway.slots
    await world.tick(2.0)
    await world.tick()

    assert before["r"] < 4
    assert world.gateway.slots == {"r": 4}
    assert not world.fronts.several
    assert world.store.gateways() == ((), ())
    assert "slots were taken back" in world.store.events()[-1].message


async def test_a_controller_that_begins_anew_knows_what_was_granted(world: World) -> None:
    await world.tick()
    world.join("b")
    for _ in range(4):
        await world.tick()
        world.say("b", queued=9)
    had = world.slots("b")["r"]

    world.restart()
    for _ in range(3):
        await world.tick()

    assert had >= 3
    assert world.slots("b")["r"] == had
    assert world.gateway.slots["r"] == 4 - had


async def test_the_others_go_on_while_its_own_is_away(world: World) -> None:
    await world.tick()
    world.join("b")
    for _ in range(3):
        await world.tick()
        world.say("b", queued=9)
    world.gateway.away = True

    for _ in range(30):
        found = await world.tick()
        world.say("b", queued=9)

    assert found is not None
    assert found[CHAT].queued == 9
    assert world.slots("b") == {"r": 4}, "after the named time nobody else may be using any"
    world.gateway.away = False
    await world.tick()
    assert world.gateway.slots == {"r": 0}, "it follows nothing older"


async def test_replicas_behind_tunnels_are_for_gateways_here(world: World) -> None:
    world.replicas = {"far": "10.0.0.9:80", "near": "127.0.0.1:4001"}
    await world.tick()
    world.join("b", host="there")
    world.join("c", host="here")
    for _ in range(5):
        await world.tick()
        world.say("b", queued=9)
        world.say("c", queued=9)

    assert set(world.slots("b")) == {"far"}
    assert set(world.slots("c")) == {"far", "near"}
    told = [event.message for event in world.store.events(subject="gateway/b") if event.kind == "warning"]
    assert len(told) == 1
    assert "no way to 1 replicas" in told[0]


async def test_who_may_enter_and_who_did_goes_both_ways(world: World) -> None:
    identity = Identity(required=False)
    await world.tick()
    await world.fronts.identify(identity)
    world.join("b")
    await world.tick()
    report = EntryReport(gateway="b/1", uses=(TenantUse(tenant="t", month="2026-11", tokens=7),))
    world.others["b"] = replace(world.others["b"], entry=report)
    world.say("b")
    await world.tick()
    await world.fronts.keep_reports(world.fence)

    assert world.gateway.identity == identity
    assert world.store.gateway_orders("b", "b/1").identity == identity
    assert world.store.tokens_used("2026-11") == {"t": 7}


async def test_requests_that_meet_no_replica_elsewhere_are_told_once(world: World) -> None:
    await world.tick()
    world.join("b")
    await world.tick()
    world.others["b"] = replace(world.others["b"], starved=Starved(count=1, services=(CHAT,)))
    world.say("b")

    assert await world.fronts.starved_elsewhere() == (CHAT,)
    assert await world.fronts.starved_elsewhere() == ()
