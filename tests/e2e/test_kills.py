"""kill -9 for each kind of process while requests stream through the gateway, and for the store: what is left goes on.

What came of it is looked at from outside: folders, processes, and what the clients got.
"""

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from fleet_home import FleetHome, Ran, fleet_home, until
from fleet_sight import Sight, look

from fleetctl.paths import Home
from fleetctl.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CLIENTS = 10
"""More than two replicas serve at once: some requests are being answered, some have been sent, some wait."""
TOKENS = 12
HEAL_S = 60.0
"""Noticed within a tick, healed in two or three seconds; the rest is for a busy computer."""
NOTICED_S = 3.0
"""What the dead had sent is read by clients on a busy computer."""
MACHINES = 3
"""Two with a replica, and a warm standby."""

FLEET = """\
kind: service
name: chat
engine: rehearsal
model: rehearsal-tiny
args: --load-s 0.1 --token-s 0.01
gpu: L40S:1
concurrency: 4
pool: l40s
scaling: {{policy: fixed, replicas: 2, max: 3}}
---
kind: pool
name: l40s
gpu: L40S:1
provider: local
max: 5
standby: {{slots: 1, tier: warm}}
price_per_hour: 1.86
local: {{boot: 200ms, image: 100ms, weights: 100ms}}
---
kind: fleet
name: kills
gateway: {{listen: "127.0.0.1:{port}", auth: none}}
period: 300ms
"""


class Fleet:
    """A fleet of two replicas under a daemon."""

    def __init__(self, here: FleetHome) -> None:
        self.here = here
        self.home = Home(here.root)

    def run(self, *words: str, code: int = 0) -> Ran:
        return self.here.run(*words, code=code)

    def look(self) -> Sight:
        return look(self.home)

    def settled(self, holds: Callable[[Sight], bool]) -> Sight:
        """The fleet as soon as it holds, or a failure after `HEAL_S`."""

        def seen() -> Sight | None:
            sight = self.look()
            return sight if holds(sight) else None

        try:
            return until("healed", seen, within_s=HEAL_S)
        except AssertionError as error:
            error.add_note(f"it is {self.look()}")
            for event in self.events():
                error.add_note(event)
            raise

    def serves(self) -> None:
        """Wait until the gateway answers a request: its process is there before it listens."""

        async def ask() -> bool:
            try:
                async with (
                    aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0)) as session,
                    session.get(f"{self.here.url}/chat/v1/models") as answer,
                ):
                    return answer.status == 200
            except (aiohttp.ClientError, OSError, TimeoutError):
                return False

        until("the gateway answers", lambda: asyncio.run(ask()), within_s=HEAL_S)

    def events(self) -> list[str]:
        with contextlib.closing(open_store(str(self.home.store), read_only=True)) as store:
            return [f"{event.at:.2f} {event.subject} {event.message}" for event in store.events(limit=60)]


@pytest.fixture(scope="module")
def shared() -> Iterator[Fleet]:
    """One for all tests: what each leaves is whole again."""
    with fleet_home() as here:
        made = Fleet(here)
        here.write("fleet.yaml", FLEET.format(port=here.port))
        yield made
        here.run("daemon", "stop", code=None)  # 4 where the test has ended it
        here.run("down", "--all")
        after = made.look()
        assert not after.machines
        assert not after.debris
        assert here.processes() == []


@pytest.fixture
def fleet(shared: Fleet) -> Fleet:
    """Whole, under a daemon."""
    sight = shared.look()
    if not sight.machines:
        shared.run("up", "-f", "fleet.yaml")
    if not sight.controllers:
        shared.run("daemon", "start")
    shared.settled(whole)
    shared.serves()
    return shared


def whole(sight: Sight) -> bool:
    """Two replicas, three machines, one gateway, one controller: each once."""
    return (
        len(sight.machines) == MACHINES
        and sight.agents.keys() == sight.machines
        and all(len(pids) == 1 for pids in sight.agents.values())
        and len(sight.engines) == 2
        and all(len(pids) == 1 for pids in sight.engines.values())
        and len(set(sight.places.values())) == 2
        and not sight.debris
        and not sight.halts
        and len(sight.gateways) == len(sight.controllers) == 1
    )


@dataclass(slots=True)
class Request:
    """One streaming request, as its client saw it. Times by the monotonic clock."""

    began_at: float
    first_at: float | None = None
    """When the first byte of the answer came."""
    ended_at: float | None = None
    failure: str = ""


