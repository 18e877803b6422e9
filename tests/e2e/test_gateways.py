"""A request that meets no replica brings a tick at once; several gateways share the slots of one fleet."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
import pytest_asyncio
from fleet_home import service_text
from several_gateways import Fleet, load_of, several_gateways
from streams import Answer, ask

from fleetctl.model.decisions import Verb
from tests.contract.test_store_contract import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]  # fixtures

NAMES = ("one", "two", "three")
SLOTS = 4
PACE = "--token-s 0.03 --growth 0"
TOKENS = 10
"""So that one answer takes some 300 ms."""
SILENT_S = 5.0
FENCED_S = 3.0
FOLLOWS_S = 60.0
"""Demand that moves is followed within some ticks of 300 ms; the rest is for a busy computer."""
AT_ONCE_S = 0.05
"""From a request that meets no replica to the tick that it brings, on a computer with a processor to spare."""
SOON_S = 1.5
"""The same on a busy one: well within the period of three seconds."""


async def eventually(what: str, look: Callable[[], Awaitable[bool]], *, within_s: float) -> float:
    """Seconds until it held."""
    began = time.monotonic()
    while not await look():
        assert time.monotonic() - began < within_s, f"{what}: not within {within_s:g} s"
        await asyncio.sleep(0.05)
    return time.monotonic() - began


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def at_zero() -> AsyncIterator[Fleet]:
    """Five services at zero, and a controller that looks once in three seconds by itself."""
    services = [service_text(name, args=PACE, least=0, most=1, idle="1s") for name in (*NAMES, "elsewhere")]
    services.append(service_text("flooded", args="--load-s 5", least=0, most=1, idle="1s"))
    async with several_gateways("---\n".join(services), period="3s") as fleet:
        await eventually("nothing is there", lambda: _at_zero(fleet), within_s=90)
        yield fleet


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="module")
async def test_a_request_that_meets_no_replica_brings_a_tick_within_50_ms(at_zero: Fleet) -> None:
    """Three services are asked in turn: what else runs on this computer may delay one tick, hardly all of them."""
    fleet = at_zero
    took: list[float] = []
    async with aiohttp.ClientSession() as session:
        for name in NAMES:
            before = await _fresh(fleet)
            asked_at = time.time()

            answer = await ask(session, f"{fleet.url}/{name}", tokens=TOKENS)

            assert answer.whole(TOKENS), answer
            began_at, ticked = next(
                (at, one) for at, one in fleet.ticks[before:] if name in {row.service for row in one.plan.replicas}
            )
            assert len(ticked.plan.replicas) == 1
            launches = [action for action in ticked.plan.actions if action.verb is Verb.LAUNCH]
            assert len(launches) == 1 or took, "the first finds no machine"
            took.append(began_at - asked_at)
    assert min(took) <= AT_ONCE_S, took
    assert max(took) <= SOON_S, took
    print("request to tick:", *(f"{one * 1000:.1f} ms" for one in took))  # noqa: T201


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="module")
async def test_a_request_at_a_gateway_that_joined_brings_a_tick_within_a_second(at_zero: Fleet) -> None:
    fleet = at_zero
    async with aiohttp.ClientSession() as session:
        other = await fleet.join("b")
        before = await _fresh(fleet)
        asked_at = time.time()

        answer = await ask(session, f"{other.url}/elsewhere", tokens=TOKENS)

        assert answer.whole(TOKENS), answer
        began_at = next(
            at for at, one in fleet.ticks[before:] if "elsewhere" in {row.service for row in one.plan.replicas}
        )
        assert began_at - asked_at <= SOON_S
        print(f"request elsewhere to tick: {(began_at - asked_at) * 1000:.0f} ms")  # noqa: T201
        await other.end()


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="module")
async def test_a_flood_without_a_replica_brings_one_tick_a_second(at_zero: Fleet) -> None:
    fleet = at_zero
    async with aiohttp.ClientSession() as session:
        await eventually("nothing is there", lambda: _at_zero(fleet), within_s=90)
        before = len(fleet.ticks)

        asking = [asyncio.create_task(ask(session, f"{fleet.url}/flooded", tokens=TOKENS)) for _ in range(100)]
        await asyncio.sleep(2.5)
        for one in asking:
            one.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

        # One at once; those that follow the ends of Actions: of the launch, of what the machine is told.
        assert 1 <= len(fleet.ticks) - before <= 12


async def _fresh(fleet: Fleet) -> int:
    """Wait for a tick that begins and ends from now on; how many there have been."""
    known = len(fleet.ticks)
    await eventually("a tick that knows it", lambda: _ticked(fleet, known + 1), within_s=30)
    return len(fleet.ticks)


async def _ticked(fleet: Fleet, count: int) -> bool:
    return len(fleet.ticks) >= count


async def _at_zero(fleet: Fleet) -> bool:
    """Nothing is wanted, by what the gateway says, and nothing is there."""
    state, decisions = fleet.store.load(), fleet.store.decisions().values()
    wanted = [one for one in decisions if one.desired or one.concurrency is None]
    return bool(decisions) and not wanted and not state.replicas and all(row.over for row in state.instances.values())


@asynccontextmanager
async def demand(session: aiohttp.ClientSession, url: str, clients: int) -> AsyncIterator[list[Answer]]:
    """So many clients that ask one after the other until the block ends; every answer is awaited."""
    answers: list[Answer] = []
    going = True

    async def client() -> None:
        while going:
            answers.append(await ask(session, url, tokens=TOKENS))

    tasks = [asyncio.create_task(client()) for _ in range(clients)]
    try:
        yield answers
    finally:
        going = False
        await asyncio.gather(*tasks)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_url(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


@pytest.mark.slow
async def test_two_gateways_share_the_slots_as_demand_moves_and_one_is_killed(store_url: str | None) -> None:
    service = service_text("chat", args=PACE, least=2, most=2).replace("concurrency: 2", f"concurrency: {SLOTS}")
    async with (
        several_gateways(service, store_url=store_url, silent_s=SILENT_S, fenced_s=FENCED_S) as fleet,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        await eventually("two replicas", lambda: _ready(fleet, 2), within_s=60)
        most: dict[str, float] = {}
        watching = asyncio.create_task(_watch(session, fleet, most))
        fleet.ends.callback(watching.cancel)
        other = await fleet.join("b")

        assert (await ask(session, fleet.url, tokens=TOKENS)).whole(TOKENS)
        assert (await ask(session, other.url, tokens=TOKENS)).whole(TOKENS)

        async with demand(session, fleet.url, 12) as at_first:
            await eventually("the first has them", lambda: _busy(fleet, "controller", 7), within_s=FOLLOWS_S)
        async with demand(session, other.url, 12) as at_second:
            moved_s = await eventually("the second has them", lambda: _busy(fleet, "b", 7), within_s=FOLLOWS_S)
        assert all(answer.whole(TOKENS) for answer in (*at_first, *at_second))

        async with demand(session, other.url, 12), demand(session, fleet.url, 12) as left:
            await eventually("both have some", lambda: _share(fleet), within_s=FOLLOWS_S)
            number = _beat(fleet, "b")
            await eventually("a beat that is new", lambda: _beats_on(fleet, "b", number), within_s=FOLLOWS_S)
            other.kill()
            killed = time.monotonic()
            await eventually("its slots are back", lambda: _busy(fleet, "controller", 8), within_s=SILENT_S + FOLLOWS_S)
            back_s = time.monotonic() - killed
        assert all(answer.whole(TOKENS) for answer in left), [one for one in left if not one.whole(TOKENS)][:3]
        assert back_s >= SILENT_S - 1.5, "not before the named time, less what had passed since its last beat"
        assert most
        assert max(most.values()) <= SLOTS, most
        events = [event.message for event in fleet.store.events(subject="gateway/b")]
        assert any("has joined" in message for message in events)
        assert any("slots were taken back" in message for message in events)
        print(f"moved in {moved_s:.1f} s, back after {back_s:.1f} s, most {most}")  # noqa: T201


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_gateway_that_ends_finishes_what_it_has_and_gives_its_slots_back_at_once(workers: str) -> None:
    service = service_text("chat", args=PACE, least=1, most=1).replace("concurrency: 2", f"concurrency: {SLOTS}")
    async with several_gateways(service) as fleet, aiohttp.ClientSession() as session:
        await eventually("a replica", lambda: _ready(fleet, 1), within_s=60)
        other = await fleet.join("b", "--workers", workers)
        await eventually("each of its processes serves", lambda: _answers(session, other.url), within_s=60)
        # The engine is asked, not the controller: what that knows may be a beat old, and of the answers just before.
        (engine,) = fleet.addresses()
        await eventually("nothing runs", lambda: _loaded(session, engine, 0), within_s=FOLLOWS_S)
        running = [asyncio.create_task(ask(session, other.url, tokens=100)) for _ in range(2)]
        await eventually("it runs them", lambda: _loaded(session, engine, 2), within_s=FOLLOWS_S)

        await other.end()

        assert all(answer.whole(100) for answer in await asyncio.gather(*running))
        async with demand(session, fleet.url, 8) as left:
            await eventually("all are the first's", lambda: _busy(fleet, "controller", SLOTS), within_s=FOLLOWS_S)
        assert all(answer.whole(TOKENS) for answer in left)
        assert fleet.store.gateways() == ((), ())


async def _ready(fleet: Fleet, count: int) -> bool:
    return len(fleet.addresses()) >= count


async def _watch(session: aiohttp.ClientSession, fleet: Fleet, most: dict[str, float]) -> None:
    addresses = fleet.addresses()
    while True:
        for address in addresses:
            most[address] = max(most.get(address, 0.0), await load_of(session, address))
        await asyncio.sleep(0.02)


def _in_flight(fleet: Fleet) -> dict[str, int]:
    """By gateway, as the controller knows it."""
    fronts = fleet.held._fronts
    assert fronts is not None
    beats = [*fronts._beats, *([fronts._own_beat] if fronts._own_beat is not None else [])]
    return {
        beat.name.partition("@")[0]: sum(count for queue in beat.queues for _, count in queue.in_flight)
        for beat in beats
    }


async def _busy(fleet: Fleet, name: str, count: int) -> bool:
    return _in_flight(fleet).get(name, 0) >= count


async def _loaded(session: aiohttp.ClientSession, engine: str, count: int) -> bool:
    return await load_of(session, engine) == count


def _beat(fleet: Fleet, name: str) -> int:
    """The number of the last beat of a gateway that joined, as the controller knows it."""
    fronts = fleet.held._fronts
    assert fronts is not None
    return next(beat.number for beat in fronts._beats if beat.name.partition("@")[0] == name)


async def _beats_on(fleet: Fleet, name: str, number: int) -> bool:
    return _beat(fleet, name) > number


async def _share(fleet: Fleet) -> bool:
    found = _in_flight(fleet)
    return found.get("controller", 0) >= 3 and found.get("b", 0) >= 3


@pytest.mark.slow
async def test_the_command_joins_serves_and_leaves() -> None:
    service = service_text("chat", args=PACE, least=1, most=1)
    async with several_gateways(service) as fleet, aiohttp.ClientSession() as session:
        joined = await fleet.join_by_command("edge-2")
        await eventually("it has slots", lambda: _serves(session, joined.url), within_s=60)
        answer = await ask(session, joined.url, tokens=TOKENS)
        assert answer.whole(TOKENS), answer
        await joined.end()
        assert joined.process.returncode == 0


@pytest.mark.parametrize("name", ["", "-x", "UPPER", "a" * 70, "a b"])
def test_a_gateway_joins_by_a_name_that_can_be_one(name: str) -> None:
    from fleetctl.cli.gateway_join import run_joined
    from fleetctl.errors import UsageError

    with pytest.raises(UsageError, match="no name for a gateway"):
        run_joined(name, store=None, listen=None, metrics=None, access_log=None)


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    """Eight at once, as its processes hear of the services one after another."""
    answers = await asyncio.gather(*(ask(session, url, tokens=TOKENS) for _ in range(8)))
    return all(answer.whole(TOKENS) for answer in answers)


async def _serves(session: aiohttp.ClientSession, url: str) -> bool:
    async with session.get(f"{url}/v1/models") as answer:
        return bool((await answer.json())["data"])
