"""Clients that are slow, silent, half gone or very many: what they hold is bounded, and others are served meanwhile."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Iterator
from typing import cast

import pytest
from gateway_world import (
    Asked,
    AsProcess,
    Engine,
    InProcess,
    client,
    echo,
    engine,
    held,
    in_process,
    routed,
    routes,
    service,
    until,
    until_stats,
)
from raw_sockets import GET, Running, answers, dial, linked, raw_upstream, running_process, say, still_serves

from fleetctl.gateway.limits import PIPELINED_LIMIT_BYTES

IDLE_CONNECTIONS = 2000
PER_CONNECTION_LIMIT_BYTES = 10_000
"""The goal for a held stream; an idle connection holds less."""
POST = b"POST /v1/x HTTP/1.1\r\nHost: a\r\n"


@pytest.fixture(scope="module")
def process() -> Iterator[Running]:
    yield from running_process()


@pytest.fixture
async def gateway(process: Running) -> AsyncIterator[AsProcess]:
    async with linked(process) as one:
        yield one


def hurry(gateway: InProcess, seconds: float) -> None:
    """Every time that a client may take, lowered."""
    for waits in (gateway.plane.heads, gateway.plane.bodies, gateway.plane.idles, gateway.plane.stalls):
        waits.timeout_s = seconds


async def drip(gateway: InProcess, begun: bytes, drops: bytes, pause_s: float = 0.02) -> bytes:
    """One byte at a time after a beginning: slow enough to last, quick enough never to be silent."""
    pieces = (drops[place : place + 1] for place in range(len(drops)))
    return await say(gateway, begun, *pieces, pause_s=pause_s)


# Slow


DRIPS = {
    "a head": (b"POST /v1/x HTTP/1.1\r\nHost: a\r\nX: ", b"y" * 500),
    "a head from its first byte": (b"", b"GET /v1/" + b"x" * 500),
    "many lines": (b"POST /v1/x HTTP/1.1\r\nHost: a\r\n", b"X: y\r\n" * 80),
    "a body with a length": (POST + b"Content-Length: 500\r\n\r\n", b"y" * 499),
    "a body in chunks": (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\ny\r\n" * 80),
    "one chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\n1f4\r\n", b"y" * 499),
    "a chunk's extension": (POST + b"Transfer-Encoding: chunked\r\n\r\n5;", b"y" * 500),
    "trailers": (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 80),
}


@pytest.mark.parametrize(("begun", "drops"), DRIPS.values(), ids=DRIPS.keys())
async def test_who_drips_bytes_is_ended_by_the_clock_and_holds_nobody_up(begun: bytes, drops: bytes) -> None:
    async with in_process() as gateway, raw_upstream() as one:
        hurry(gateway, 0.3)
        await gateway.route(routes(routed(service(), one.address)))
        dripping = [asyncio.ensure_future(drip(gateway, begun, drops)) for _ in range(20)]
        await until(lambda: len(gateway.plane.clients) == 20)
        served = [await still_serves(gateway) for _ in range(10)]
        reached = len(one.requests)

        heard = [answers(one) for one in await asyncio.gather(*dripping)]

        assert served == [b"hello"] * 10
        assert reached == len(one.requests) == 10
        assert [[said.status for said in one] for one in heard] == [[408]] * 20
        assert gateway.plane.held_bytes == 0


async def test_who_says_nothing_at_all_is_closed() -> None:
    async with in_process() as gateway:
        hurry(gateway, 0.05)

        heard = answers(await say(gateway))

        assert [said.status for said in heard] == [408]


async def test_who_waits_for_100_continue_and_then_sends_nothing_is_timed_out() -> None:
    async with in_process() as gateway, raw_upstream() as one:
        hurry(gateway, 0.05)
        await gateway.route(routes(routed(service(), one.address)))

        heard = answers(await say(gateway, POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"))

        assert [said.status for said in heard] == [100, 408]
        assert one.received == b""


# Half gone


HALVES = {
    "within a head": b"POST /v1/x HTTP/1.1\r\nHost",
    "within a body": POST + b"Content-Length: 5\r\n\r\nabc",
    "within a chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
    "before the last chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "within the trailers": POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n",
}


@pytest.mark.parametrize("raw", HALVES.values(), ids=HALVES.keys())
@pytest.mark.parametrize("reset", [False, True], ids=["half-closed", "closed"])
async def test_half_a_request_is_none(gateway: AsProcess, raw: bytes, reset: bool) -> None:
    async with raw_upstream() as one:
        await gateway.route(routes(routed(service(), one.address)))
        heard = b""
        async with dial(gateway) as (reader, writer):
            writer.write(raw)
            if not reset:
                writer.write_eof()
                heard = await reader.read()

        served = await still_serves(gateway)

        assert heard == b"" or [400 <= said.status < 500 for said in answers(heard)] == [True]
        assert (served, len(one.requests)) == (b"hello", 1)


async def test_a_client_that_closes_its_half_has_its_engine_freed(gateway: AsProcess) -> None:
    name = service()
    async with engine(held) as one:
        await gateway.route(routes(routed(name, one, slots=1)))
        async with dial(gateway) as (reader, writer):
            writer.write(GET)
            await until(lambda: one.running == 1)

            writer.write_eof()

            await until(lambda: one.left == 1)
            await until_stats(gateway, str(name), lambda stats: dict(stats.in_flight) == {"r0": 0})
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""


async def test_a_body_longer_than_it_says_is_cut_where_it_was_judged(gateway: AsProcess) -> None:
    async with raw_upstream() as one:
        await gateway.route(routes(routed(service(), one.address)))

        first, second = answers(await say(gateway, POST + b"Content-Length: 3\r\n\r\nabc" + b"{more: 1}\r\n\r\n"))

        assert (first.body, second.status) == (b"hello", 400)
        assert one.received == POST + b"Content-Length: 3\r\n\r\nabc"


# Those that do not read


async def test_who_reads_nothing_blocks_the_engine_and_not_the_gateways_memory(
    gateway: AsProcess, process: Running
) -> None:
    silent, piece = 20, b"x" * 65536
    written: dict[bytes, int] = {}

    async def serve(_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % 2**30)
        while True:
            writer.write(piece)
            await writer.drain()
            written[asked.body] = written.get(asked.body, 0) + len(piece)

    async with engine(serve) as one:
        await gateway.route(routes(routed(service(), one, slots=silent)))
        before = process.memory_bytes
        async with contextlib.AsyncExitStack() as stack:
            for number in range(silent):
                asking = await stack.enter_async_context(client(gateway))
                cast(asyncio.Transport, asking.writer.transport).pause_reading()
                asking.post(b"%d" % number)
            moved = -1
            while moved != (moved := sum(written.values())) or len(written) < silent:  # noqa: ASYNC110  until all is still
                await asyncio.sleep(0.3)
            grown = process.memory_bytes - before

        await until(lambda: one.running == 0)  # all have left

    assert max(written.values()) < 64 * 2**20  # what two kernels' buffers may hold, of a gigabyte
    assert grown / silent < 2**20


@pytest.mark.parametrize("leaves", [False, True], ids=["and stays", "and leaves"])
async def test_a_deep_pipeline_is_read_no_further_than_its_bound(gateway: AsProcess, leaves: bool) -> None:
    name, sent = service(), 0
    host, _, port = gateway.address.rpartition(":")
    async with engine(held) as one:
        await gateway.route(routes(routed(name, one, slots=1)))
        with socket.create_connection((host, int(port)), timeout=5) as asking:
            asking.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
            asking.setblocking(False)
            for _ in range(50):
                with contextlib.suppress(BlockingIOError):
                    while True:
                        sent += asking.send(GET * 1000)
                await asyncio.sleep(0.005)

            assert len(one.asked) == 1
            assert PIPELINED_LIMIT_BYTES < sent < 16 * 2**20  # the kernels' buffers take some megabytes
            if not leaves:
                one.go.set()
                await until(lambda: len(one.asked) > 100)
        if leaves:  # also where nothing is read from it: the engine must not work for nobody
            await until(lambda: one.left == 1)


async def test_five_hundred_requests_in_one_write_are_answered_in_order(gateway: AsProcess) -> None:
    async with engine(echo) as one, client(gateway) as asking:
        await gateway.route(routes(routed(service(), one)))
        asking.send(b"".join(POST + b"Content-Length: 3\r\n\r\n%03d" % number for number in range(500)))

        bodies = [(await asking.answer()).body[-3:] for _ in range(500)]

        assert bodies == [b"%03d" % number for number in range(500)]


# Very many


async def test_two_thousand_idle_connections_cost_little_each(
    gateway: AsProcess, process: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    async with raw_upstream() as one:
        await gateway.route(routes(routed(service(), one.address)))
        await still_serves(gateway)
        before = process.memory_bytes
        async with contextlib.AsyncExitStack() as stack:
            links = [await stack.enter_async_context(client(gateway)) for _ in range(IDLE_CONNECTIONS)]
            for asking in links:  # each is served once: what a client with keep-alive leaves
                asking.send(GET)
            for asking in links:
                assert (await asking.answer()).body == b"hello"
            metrics = await gateway.metrics()
            per_connection = (process.memory_bytes - before) / IDLE_CONNECTIONS

            served = await still_serves(gateway)

    counted = re.search(r"^fleetctl_gateway_client_connections (\d+)", metrics, re.MULTILINE)
    with capsys.disabled():
        print(f"\n{per_connection:.0f} B for an idle connection, {per_connection / 10:.0f} MB for 100,000")  # noqa: T201
    assert served == b"hello"
    assert counted is not None
    assert int(counted[1]) >= IDLE_CONNECTIONS
    assert per_connection < PER_CONNECTION_LIMIT_BYTES


async def test_one_connection_too_many_is_told_so_and_a_place_that_is_left_is_taken() -> None:
    async with in_process(connections_max=50) as gateway, raw_upstream() as one:
        await gateway.route(routes(routed(service(), one.address)))
        async with contextlib.AsyncExitStack() as stack:
            links = [await stack.enter_async_context(dial(gateway)) for _ in range(50)]
            await until(lambda: len(gateway.plane.clients) == 50)
            refused = [answers(await say(gateway, GET)) for _ in range(20)]
            links[0][1].close()
            await until(lambda: len(gateway.plane.clients) < 50)

            served = await still_serves(gateway)

        assert [[said.status for said in one] for one in refused] == [[503]] * 20
        assert b"too_many_connections" in refused[0][0].body
        assert b"\r\nRetry-After: " in refused[0][0].head
        assert (served, len(one.requests)) == (b"hello", 1)
