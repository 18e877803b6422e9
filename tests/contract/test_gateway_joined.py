"""A gateway that has joined: it follows what it is granted, says so, and stops when it cannot."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from fleetctl.errors import AgentFailure, Conflict, StoreFailure
from fleetctl.gateway.joined import Joined, Place
from fleetctl.model.gateways import GatewayBeat, GatewayGrant, GatewayOrders
from fleetctl.model.keys import EntryReport
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Identity, Route, Routes, Upstream
from fleetctl.model.signals import QueueStats, Starved
from fleetctl.store import SqlStore, open_store
from fleetctl.store.fleet_links import StoreFleetLink

R = ReplicaId("r")
ROUTES = Routes(
    fence=1,
    epoch="e",
    routes=(
        Route(service=ServiceName("chat"), models=(), upstreams=(Upstream(replica=R, address="10.0.0.9:80", slots=4),)),
    ),
)
PLACE = Place(name="b", incarnation="here/1/1.00", address="127.0.0.1:80", host="here")


class Gateway:
    """A data plane that keeps what it is told; it can end and be started anew."""

    def __init__(self) -> None:
        self.away = False
        self.missed = 0
        """Times that it did not answer."""
        self.routes: Routes | None = None
        self.identity: Identity | None = None

    @property
    def slots(self) -> int | None:
        return None if self.routes is None else self.routes.routes[0].upstreams[0].slots

    async def route(self, routes: Routes) -> None:
        self._answer()
        self.routes = routes

    async def identify(self, identity: Identity) -> None:
        self._answer()
        self.identity = identity

    async def entry(self) -> EntryReport:
        self._answer()
        return EntryReport(gateway="g")

    async def stats(self) -> Mapping[ServiceName, QueueStats]:
        self._answer()
        return {}

    async def starved(self, after: int) -> Starved:
        return Starved(count=after)

    async def close(self) -> None: ...

    def _answer(self) -> None:
        if self.away:
            self.missed += 1
            raise AgentFailure("the gateway does not answer")


class Cable:
    """The way to the store, which can be cut: then nothing arrives, or nothing is even answered."""

    def __init__(self, store: SqlStore) -> None:
        self._link = StoreFleetLink(store)
        self.cut = False
        self.hangs = False

    async def join(self, beat: GatewayBeat) -> None:
        await self._way()
        await self._link.join(beat)

    async def beat(self, beat: GatewayBeat) -> bool:
        await self._way()
        return await self._link.beat(beat)

    async def orders(self, name: str, incarnation: str, *, routes_number: int, identity_number: int) -> GatewayOrders:
        await self._way()
        return await self._link.orders(name, incarnation, routes_number=routes_number, identity_number=identity_number)

    async def leave(self, incarnation: str) -> None:
        await self._way()
        await self._link.leave(incarnation)

    async def close(self) -> None: ...

    async def _way(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.cut:
            raise StoreFailure("the store cannot be reached")


class World:
    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.gateway = Gateway()
        self.cable = Cable(store)
        self.now_s = 100.0
        self.joined = Joined(self.cable, self.gateway, PLACE, fenced_s=45.0, now=lambda: self.now_s)
        lease = store.acquire("tests", ttl_s=1e9, now=0.0)
        assert lease is not None
        self.fence = lease.fence

    def grant(self, number: int, slots: int) -> None:
        given = GatewayGrant(name="b", incarnation=PLACE.incarnation, number=number, slots={R: slots}, held={R: slots})
        self.store.put_grants([given], over={}, routes=ROUTES, fence=self.fence)

    @property
    def follows(self) -> int:
        beats, _ = self.store.gateways()
        return beats[0].follows if beats else -1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.joined.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with closing(open_store(str(tmp_path / "fleet.db"))) as store:
        yield World(store)


async def becomes(look: Callable[[], bool], what: str) -> None:
    for _ in range(2000):
        if look():
            return
        await asyncio.sleep(0.02)
    pytest.fail(what)


async def test_it_follows_its_grant_and_says_so(world: World) -> None:
    async with world.running():
        await becomes(lambda: world.follows == 0, "it joins")
        world.grant(1, 3)
        await becomes(lambda: world.gateway.slots == 3, "it follows")
        await becomes(lambda: world.follows == 1, "it says so")
        world.grant(2, 1)
        await becomes(lambda: world.gateway.slots == 1 and world.follows == 2, "it follows the next")


async def test_it_learns_who_may_enter(world: World) -> None:
    world.store.put_gateway_identity(Identity(required=False), fence=world.fence)
    async with world.running():
        await becomes(lambda: world.gateway.identity == Identity(required=False), "it is told")


@pytest.mark.parametrize("lever", ["cut", "hangs"])
async def test_it_stops_when_it_cannot_say_that_it_lives(world: World, lever: str) -> None:
    async with world.running():
        await becomes(lambda: world.follows == 0, "it joins")
        world.grant(1, 3)
        await becomes(lambda: world.gateway.slots == 3, "it follows")
        setattr(world.cable, lever, True)
        world.now_s += 44.0
        await asyncio.sleep(0.5)
        held = world.gateway.slots
        world.now_s += 1.0
        await becomes(lambda: world.gateway.slots == 0, "it stops")

    assert held == 3, "and not before"


async def test_it_goes_on_when_it_is_heard_again(world: World) -> None:
    async with world.running():
        await becomes(lambda: world.follows == 0, "it joins")
        world.grant(1, 3)
        await becomes(lambda: world.follows == 1, "it follows")
        world.cable.cut = True
        world.now_s += 50.0
        await becomes(lambda: world.gateway.slots == 0, "it stops")
        world.cable.cut = False
        await becomes(lambda: world.gateway.slots == 3 and world.follows == 1, "its grant is there still")


async def test_it_joins_again_when_its_slots_were_taken_back(world: World) -> None:
    async with world.running():
        await becomes(lambda: world.follows == 0, "it joins")
        world.grant(1, 3)
        await becomes(lambda: world.follows == 1, "it follows")
        number = world.store.gateways()[0][0].number
        world.store.put_grants([], over={PLACE.incarnation: number + 9}, routes=None, fence=world.fence)
        await becomes(lambda: world.gateway.slots == 0, "it stops")
        await becomes(lambda: world.follows == 0, "it is there again, and follows nothing")


async def test_it_ends_when_another_takes_its_name(world: World) -> None:
    async with world.running() as task:
        await becomes(lambda: world.follows == 0, "it joins")
        world.grant(1, 3)
        await becomes(lambda: world.gateway.slots == 3, "it follows")
        world.store.join_gateway(
            GatewayBeat(name="b", incarnation="there/2/2.00", address="", host="there", version="1", number=1)
        )
        with pytest.raises(Conflict, match="there/2"):
            await asyncio.wait_for(task, 30.0)

    assert world.gateway.slots == 0


async def test_a_data_plane_that_was_started_anew_is_told_everything(world: World) -> None:
    world.store.put_gateway_identity(Identity(required=False), fence=world.fence)
    async with world.running():
        await becomes(lambda: world.follows == 0, "it joins")
        world.grant(1, 3)
        await becomes(lambda: world.gateway.slots == 3, "it follows")
        world.gateway.away = True

        def missed() -> bool:
            world.now_s += 0.5  # again and again: between two beats it may have looked at the clock just before
            return world.gateway.missed > 0

        await becomes(missed, "it is found away")
        world.gateway.routes = world.gateway.identity = None
        world.gateway.away = False
        await becomes(lambda: world.gateway.slots == 3 and world.gateway.identity is not None, "it is told")


async def test_what_leaves_says_so_and_is_gone(world: World) -> None:
    async with world.running():
        await becomes(lambda: world.follows == 0, "it joins")
        world.joined.leave()
        await becomes(lambda: world.store.gateways()[0][0].leaving, "it says so")
    await world.joined.end()

    assert world.store.gateways() == ((), ())


async def test_a_data_plane_that_did_not_hear_that_it_must_stop_hears_it_when_it_is_back(world: World) -> None:
    async with world.running():
        await becomes(lambda: world.follows == 0, "it joins")
        world.grant(1, 3)
        await becomes(lambda: world.gateway.slots == 3, "it follows")
        world.cable.cut = world.gateway.away = True
        world.now_s += 50.0
        await becomes(lambda: world.gateway.missed >= 2, "it is told in vain")
        held = world.gateway.slots
        world.gateway.away = False
        await becomes(lambda: world.gateway.slots == 0, "it stops, though nothing is heard of the store")

    assert held == 3