class Traffic:
    """Clients in a thread of their own, each sending the next request when the one before has ended."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.requests: list[Request] = []
        self._stopping = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    @contextmanager
    def flowing(self) -> Iterator["Traffic"]:
        """Requests are sent while the block runs; then those under way end."""
        self._thread.start()
        try:
            self.goes_on()
            yield self
            self.goes_on()
        finally:
            self._stopping = True
            self._thread.join(HEAL_S)
        assert not self._thread.is_alive(), "requests hang"

    def goes_on(self) -> float:
        """Wait until so many requests that were sent from now on have been answered; when that began."""
        since = time.monotonic()
        until("requests are answered", lambda: len(self.answered(since)) >= 2 * CLIENTS, within_s=HEAL_S)
        return since

    def answered(self, since: float) -> list[Request]:
        return [one for one in list(self.requests) if one.began_at >= since and one.ended_at and not one.failure]

    @property
    def failed(self) -> list[Request]:
        return [one for one in self.requests if one.failure]

    async def _run(self) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await asyncio.gather(*(self._client(session) for _ in range(CLIENTS)))

    async def _client(self, session: aiohttp.ClientSession) -> None:
        while not self._stopping:
            request = Request(began_at=time.monotonic())
            self.requests.append(request)
            try:
                async with asyncio.timeout(HEAL_S):
                    await self._ask(session, request)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                request.failure = repr(error)
                await asyncio.sleep(0.1)
            request.ended_at = time.monotonic()

    async def _ask(self, session: aiohttp.ClientSession, request: Request) -> None:
        body = {
            "model": "rehearsal-tiny",
            "prompt": "hello",
            "max_tokens": TOKENS,
            "stream": True,
            "rehearsal": {"input_tokens": 500},
        }
        async with session.post(f"{self._url}/chat/v1/completions", json=body) as answer:
            said = b""
            async for some in answer.content.iter_any():
                request.first_at = request.first_at or time.monotonic()
                said += some
        if answer.status != 200 or not said.rstrip().endswith(b"data: [DONE]") or said.count(b"data: ") < TOKENS:
            request.failure = f"{answer.status} {said[-300:]!r}"


def kill(pid: int) -> float:
    """kill -9 a process that was just seen to be this test's; when."""
    at = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    return at


def test_the_daemon_is_killed(fleet: Fleet) -> None:
    before = fleet.look()

    with Traffic(fleet.here.url).flowing() as traffic:
        kill(before.controllers[0])
        fleet.settled(lambda sight: not sight.controllers)
        traffic.goes_on()
        alone = fleet.look()
        fleet.run("daemon", "status", code=4)
        fleet.run("daemon", "start")
        after = fleet.settled(whole)

    assert traffic.failed == []
    assert alone.engines == after.engines == before.engines
    assert alone.agents == after.agents == before.agents
    assert after.gateways == before.gateways


def test_the_daemon_is_killed_while_a_command_watches_it(fleet: Fleet) -> None:
    (daemon,) = fleet.look().controllers
    os.kill(daemon, signal.SIGSTOP)  # it holds the fleet, and does nothing
    down = fleet.here.start("down", "--all")
    until("down hands over to the daemon", lambda: "watching" in down.said(), within_s=HEAL_S)

    kill(daemon)
    ran = down.end()

    assert ran.code == 0, ran.err
    assert "this command goes on by itself" in ran.err
    assert not fleet.look().machines
    assert fleet.here.processes() == []


def test_an_agent_is_killed(fleet: Fleet) -> None:
    before = fleet.look()
    machine = sorted(before.places.values())[0]
    (agent,) = before.agents[machine]

    with Traffic(fleet.here.url).flowing() as traffic:
        kill(agent)
        after = fleet.settled(lambda sight: whole(sight) and sight.agents[machine] != (agent,))
        traffic.goes_on()

    assert traffic.failed == []
    assert after.engines == before.engines
    assert {**after.agents, machine: (agent,)} == before.agents
    assert fleet.look().engines == before.engines


def test_the_agent_of_the_standby_is_killed(fleet: Fleet) -> None:
    before = fleet.look()
    (machine,) = before.machines - set(before.places.values())
    (agent,) = before.agents[machine]

    kill(agent)
    after = fleet.settled(lambda sight: whole(sight) and sight.agents[machine] != (agent,))

    assert after.engines == before.engines
    assert {**after.agents, machine: (agent,)} == before.agents


