"""Machines that their cloud takes back, rehearsed on this computer: what their notice saves, as clients see it."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator

import aiohttp
import pytest
from fleet_home import FleetHome, fleet_home, until
from fleet_sight import Sight, look
from several_gateways import load_of
from streams import Answer, ask, client

from fleetctl.gateway.link import UnixGatewayLink
from fleetctl.model.decisions import Event
from fleetctl.model.instances import Instance, InstancePhase
from fleetctl.paths import Home
from fleetctl.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

CLIENTS = 6
TOKENS = 40
"""At 20 ms each: 0.8 s, long enough that a machine which went without a word would break some."""
DRAINS_S = 6.0
"""From a notice to the moment from which nothing new is sent to its machine: two seconds, more on a busy computer."""
NOTICE_S = 40
"""Longer than a busy computer needs to bring a replacement: a machine goes when it is empty, not at its deadline."""
HEAL_S = 60.0
"""A replacement takes two or three seconds; the rest is for a busy computer."""

FLEET = """\
kind: service
name: chat
engine: rehearsal
model: rehearsal-8b
args: --load-s 0.1 --token-s 0.02
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
name: reclaims
gateway: {{listen: "127.0.0.1:{port}", auth: none}}
period: 300ms
"""


class Traffic:
    """Clients in a thread of their own, each asking again as soon as it has its answer."""

    def __init__(self, url: str) -> None:
        self.answers: list[tuple[float, Answer]] = []
        """With when each was asked for."""
        self._url = url
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(HEAL_S)
        assert not self._thread.is_alive(), "requests hang"

    def goes_on(self) -> None:
        """Wait until several requests that are sent from now on have been answered."""
        since = time.monotonic()

        def answered() -> bool:
            return sum(1 for began_at, _ in list(self.answers) if began_at > since) >= 2 * CLIENTS

        until("requests are answered", answered, within_s=HEAL_S)

    @property
    def broken(self) -> list[Answer]:
        return [answer for _, answer in self.answers if not answer.whole(TOKENS)]

    async def _run(self) -> None:
        async with client() as session:
            await asyncio.gather(*(self._client(session) for _ in range(CLIENTS)))

    async def _client(self, session: aiohttp.ClientSession) -> None:
        while not self._stopping.is_set():
            began_at = time.monotonic()
            self.answers.append((began_at, await ask(session, self._url, tokens=TOKENS)))


class Fleet:
    def __init__(self, here: FleetHome) -> None:
        self.here = here
        self.home = Home(here.root)

    def look(self) -> Sight:
        return look(self.home)

    def settled(self, *, without: str = "") -> Sight:
        """The fleet once two Replicas and a Standby are there, none of them on the machine named."""

        def seen() -> Sight | None:
            sight = self.look()
            good = len(sight.machines) == 3 and len(set(sight.places.values())) == 2 and len(sight.engines) == 2
            return sight if good and without not in sight.machines and not sight.debris else None

        try:
            return until("settled", seen, within_s=HEAL_S)
        except AssertionError as error:
            error.add_note(f"it is {self.look()}")
            for line in self.events():
                error.add_note(line)
            raise

    def notice(self, machine: str, text: str) -> None:
        (self.home.machines / machine / "notice").write_text(text)

    def instance(self, name: str) -> Instance:
        with contextlib.closing(open_store(str(self.home.store), read_only=True)) as store:
            return next(row for key, row in store.load().instances.items() if key == name)

    def said(self, words: str) -> list[Event]:
        with contextlib.closing(open_store(str(self.home.store), read_only=True)) as store:
            return [event for event in store.events(limit=200) if words in event.message]

    def events(self) -> list[str]:
        return [f"{event.at:.2f} {event.subject} {event.message}" for event in self.said("")]

    def running(self) -> list[int]:
        """How many requests each engine has, as it says itself."""
        with contextlib.closing(open_store(str(self.home.store), read_only=True)) as store:
            addresses = [row.address for row in store.load().replicas.values() if row.address is not None]

        async def loads() -> list[int]:
            async with aiohttp.ClientSession() as session:
                return [int(await load_of(session, address)) for address in addresses]

        return asyncio.run(loads())

    def retries(self) -> int:
        async def count() -> str:
            link = UnixGatewayLink(self.home.gateway_socket)
            try:
                return await link.metrics()
            finally:
                await link.close()

        lines = asyncio.run(count()).splitlines()
        return int(float(next(line for line in lines if line.startswith("fleetctl_gateway_retries_total{")).split()[1]))


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with fleet_home() as here:
        made = Fleet(here)
        here.write("fleet.yaml", FLEET.format(port=here.port))
        here.run("up", "-f", "fleet.yaml")
        here.run("daemon", "start")
        made.settled()
        yield made
        here.run("daemon", "stop")
        here.run("down", "--all")
        after = made.look()
        assert not after.machines
        assert not after.debris
        assert here.processes() == []


def test_two_machines_are_taken_back_one_after_the_other_and_no_request_is_lost(fleet: Fleet) -> None:
    before = fleet.settled()

    told_at: dict[str, float] = {}
    with Traffic(f"{fleet.here.url}/chat") as traffic:
        traffic.goes_on()
        for machine in sorted(set(before.places.values())):
            told_at[machine] = time.time()
            fleet.notice(machine, str(NOTICE_S))
            fleet.settled(without=machine)
            traffic.goes_on()
    after = fleet.settled()

    assert traffic.broken == []
    assert fleet.retries() == 0, "nothing even had to be asked twice: each was drained before it went"
    assert not set(before.places.values()) & set(after.places.values())
    for machine in set(before.places.values()):
        row = fleet.instance(machine)
        assert row.over
        assert row.reclaimed
        assert row.notice is not None
        assert row.notice.deadline_at is not None
        assert row.phase is InstancePhase.TERMINATED, "given back before its cloud took it"
        assert row.phase_at < row.notice.deadline_at
        (draining,) = fleet.said(f"draining: {machine} has a spot notice")
        assert draining.at - told_at[machine] <= DRAINS_S
        told = fleet.here.run("describe", f"instance/{machine}").out
        assert "notice    spot notice" in told
        assert fleet.said("spot notice, gone in")


def test_only_what_outlives_the_deadline_is_cut_and_by_the_cloud(fleet: Fleet) -> None:
    """A stream of some ten seconds, on a machine that goes in four: it gets every token until then."""
    before = fleet.settled()
    url = f"{fleet.here.url}/chat"

    async def one(session: aiohttp.ClientSession) -> Answer:
        answer = await ask(session, url, tokens=500)
        ended_at[id(answer)] = time.monotonic()
        return answer

    async def long() -> list[Answer]:
        async with client() as session:
            return await asyncio.gather(*(one(session) for _ in range(4)))

    ended_at: dict[int, float] = {}

    found: list[Answer] = []
    asking = threading.Thread(target=lambda: found.extend(asyncio.run(long())))
    asking.start()
    until("both replicas stream two", lambda: fleet.running() == [2, 2], within_s=HEAL_S)
    (going, *_) = sorted(set(before.places.values()))
    fleet.notice(going, "4")
    begun = time.monotonic()
    with Traffic(url) as traffic:
        fleet.settled(without=going)
        traffic.goes_on()
    asking.join(60.0)

    assert traffic.broken == []
    whole = [answer for answer in found if answer.whole(500)]
    cut = [answer for answer in found if not answer.whole(500)]
    assert len(whole) == len(cut) == 2, found
    for answer in cut:
        assert 0 < answer.pieces < 500
        assert ended_at[id(answer)] >= begun + 3.5, "served until its machine went"
    row = fleet.instance(going)
    assert row.phase is InstancePhase.LOST
    assert row.reclaimed
    assert time.monotonic() - begun < HEAL_S
