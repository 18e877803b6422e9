"""The processes of a gateway are killed, stopped and told to end while clients ask: every slot is free afterwards."""

import asyncio
import os
import random
import re
import signal
import socket
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import pytest
from gateway_world import Answer, Client, client, routed, routes, until, until_stats
from slot_counting import CountingEngine, Wish, counting_engine
from test_gateway_workers import CHAT, Processes, all_present, folder, processes  # noqa: F401 - a fixture

from fleetctl.errors import AgentFailure
from fleetctl.model.routes import Route

SEEDS: Final = 4
WORKERS: Final = 3
CLIENTS: Final = 30
SLOTS: Final = (4, 3)
CHAOS_S: Final = 3.0
MORE: Final = 3
"""Requests beyond all slots."""
CALM_S: Final = 30.0
"""A process that died early four times is started again after 0.8 s, a replica that failed rests for 8 s at most."""
DEATHS_MAX: Final = 4
"""Of one process: with each early death the next one is started later."""
ANSWER_S: Final = 25.0
"""Nobody waits longer for an answer or for the end of the connection."""


@dataclass
class BadLuck:
    """What happens to a gateway's processes, by a seed."""

    gateway: Processes
    luck: random.Random
    route: Route
    happened: list[str] = field(default_factory=list)
    deaths: Counter[str] = field(default_factory=Counter)
    going_on: list[asyncio.Task[None]] = field(default_factory=list)
    fence: int = 1

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        ends = loop.time() + CHAOS_S
        acts: list[Callable[[], None]] = [
            self.kill_worker, self.kill_worker, self.kill_all_workers, self.kill_scheduler, self.kill_both,
            self.stop_worker, self.stop_scheduler, self.drain_worker, self.drain_worker, self.reroute,
            self.kill_beside_stopped_worker, self.kill_beside_stopped_worker, self.kill_beside_stopped_worker,
            self.kill_beside_stopped_scheduler, self.kill_beside_stopped_scheduler, self.kill_beside_stopped_scheduler,
        ]  # fmt: skip
        while loop.time() < ends:
            await asyncio.sleep(self.luck.uniform(0.05, 0.5))
            self.luck.choice(acts)()
        await asyncio.gather(*self.going_on)

    def kill_worker(self) -> None:
        self.send(self.some_worker(), signal.SIGKILL)

    def kill_all_workers(self) -> None:
        for number in range(1, WORKERS + 1):
            self.send(f"worker {number}", signal.SIGKILL)

    def kill_scheduler(self) -> None:
        self.send("the scheduler", signal.SIGKILL)

    def kill_both(self) -> None:
        names = ["the scheduler", self.some_worker()]
        self.luck.shuffle(names)
        for name in names:
            self.send(name, signal.SIGKILL)

    def stop_worker(self) -> None:
        self.stop(self.some_worker(), self.luck.uniform(0.02, 0.8))

    def stop_scheduler(self) -> None:
        self.stop("the scheduler", self.luck.uniform(0.02, 0.8))

    def kill_beside_stopped_worker(self) -> None:
        """A new scheduler hears of a new worker before one that still holds slots says anything, and waits for it: for
        less than `GATHER_TIMEOUT_S`, or the two would share slots."""
        stopped, killed = self.luck.sample([f"worker {number}" for number in range(1, WORKERS + 1)], 2)
        self.stop(stopped, self.luck.uniform(0.3, 0.8))
        self.send(killed, signal.SIGKILL)
        self.send("the scheduler", signal.SIGKILL)

    def kill_beside_stopped_scheduler(self) -> None:
        """It finds the last words of a worker and its successor at the same time."""
        self.stop("the scheduler", self.luck.uniform(0.3, 1.0))
        self.going_on.append(asyncio.ensure_future(self._kill_later(self.luck.uniform(0.0, 0.2))))

    async def _kill_later(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.kill_worker()

    def drain_worker(self) -> None:
        self.send(self.some_worker(), signal.SIGTERM)

    def reroute(self) -> None:
        """A replica leaves, and comes back a moment later."""
        self.going_on.append(asyncio.ensure_future(self._reroute()))

    def some_worker(self) -> str:
        return f"worker {self.luck.randint(1, WORKERS)}"

    def stop(self, name: str, seconds: float) -> None:
        pid = self.send(name, signal.SIGSTOP)
        if pid:
            self.going_on.append(asyncio.ensure_future(self._go_on(pid, seconds)))

    def send(self, name: str, number: signal.Signals) -> int:
        """To the process that has this name now; 0: it is spared, or there is none."""
        if number is not signal.SIGSTOP:
            if self.deaths[name] >= DEATHS_MAX:
                return 0
            self.deaths[name] += 1
        pid = int(re.findall(rf"{name} is started, pid (\d+)", self.gateway.log.read_text())[-1])
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return 0
        self.happened.append(f"{number.name} {name} ({pid})")
        return pid

    async def _go_on(self, pid: int, seconds: float) -> None:
        await asyncio.sleep(seconds)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    async def _reroute(self) -> None:
        await self.say_routes(replace(self.route, upstreams=self.route.upstreams[:1]))
        await asyncio.sleep(0.2)
        await self.say_routes(self.route)

    async def say_routes(self, route: Route) -> None:
        """Until the gateway has heard: a scheduler that begins does not yet."""
        self.fence += 1
        given = routes(route, fence=self.fence)
        while given.fence == self.fence:  # else there are newer ones
            try:
                await self.gateway.link.route(given)
            except AgentFailure:
                await asyncio.sleep(0.02)
            else:
                self.happened.append(f"routes to {len(route.upstreams)} replicas")
                return


@dataclass
class Clients:
    """They ask, stream, cut, and read slowly, until told to stop."""

    gateway: Processes
    luck: random.Random
    outcomes: Counter[str] = field(default_factory=Counter)
    silent: list[str] = field(default_factory=list)

    async def go_on(self) -> None:
        kinds = (
            self.asks, self.asks, self.streams, self.streams, self.cuts, self.cuts, self.reads_slowly, self.breaks,
        )  # fmt: skip
        while True:
            kind = self.luck.choice(kinds)
            try:
                async with asyncio.timeout(ANSWER_S), client(self.gateway) as asking:
                    self.outcomes[await kind(asking)] += 1
            except TimeoutError:
                self.silent.append(kind.__name__)
            except (ConnectionError, asyncio.IncompleteReadError):
                self.outcomes["lost"] += 1
                await asyncio.sleep(0.02)

    async def asks(self, asking: Client) -> str:
        for _ in range(self.luck.randint(1, 5)):
            asking.post(Wish(seconds=self.luck.uniform(0.0, 0.05)).body())
            answer = await asking.answer()
            if answer.status != 200:
                return await self._refused(answer)
        return "answered"

    async def streams(self, asking: Client) -> str:
        asking.post(Wish(seconds=self.luck.choice((0.0, 0.3, 2.0)), events=self.luck.randint(2, 6)).body())
        answer = await asking.answer()
        return "streamed" if answer.status == 200 else await self._refused(answer)

    async def cuts(self, asking: Client) -> str:
        asking.post(Wish(seconds=self.luck.uniform(0.1, 0.5), events=self.luck.choice((0, 4))).body())
        await asyncio.sleep(self.luck.choice((0.0, 0.001, self.luck.uniform(0.0, 0.3))))
        if self.luck.random() < 0.5:  # as a process that dies
            with suppress(OSError):  # it may be closed already
                sock = asking.writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        asking.writer.transport.abort()
        return "cut"

    async def reads_slowly(self, asking: Client) -> str:
        asking.post(Wish(seconds=0.1, events=8, event_bytes=100_000).body())
        for _ in range(self.luck.randint(1, 8)):
            if not await asking.reader.read(60_000):
                return "lost"
            await asyncio.sleep(self.luck.uniform(0.0, 0.15))
        return "slow"

    async def breaks(self, asking: Client) -> str:
        """Seldom: a replica that fails rests for a second."""
        if self.luck.random() > 0.03:
            return await self.asks(asking)
        asking.post(Wish(breaks=True).body())
        return f"broken {(await asking.answer()).status}"

    async def _refused(self, answer: Answer) -> str:
        await asyncio.sleep(0.02)
        return f"{answer.status} {answer.code}"


@pytest.mark.timeout(1200)  # for `--seeds` in the hundreds
async def test_whoever_is_killed_no_slot_is_lost_and_none_given_twice(
    folder: Path,  # noqa: F811
    pytestconfig: pytest.Config,
) -> None:
    for seed in range(pytestconfig.getoption("--seeds") or SEEDS):
        place = folder / str(seed)
        place.mkdir()
        await chaos(place, seed)


async def chaos(place: Path, seed: int) -> None:
    async with (
        counting_engine(SLOTS[0]) as one,
        counting_engine(SLOTS[1]) as other,
        processes(place, WORKERS) as gateway,
    ):
        engines = one, other
        route = routed("chat", one.address, other.address)
        upstreams = tuple(replace(up, slots=slots) for up, slots in zip(route.upstreams, SLOTS, strict=True))
        clients = Clients(gateway, random.Random(f"clients {seed}"))
        bad_luck = BadLuck(gateway, random.Random(f"bad luck {seed}"), replace(route, upstreams=upstreams))
        await bad_luck.say_routes(bad_luck.route)
        asking = [asyncio.ensure_future(clients.go_on()) for _ in range(CLIENTS)]

        await bad_luck.run()

        for task in asking:
            task.cancel()
        ended = await asyncio.gather(*asking, return_exceptions=True)
        tells = f"seed {seed}: {'; '.join(bad_luck.happened)}; {dict(clients.outcomes)}"
        assert [str(one) for one in ended if not isinstance(one, asyncio.CancelledError)] == [], tells
        assert sum(engine.served for engine in engines) > 0, tells
        assert clients.silent == [], tells
        assert [engine.excess for engine in engines] == [[], []], tells
        await bad_luck.say_routes(bad_luck.route)
        await all_present(gateway, WORKERS)
        try:
            await all_free(gateway, engines)
            await all_usable(gateway, engines)
        except TimeoutError:
            stats = (await gateway.stats())[CHAT]
            runs = f"{dict(stats.in_flight)} run, at the engines {[len(engine.running) for engine in engines]}"
            pytest.fail(f"{stats.queued} wait, {runs}; {tells}")
        assert [engine.excess for engine in engines] == [[], []], tells


async def all_free(gateway: Processes, engines: tuple[CountingEngine, ...]) -> None:
    """Nothing waits and nothing runs, by what the gateway says and by what the engines see."""
    async with asyncio.timeout(CALM_S):
        while True:
            stats = (await gateway.stats())[CHAT]
            held = any(dict(stats.in_flight).values()) or any(engine.running for engine in engines)
            if not stats.queued and not held:
                return
            await asyncio.sleep(0.02)


async def all_usable(gateway: Processes, engines: tuple[CountingEngine, ...]) -> None:
    """As many requests as there are slots run at once, and more of them wait."""
    async with asyncio.timeout(CALM_S), AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client(gateway)) for _ in range(sum(SLOTS) + MORE)]
        for asking in clients:
            asking.post(Wish(events=2, hold=True).body())
        await until(lambda: tuple(len(engine.running) for engine in engines) == SLOTS)
        await until_stats(gateway, "chat", lambda found: found.queued == MORE)
        assert tuple(len(engine.running) for engine in engines) == SLOTS
        for engine in engines:
            engine.go.set()
        answers = await asyncio.gather(*(asking.answer() for asking in clients))
        assert [(one.status, one.whole) for one in answers] == [(200, True)] * len(clients)
