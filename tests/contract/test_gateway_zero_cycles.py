"""Thousands of times from zero replicas to one and back, with requests at every moment of it: none is lost."""

import asyncio
import contextlib
import dataclasses
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from gateway_world import (
    WITHIN_S,
    AsProcess,
    Client,
    Gateway,
    client,
    eventually,
    gateway_process,
    in_process,
    routed,
    routes,
    service,
    until_stats,
)

from fleetctl.gateway.link import UnixGatewayLink
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Upstream
from fleetctl.model.signals import QueueStats
from fleetctl.rehearsal.api import Api
from fleetctl.rehearsal.engine import Engine
from fleetctl.rehearsal.options import read_options

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CYCLES = 3_000
CYCLES_AS_PROCESS = 500
"""Each change of routes then crosses a socket, as a controller's does."""
CLIENTS = 48
"""Connections that ask, each one request at a time: the most that are held at zero."""
UP_S = 0.002
"""A replica serves at most this long before it is drained or taken away."""
MOMENTS = ("at zero", "as it comes", "while it serves", "while it drains", "as it goes")


class Replica:
    """A rehearsal engine in accelerated time. It listens only while it is there."""

    def __init__(self, engine: Engine, runner: web.AppRunner, port: int) -> None:
        self.engine, self.runner, self.port = engine, runner, port
        self.site: web.TCPSite | None = None

    async def come(self) -> None:
        self.site = web.TCPSite(self.runner, "127.0.0.1", self.port, reuse_address=True, backlog=CLIENTS)
        await self.site.start()
        self.port = self.runner.addresses[0][1]

    async def go(self) -> None:
        assert self.site is not None
        await self.site.stop()

    @property
    def running(self) -> int:
        return self.engine.load.running + self.engine.load.waiting


@asynccontextmanager
async def replica() -> AsyncIterator[Replica]:
    options = read_options(["--model", "tiny", "--speed", "2000", "--concurrency", "8"])
    engine = Engine(options.pace, wake_s=options.wake_s)
    engine.loaded()
    runner = web.AppRunner(
        Api(engine, options).application(), access_log=None, handler_cancellation=True, shutdown_timeout=1
    )
    await runner.setup()
    driver = asyncio.create_task(engine.run())
    try:
        yield Replica(engine, runner, 0)
    finally:
        driver.cancel()
        await runner.cleanup()