def test_an_engine_is_killed(fleet: Fleet) -> None:
    before = fleet.look()
    victim, survivor = sorted(before.engines)

    with Traffic(fleet.here.url).flowing() as traffic:
        killed_at = kill(before.engine(victim))
        after = fleet.settled(lambda sight: whole(sight) and victim not in sight.engines)
        traffic.goes_on()

    # Only what the dead engine was in the middle of answering is lost; the first of it that breaks off makes the
    # gateway leave the replica alone, and what had not begun was answered elsewhere.
    last_at = killed_at + NOTICED_S
    assert all(one.first_at is not None and one.first_at < last_at for one in traffic.failed), traffic.failed
    assert all(one.began_at < killed_at for one in traffic.failed)
    assert after.engines[survivor] == before.engines[survivor]
    assert after.agents == before.agents


def test_the_gateway_is_killed(fleet: Fleet) -> None:
    before = fleet.look()

    with Traffic(fleet.here.url).flowing() as traffic:
        killed_at = kill(before.gateways[0])
        after = fleet.settled(lambda sight: whole(sight) and sight.gateways != before.gateways)
        traffic.goes_on()

    # A process is there before it listens: what counts is when the new one first answered.
    back_at = min(one.began_at for one in traffic.requests if one.began_at > killed_at and not one.failure)
    assert all(killed_at - HEAL_S < one.began_at <= back_at for one in traffic.failed), (back_at, traffic.failed)
    assert after.engines == before.engines
    assert after.agents == before.agents


def test_everything_but_the_engines_is_killed_at_once(fleet: Fleet) -> None:
    before = fleet.look()

    for (pid,) in (before.controllers, before.gateways, *before.agents.values()):
        kill(pid)
    fleet.settled(lambda sight: not sight.controllers and not sight.gateways and not sight.agents)
    fleet.run("daemon", "start")
    after = fleet.settled(whole)
    fleet.serves()

    with Traffic(fleet.here.url).flowing() as traffic:
        pass
    assert traffic.failed == []
    assert after.engines == before.engines
    assert after.machines == before.machines


def test_the_store_is_deleted_while_no_controller_runs(fleet: Fleet) -> None:
    before = fleet.look()

    with Traffic(fleet.here.url).flowing() as traffic:
        fleet.run("daemon", "stop")
        for file in fleet.home.root.glob("fleet.db*"):
            file.unlink()
        fleet.run("up", "-f", "fleet.yaml")
        traffic.goes_on()
        fleet.run("daemon", "start")
        after = fleet.settled(whole)

    assert traffic.failed == []
    assert after.engines == before.engines
    assert after.agents == before.agents
    with contextlib.closing(open_store(str(fleet.home.store), read_only=True)) as store:
        state = store.load()
    assert {str(key) for key in state.instances} == before.machines
    assert {str(row.id): row.instance for row in state.replicas.values()} == before.places


def test_a_second_controller_is_refused(fleet: Fleet) -> None:
    before = fleet.look()
    with contextlib.closing(open_store(str(fleet.home.store), read_only=True)) as store:
        first = store.lease()

        refused = [fleet.run("run", code=7), fleet.run("run", "--once", code=7), fleet.run("daemon", "start", code=7)]

        assert first is not None
        for ran in refused:
            assert "another controller" in ran.err or "running already" in ran.err
            assert f"/{before.controllers[0]}/" in ran.err
            assert "fleetctl daemon status" in ran.err
        still = store.lease()
        assert still is not None
        assert (still.holder, still.fence) == (first.holder, first.fence)
    assert fleet.settled(whole).controllers == before.controllers


def test_a_controller_that_slept_past_its_lease_stops_when_it_wakes(fleet: Fleet) -> None:
    before = fleet.look()
    log = fleet.home.logs / "daemon.log"
    logged = len(log.read_text())
    (sleeper,) = before.controllers
    os.kill(sleeper, signal.SIGSTOP)
    try:
        with contextlib.closing(open_store(str(fleet.home.store), read_only=True)) as store:
            first = store.lease()
            assert first is not None
            until("the lease has run out", lambda: time.time() > first.expires_at or None, within_s=60.0)
        fleet.run("scale", "chat=3")
        fleet.run("daemon", "start")
        grown = fleet.settled(lambda sight: len(sight.engines) == 3)
    finally:
        os.kill(sleeper, signal.SIGCONT)

    awake = fleet.settled(lambda sight: sleeper not in sight.controllers)

    assert awake.machines >= before.machines
    assert {name: pids for name, pids in awake.engines.items() if name in grown.engines} == grown.engines
    with contextlib.closing(open_store(str(fleet.home.store), read_only=True)) as store:
        lease = store.lease()
        assert lease is not None
        assert lease.fence > first.fence
    assert "another controller" in log.read_text()[logged:]
    fleet.run("scale", "chat=auto")
