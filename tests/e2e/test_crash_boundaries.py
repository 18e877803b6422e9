"""The controller is killed at every boundary between intending, doing and knowing; nothing is doubled, lost, orphaned.

Real wiring, agents and engines. Each life is cut by SIGKILL at the n-th boundary, n = 1, 2, 3, … until one is lived to
its end; then another controller goes on. What came of it is looked at from outside: folders and processes.
"""

import asyncio
import itertools
import logging
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import msgspec
import pytest
from crashing_controller import Goal, Report, Task, kind
from fleet_sight import Sight, end_everything, look
from ports import free_port

from fleetctl.controller import journal
from fleetctl.gateway.supervise import stop_gateway
from fleetctl.model.names import ServiceName
from fleetctl.model.snapshots import Override
from fleetctl.paths import Home
from fleetctl.spec.fleet import FleetConfig
from fleetctl.spec.load import load
from fleetctl.spec.revision import revision
from fleetctl.store import SqlStore
from fleetctl.wiring import fleet_store

log = logging.getLogger(__name__)

CHAT = ServiceName("chat")
LANES = 4
"""Fleets that are crashed side by side: most of a life is waiting, and two cores can serve four."""
BOUNDARIES_LIMIT = 120
"""A life has some forty; one of more than this does not end."""
ANSWER_LIMIT_S = 90.0
"""More than a controller gives itself."""
TEST_LIMIT_S = 1200
"""For two hundred controllers: one to two minutes on four cores, seven where each has seven others to share with."""
CONTROLLERS = Path(__file__).with_name("crashing_controller.py")

FLEET = """\
kind: service
name: chat
engine: rehearsal
model: rehearsal-tiny
args: --load-s 0.1
gpu: L40S:1
concurrency: 4
pool: l40s
scaling: {{min: 2, max: 5}}
---
kind: pool
name: l40s
gpu: L40S:1
provider: local
max: 6
standby: {{steps: 1, tier: {tier}}}
price_per_hour: 1.86
local: {{boot: 200ms, image: 100ms, weights: 100ms}}
"""
UP = {"warm": Goal(serving=2, running=3), "stopped": Goal(serving=2, running=2, stopped=1)}
WIDE = {"warm": Goal(serving=4, running=5), "stopped": Goal(serving=4, running=4, stopped=1)}
DOWN = Goal(serving=0, running=0)


@dataclass
class Lane:
    """One fleet, crashed again and again."""

    home: Home
    config: FleetConfig
    gateway: bool
    store: SqlStore
    controllers: asyncio.subprocess.Process
    died_at: Counter[str] = field(default_factory=Counter)
    """Kinds of boundaries at which a controller was killed."""

    async def control(self, goal: Goal, dies_at: int | str | None = None) -> Report:
        task = Task(root=str(self.home.root), config=self.config, gateway=self.gateway, goal=goal, dies_at=dies_at)
        assert self.controllers.stdin is not None
        assert self.controllers.stdout is not None
        self.controllers.stdin.write(msgspec.json.encode(task) + b"\n")
        async with asyncio.timeout(ANSWER_LIMIT_S):
            answer = await self.controllers.stdout.readline()
        return msgspec.json.decode(answer, type=Report)

    def fence(self) -> int:
        """Of the last tick that was recorded."""
        entry = self.store.journal(at=time.time())
        return 0 if entry is None else journal.read(entry).fence

    def given_out(self, name: str) -> int:
        """The last number given to an Instance of the Pool or a Replica of the Service: how many there ever were."""
        return self.store.load().counters.get(f"{name}-{self.store.epoch}", 0)

    def intend(self, *, up: bool = True, by_hand: int | None = None) -> None:
        """As a user's command does."""
        self.store.set_override(CHAT, None if by_hand is None else Override(replicas=by_hand), at=time.time())
        self.store.set_up(CHAT, up, at=time.time())