class World:
    """What is asked and what came of it, and the controller that lets the replica come and go."""

    def __init__(self, gateway: Gateway, one: Replica, seed: int) -> None:
        self.gateway, self.one = gateway, one
        self.draw = random.Random(seed)
        self.name = service()
        self.idle: list[Client] = []
        self.asking: set[asyncio.Task[None]] = set()
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.lost: list[str] = []
        self.drained_in_use = 0
        """A replica still had requests when it was to take no more."""
        self.held_at_zero = 0

    def ask(self, moment: str) -> None:
        """Some requests, none to two, begun now, as long as there are clients that do not wait already."""
        for _ in range(min(self.draw.choice((0, 0, 1, 1, 2)), len(self.idle))):
            asking = self.idle.pop()
            self.asked[moment] += 1
            stream, tokens = self.draw.random() < 0.5, self.draw.randrange(1, 12)
            task = asyncio.create_task(self._one(asking, moment, stream=stream, tokens=tokens))
            self.asking.add(task)
            task.add_done_callback(self.asking.discard)

    async def _one(self, asking: Client, moment: str, *, stream: bool, tokens: int) -> None:
        wants = b'{"prompt": "count", "max_tokens": %d, "stream": %b}' % (tokens, b"true" if stream else b"false")
        asking.post(wants, "/v1/completions")
        try:
            answered = await asking.answer()
        except (TimeoutError, OSError, EOFError) as error:
            self.lost.append(f"{moment}: {error!r}")
            return
        whole = answered.status == 200 and answered.whole
        if stream:
            whole = whole and answered.body.count(b"data: ") == tokens + 1
            whole = whole and answered.body.endswith(b"data: [DONE]\n\n")
        else:
            whole = whole and b'"completion_tokens":%d,' % tokens in answered.body
        if whole:
            self.answered[moment] += 1
        else:
            self.lost.append(f"{moment}: {answered}")
        self.idle.append(asking)

    async def route(self, number: int, slots: int | None) -> None:
        """Slots of the replica of this cycle; None: there is no replica."""
        listed = Upstream(replica=ReplicaId(f"r{number}"), address=f"127.0.0.1:{self.one.port}", slots=slots or 0)
        route = dataclasses.replace(routed(str(self.name)), upstreams=() if slots is None else (listed,))
        await self.gateway.route(routes(route))

    async def stats(self) -> QueueStats:
        return (await self.gateway.stats())[ServiceName(self.name)]

    async def in_flight(self, number: int) -> int:
        return dict((await self.stats()).in_flight).get(ReplicaId(f"r{number}"), 0)

    async def cycle(self, number: int) -> None:
        draw = self.draw
        self.ask("at zero")
        await self._moment(draw.random() < 0.5)
        await self.one.come()
        self.ask("as it comes")
        self.held_at_zero += (await self.stats()).queued > 0
        await self.route(number, draw.randrange(1, 8))
        self.ask("while it serves")
        await asyncio.sleep(draw.random() * UP_S)
        self.ask("while it serves")
        if draw.random() < 0.2:  # until it has nothing to do
            await asyncio.wait_for(asyncio.gather(*self.asking), WITHIN_S)
        await self._leave(number, drained=draw.random() < 0.75)
        self.ask("as it goes")

    async def _leave(self, number: int, *, drained: bool) -> None:
        self.drained_in_use += await self.in_flight(number) > 0
        async with asyncio.timeout(WITHIN_S):
            if drained:  # its slots are gone, its streams end, and then it goes
                await self.route(number, 0)
                self.ask("while it drains")
                while await self.in_flight(number):  # noqa: ASYNC110  as a controller looks
                    await asyncio.sleep(0.0005)
            await self.route(number, None)
            if not drained:  # it is taken off the list at once; what runs on it may end
                self.ask("while it drains")
                while await self.in_flight(number) or self.one.running:  # noqa: ASYNC110
                    await asyncio.sleep(0.0005)
        await self.one.go()

    async def _moment(self, longer: bool) -> None:
        """One turn of the loop, or as long as a request needs to come in."""
        await asyncio.sleep(0.0003 if longer else 0)

    async def last(self, number: int) -> None:
        """A replica that stays until all that was asked has an end."""
        await self.one.come()
        await self.route(number, 8)
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(*self.asking)


async def run(gateway: Gateway, cycles: int, seed: int) -> World:
    async with replica() as one, contextlib.AsyncExitStack() as stack:
        world = World(gateway, one, seed)
        await world.route(0, None)
        for _ in range(CLIENTS):
            world.idle.append(await stack.enter_async_context(client(gateway)))
        for number in range(cycles):
            await world.cycle(number)
            assert not world.lost, f"cycle {number}: {world.lost[:3]}"
        await world.last(cycles)
        asked = world.asked.total()
        stats = await until_stats(gateway, str(world.name), lambda stats: stats.completed == asked)
        assert (stats.arrived, stats.failed, stats.queued) == (asked, 0, 0)
        assert set(dict(stats.in_flight).values()) == {0}
        assert one.running == 0
    return world


def judge(world: World, cycles: int) -> str:
    """Nothing was lost, and it could have been: each moment was met often."""
    assert world.lost == []
    assert world.answered == world.asked
    assert set(world.asked) == set(MOMENTS)
    assert min(world.asked.values()) > cycles / 3
    assert world.held_at_zero > cycles / 4
    assert world.drained_in_use > cycles / 10
    return (
        f"{cycles} cycles, {world.asked.total()} asked, {world.answered.total()} answered, 0 lost; "
        f"a queue at zero {world.held_at_zero} times, drained in use {world.drained_in_use} times"
    )


async def test_thousands_of_cycles_lose_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    async with in_process() as gateway:
        world = await run(gateway, CYCLES, seed=6)

    with capsys.disabled():
        print(f"\n{judge(world, CYCLES)}")  # noqa: T201  the figures are what is looked for


async def test_cycles_of_the_real_process_lose_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with gateway_process() as (path, _):
        link = UnixGatewayLink(path)
        try:
            gateway = AsProcess(link, (await eventually(link.health)).listen)
            world = await run(gateway, CYCLES_AS_PROCESS, seed=7)
        finally:
            await link.close()

    with capsys.disabled():
        print(f"\n{judge(world, CYCLES_AS_PROCESS)}")  # noqa: T201
