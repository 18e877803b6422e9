"""0 → N → 0 through the gateway, several times over: every streaming request that was sent is answered whole."""

import asyncio
import random
import time
from collections.abc import Iterator

import aiohttp
import pytest
from fleet_home import FleetHome, fleet_home, fleet_text, service_text
from streams import Answer, ask, client

from fleetctl.model.names import ServiceName
from fleetctl.model.replicas import ReplicaPhase, Role
from fleetctl.store import SqlStore, open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CHAT = ServiceName("chat")
ROUNDS = 2
BURST = 14
"""Requests at once: more than two replicas of the concurrency below can take."""
MANY = 3
"""Replicas that a burst must bring."""
TOKENS = 25
LOOK_S = 0.02
BACK_TO_ZERO_S = 60.0
BURST_S = 60.0
"""A burst lasts until it has brought that many: they start in two seconds, and later on a busy computer."""


@pytest.fixture
def fleet() -> Iterator[FleetHome]:
    """A service that may go to zero, up, and a daemon that scales it."""
    with fleet_home() as made:
        path = made.write(
            "fleet.yaml",
            fleet_text(made.port)
            + "---\n"
            + service_text("chat", least=0, most=4, args="--load-s 0.2 --token-s 0.04", idle="2s"),
        )
        made.run("up", "-f", path)
        made.run("daemon", "start")
        yield made
        made.run("down", "--all")
        made.run("daemon", "stop")


class Watch:
    """Looks at the store while the test runs: how many replicas serve, and when it was decided to have none."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self.peak = 0
        self.replicas = 0
        self.desired: int | None = None
        self.to_zero = asyncio.Event()
        """Set for those who wait when the decision turns to zero."""

    async def run(self) -> None:
        while True:
            state = self._store.load()
            mine = [replica for replica in state.replicas.values() if replica.service == CHAT]
            ready = [one for one in mine if one.role is Role.SERVING and one.phase is ReplicaPhase.READY]
            self.replicas, self.peak = len(mine), max(self.peak, len(ready))
            decision = self._store.decisions().get(CHAT)
            if decision is not None:
                if decision.desired == 0 and self.desired != 0:
                    self.to_zero.set()
                    self.to_zero = asyncio.Event()
                self.desired = decision.desired
            await asyncio.sleep(LOOK_S)

    async def zero(self) -> None:
        """Wait until nothing is wanted and nothing is there."""
        deadline = time.monotonic() + BACK_TO_ZERO_S
        while self.desired != 0 or self.replicas:
            assert time.monotonic() < deadline, f"not back at zero: {self.replicas} replicas, {self.desired} wanted"
            await asyncio.sleep(LOOK_S)


async def _burst(session: aiohttp.ClientSession, url: str, watch: Watch) -> list[Answer]:
    """So many clients at once, each of which asks again until there are enough replicas for them."""
    deadline = time.monotonic() + BURST_S

    async def asks() -> list[Answer]:
        answers = [await ask(session, url, tokens=TOKENS)]
        while watch.peak < MANY:
            assert time.monotonic() < deadline, f"only {watch.peak} replicas were brought"
            answers.append(await ask(session, url, tokens=TOKENS))
        return answers

    each = await asyncio.gather(*(asks() for _ in range(BURST)))
    return [answer for answers in each for answer in answers]


async def test_every_stream_is_answered_through_zero_to_many_and_back(fleet: FleetHome) -> None:
    url = f"{fleet.url}/chat"
    answers: list[Answer] = []
    store = open_store(str(fleet.root / "fleet.db"), read_only=True)
    watch = Watch(store)
    watching = asyncio.create_task(watch.run())
    try:
        async with client() as session:
            for _ in range(ROUNDS):
                await watch.zero()
                watch.peak = 0

                answers += await _burst(session, url, watch)
                # What comes in the very moment in which it was decided to have no replica any more.
                await asyncio.wait_for(watch.to_zero.wait(), BACK_TO_ZERO_S)
                late = []
                for _ in range(4):
                    late.append(asyncio.create_task(ask(session, url, tokens=TOKENS)))
                    await asyncio.sleep(0.1)
                answers += await asyncio.gather(*late)

            await watch.zero()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        store.close()

    assert [answer for answer in answers if not answer.whole(TOKENS)] == []
    assert len(answers) >= ROUNDS * (BURST + 4)


async def test_one_request_now_and_then_is_answered_whenever_it_comes(fleet: FleetHome) -> None:
    """Pauses about as long as the idle time, so that requests meet every moment of going to zero."""
    url = f"{fleet.url}/chat"
    dice = random.Random(7)
    answers: list[Answer] = []

    async with client() as session:
        for _ in range(8):
            answers.append(await ask(session, url, tokens=3))
            await asyncio.sleep(dice.uniform(1.8, 3.6))

    assert [answer for answer in answers if not answer.whole(3)] == []
    events = fleet.run("events", "service/chat", "-o", "json").json()["items"]
    assert sum("→ 0" in event["message"] for event in events) >= 2