@asynccontextmanager
async def lane(tier: str, *, gateway: bool) -> AsyncIterator[Lane]:
    folder = Path(tempfile.mkdtemp(prefix="fcrash-"))
    home = Home(folder / "h")
    config = FleetConfig(name="crash", gateway_listen=f"127.0.0.1:{free_port()}", gateway_auth="none", period_s=0.4)
    spec = folder / "chat.yaml"
    spec.write_text(FLEET.format(tier=tier))
    fleet = load([spec])
    store = fleet_store(home, config)
    for pool in fleet.pools:
        store.put_pool(pool, at=time.time())
    for service in fleet.services:
        store.put_service(service, revision=revision(service), at=time.time())
    with (folder / "controllers.log").open("wb") as complaints:
        controllers = await asyncio.create_subprocess_exec(
            sys.executable,
            str(CONTROLLERS),
            str(home.root),  # by which it and its forks are found when all is ended
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=complaints,
        )
    try:
        yield Lane(home=home, config=config, gateway=gateway, store=store, controllers=controllers)
    except BaseException as error:
        error.add_note(f"controllers said: {(folder / 'controllers.log').read_text()[-4000:]}")
        told = [f"{event.at:.1f} {event.subject} {event.message}" for event in store.events(limit=60)]
        error.add_note("\n".join(["the last events:", *told]))
        raise
    finally:
        try:
            if gateway:
                await stop_gateway(home.gateway_socket)
        finally:
            # Without an await until all is cleared: a lane beside this one may fail now and cancel it.
            left = end_everything(home)
            store.close()
            shutil.rmtree(folder)
            await controllers.communicate()
    # Reached only when the test has not failed already: a fleet that is down, and its gateway stopped, leaves nobody.
    assert [line for line in left if str(CONTROLLERS) not in line] == []


async def crash_at(lane: Lane, goal: Goal, dies_at: int | str, *, launches: int, starts: int) -> bool:
    """Kill the controller at a boundary, let the next one go on, and look. False: there is no such boundary."""
    before, fence_before = look(lane.home), lane.fence()
    launched, started = lane.given_out("l40s"), lane.given_out(CHAT)
    cut = await lane.control(goal, dies_at=dies_at)
    assert cut.exit_code in (0, -9), cut
    died = cut.exit_code == -9
    if died:
        where = f"killed at boundary {len(cut.boundaries)}: {cut.boundaries[-1]}"
        lane.died_at[kind(cut.boundaries[-1])] += 1
        at_death = look(lane.home)
        fence_of_dead = lane.store.lease()
        assert fence_of_dead is not None, where
        assert fence_of_dead.fence > fence_before, where
        healed = await lane.control(goal)
        assert healed.exit_code == 0, where
        assert lane.fence() > fence_of_dead.fence, where
        kept = {**before.engines, **at_death.engines}
    else:
        where = "not killed"
        kept = dict(before.engines)
    after = look(lane.home)

    check(lane, after, goal, where)
    unchanged = {name: pids for name, pids in kept.items() if name in after.engines}
    assert {name: after.engines[name] for name in unchanged} == unchanged, f"{where}: a replica was restarted"
    assert lane.given_out("l40s") - launched == launches, f"{where}: too many or too few were ever launched"
    assert lane.given_out(CHAT) - started == starts, f"{where}: too many or too few replicas were ever started"
    return died


def check(lane: Lane, sight: Sight, goal: Goal, where: str) -> None:
    """Exactly the goal is there, once each, and the store says the same."""
    state = lane.store.load()
    rows = {str(row.id) for row in state.instances.values() if not row.over}
    assert sight.machines == rows, f"{where}: machines and rows differ"
    assert not sight.debris, where
    assert not sight.halts, where
    assert len(sight.stopped) == goal.stopped, where
    assert len(sight.machines) == goal.running + goal.stopped, where
    assert sight.agents.keys() == sight.machines - sight.stopped, where
    assert all(len(pids) == 1 for pids in sight.agents.values()), f"{where}: {sight.agents}"
    assert sight.engines.keys() == {str(key) for key in state.replicas}, where
    assert all(len(pids) == 1 for pids in sight.engines.values()), f"{where}: {sight.engines}"
    assert len(sight.engines) == goal.serving, where
    assert sight.places == {str(row.id): row.instance for row in state.replicas.values()}, where
    assert len(set(sight.places.values())) == goal.serving, f"{where}: two engines on one GPU"
    assert len(sight.gateways) == int(lane.gateway), where


def check_memory(lane: Lane) -> None:
    """Every event and every tick ever recorded can be read."""
    assert lane.store.events(limit=100_000)
    entries = lane.store.journal_range(since=0.0, until=time.time(), limit=100_000)
    fences = [journal.read(entry.entry).fence for entry in entries]
    assert fences == sorted(fences)
    assert len(set(fences)) >= sum(lane.died_at.values())


@dataclass(frozen=True)
class Phase:
    """A change of intent, what comes of it, and how many new Instances and Replicas that takes."""

    intend: Callable[[Lane], None]
    goal: Goal
    launches: int
    starts: int


async def crash_everywhere(
    tier: str, phases: list[Phase], kinds: set[str], *, gateway: bool = False, start: Goal | None = None, step: int = 1
) -> None:
    """Go through the phases in a circle, killed at boundary n of each, for every `step`-th n there is.

    Boundaries come in another order each time, so that none of a kind may have been n-th: those are made up for.
    """
    counted = itertools.count(1, step)
    left = set(range(len(phases)))
    met: set[str] = set()
    killed = 0

    async def circle(fleet: Lane, dies_at: int | str) -> None:
        nonlocal killed
        for index, phase in enumerate(phases):
            phase.intend(fleet)
            if await crash_at(fleet, phase.goal, dies_at, launches=phase.launches, starts=phase.starts):
                killed += 1
            elif isinstance(dies_at, int):
                left.discard(index)
            if gateway:
                await answered(fleet)
        met.update(fleet.died_at)

    async def live() -> None:
        async with lane(tier, gateway=gateway) as fleet:
            if start is not None:
                assert (await fleet.control(start)).exit_code == 0
            while left:
                number = next(counted)
                assert number <= BOUNDARIES_LIMIT
                await circle(fleet, number)
            while missed := sorted(kinds - met):
                met.add(missed[0])
                await circle(fleet, missed[0])
                assert fleet.died_at[missed[0]]
            check_memory(fleet)
            fleet.intend(up=False)
            assert (await fleet.control(DOWN)).exit_code == 0
            check(fleet, look(fleet.home), DOWN, "down")

    async with asyncio.TaskGroup() as group:
        for _ in range(LANES):
            group.create_task(live())
    assert met == kinds
    log.info("%d controllers were killed; no phase has more than %d boundaries", killed, next(counted) - 1)


async def answered(fleet: Lane) -> None:
    """A request through the gateway is answered."""
    url = f"http://{fleet.config.gateway_listen}/chat/v1/completions"
    body = {"model": "rehearsal-tiny", "prompt": "hello", "max_tokens": 2}
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as answer:
        assert answer.status == 200, await answer.text()


ALWAYS = {"before commit", "after commit", "before apply", "after apply"}
LAUNCHED = {"before launch", "after launch", "launch: folder made", "launch: folder named", "launch: agent started"}
GIVEN_BACK = {
    "before terminate",
    "after terminate",
    "terminate: halted",
    "terminate: folder renamed",
    "terminate: folder removed",
}
STOPPED = {"before stop", "after stop", "stop: begun", "stop: halted", "stop: ended"}
STARTED = {"before start", "after start", "start: stop ended", "start: marker gone", "start: agent started"}


@pytest.mark.slow
@pytest.mark.timeout(TEST_LIMIT_S)
async def test_killed_at_every_boundary_of_up_and_down() -> None:
    await crash_everywhere(
        "warm",
        [
            Phase(intend=lambda fleet: fleet.intend(), goal=UP["warm"], launches=3, starts=2),
            Phase(intend=lambda fleet: fleet.intend(up=False), goal=DOWN, launches=0, starts=0),
        ],
        ALWAYS | LAUNCHED | GIVEN_BACK,
    )


@pytest.mark.slow
@pytest.mark.timeout(TEST_LIMIT_S)
@pytest.mark.parametrize(
    ("tier", "gateway", "kinds"),
    [
        pytest.param("warm", True, ALWAYS | LAUNCHED | GIVEN_BACK, id="warm standby, with a gateway"),
        pytest.param("stopped", False, ALWAYS | LAUNCHED | GIVEN_BACK | STOPPED | STARTED, id="stopped standby"),
    ],
)
async def test_killed_at_every_kind_of_boundary_of_scaling(tier: str, gateway: bool, kinds: set[str]) -> None:
    await crash_everywhere(
        tier,
        [
            Phase(intend=lambda fleet: fleet.intend(by_hand=4), goal=WIDE[tier], launches=2, starts=2),
            Phase(intend=lambda fleet: fleet.intend(by_hand=2), goal=UP[tier], launches=0, starts=0),
        ],
        kinds,
        gateway=gateway,
        start=UP[tier],
        step=2,  # what up and down cross is met at each; here it is the kinds that count, and none is left out
    )
