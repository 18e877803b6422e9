"""Replicas that hang, lie or vanish: the client is told the truth, no slot stays taken, and others go on."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from gateway_world import (
    WITHIN_S,
    Asked,
    AsProcess,
    Engine,
    Serve,
    answer,
    ask,
    client,
    echo,
    engine,
    in_process,
    reset,
    routed,
    routes,
    saying,
    service,
    until,
    until_stats,
)
from raw_sockets import Running, linked, running_process

from fleetctl.gateway.limits import CONNECT_TIMEOUT_S, FIRST_BYTE_TIMEOUT_S, STREAM_IDLE_TIMEOUT_S, TICK_S

SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"9\r\ndata: 1\n\n\r\n"


@pytest.fixture(scope="module")
def process() -> Iterator[Running]:
    yield from running_process()


@pytest.fixture
async def gateway(process: Running) -> AsyncIterator[AsProcess]:
    async with linked(process) as one:
        yield one


class Clock:
    """A monotonic clock that a test may put forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


def hanging(said: bytes) -> Serve:
    """Says this, and then nothing for ever."""

    async def serve(engine: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await engine.go.wait()

    return serve


def cutting(said: bytes) -> Serve:
    """Says this, and resets the connection."""

    async def serve(one: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        await asyncio.sleep(0.02)  # else the reset overtakes what was said
        await reset(one, asked, writer)

    return serve


# Silent


SILENT = {
    "before a byte": b"",
    "within the head": b"HTTP/1.1 200 OK\r\nX: ",
    "after the head": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    "within the body": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
    "after the head of a stream": SSE,
    "between events": SSE + EVENT,
    "within an event": SSE + EVENT + b"9\r\nda",
    "before the end of a stream": SSE + EVENT + b"0\r\n",
}


@pytest.mark.parametrize("said", SILENT.values(), ids=SILENT.keys())
async def test_who_gives_up_on_a_silent_replica_frees_its_slot(gateway: AsProcess, said: bytes) -> None:
    name = service()
    complete = said.partition(b"\r\n\r\n")[1] != b""
    async with engine(hanging(said)) as one:
        await gateway.route(routes(routed(name, one, slots=1)))
        async with client(gateway) as asking:
            asking.post()
            await until(lambda: one.running == 1)
            if complete:  # what it did say comes at once
                assert (await asking.head()).startswith(b"HTTP/1.1 200")

        await until(lambda: one.left == 1)

        stats = await until_stats(gateway, str(name), lambda stats: dict(stats.in_flight) == {"r0": 0})
        assert (stats.completed, stats.failed) == (0, 0)


@pytest.mark.parametrize("said", SILENT.values(), ids=SILENT.keys())
async def test_a_replica_that_stays_silent_is_given_up_in_the_end(said: bytes) -> None:
    clock = Clock()
    async with in_process() as gateway, engine(hanging(said)) as one, client(gateway) as asking:
        gateway.plane.now = clock
        name = service()
        await gateway.route(routes(routed(name, one, slots=1)))
        asking.post()
        await until(lambda: one.running == 1)
        answering = b"\r\n\r\n" in said
        if answering:
            await asking.head()

        async with asyncio.timeout(WITHIN_S):
            while one.left == 0:
                clock.ahead_s += max(FIRST_BYTE_TIMEOUT_S, STREAM_IDLE_TIMEOUT_S)
                await asyncio.sleep(TICK_S)

        if not answering:
            assert (await asking.answer()).status == 504
        assert gateway.plane.running == 0


async def test_a_replica_that_never_answers_keeps_only_what_it_was_given(gateway: AsProcess) -> None:
    name = service()
    async with engine(hanging(b"")) as silent, engine(echo) as good:
        await gateway.route(routes(routed(name, silent, good, slots=2)))

        asking = [asyncio.ensure_future(ask(gateway, b"%d" % number)) for number in range(40)]
        await until(lambda: sum(one.done() for one in asking) == 38)

        stats = await until_stats(gateway, str(name), lambda stats: stats.completed == 38)
        assert (dict(stats.in_flight), stats.queued) == ({"r0": 2, "r1": 0}, 0)
        silent.go.set()  # it ends without a word, and what it had goes to the other
        for writer in tuple(silent.writers):
            writer.transport.abort()
        assert {one.status for one in await asyncio.gather(*asking)} == {200}


async def test_a_replica_whose_host_accepts_nothing_more_is_gone_round(gateway: AsProcess) -> None:
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(8):  # the kernel drops what comes when its queue is full: neither accepted nor refused
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        async with engine(echo) as good:
            await gateway.route(routes(routed(service(), f"127.0.0.1:{full.getsockname()[1]}", good, slots=1)))
            begun = time.monotonic()

            answered = await asyncio.gather(*(ask(gateway) for _ in range(10)))

            assert {one.status for one in answered} == {200}
            assert time.monotonic() - begun < CONNECT_TIMEOUT_S + 3


# Gone


MIDWAY = {
    "within a length": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
    "within a chunk": SSE + EVENT + b"9\r\nda",
    "within a size": SSE + EVENT + b"1",
    "within the last chunk": SSE + EVENT + b"0\r\n",
    "garbage for a size": SSE + EVENT + b"zz\r\n",
    "without a length": b"HTTP/1.1 200 OK\r\n\r\nabc",
}


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("said", MIDWAY.values(), ids=MIDWAY.keys())
async def test_an_answer_that_is_lost_midway_never_looks_whole(gateway: AsProcess, said: bytes, version: bytes) -> None:
    name = service()
    async with engine(cutting(said)) as one, client(gateway) as asking:
        await gateway.route(routes(routed(name, one)))
        asking.send(b"GET /v1/x HTTP/" + version + b"\r\nHost: a\r\n\r\n")
        head = await asking.head()
        with contextlib.suppress(ConnectionError):
            rest = await asking.ended()
            if b"Content-Length: 100" in head:
                assert rest == b"abc"
            elif b"chunked" in head:
                assert not rest.endswith(b"0\r\n\r\n")
            else:
                pytest.fail("an answer whose end is the end of its connection ended without a reset")

        stats = await until_stats(gateway, str(name), lambda stats: stats.failed == 1)
        assert (stats.completed, dict(stats.in_flight)) == (0, {"r0": 0})


async def test_fifty_streams_that_lose_their_replica_are_all_told_and_the_next_ones_go_elsewhere(
    gateway: AsProcess,
) -> None:
    async def serve(one: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        if len(one.asked) > 50:
            await echo(one, asked, writer)
        else:
            await hanging(SSE + EVENT)(one, asked, writer)

    name = service()
    async with engine(serve) as lost, engine(echo) as other, contextlib.AsyncExitStack() as stack:
        await gateway.route(routes(routed(name, lost, slots=50)))
        asking = [await stack.enter_async_context(client(gateway)) for _ in range(50)]
        for one in asking:
            one.post()
        await until(lambda: lost.running == 50)
        await gateway.route(routes(routed(name, lost, other, slots=50)))
        for writer in tuple(lost.writers):
            await reset(lost, lost.asked[0], writer)

        answers = [await one.answer() for one in asking]
        after = [(await ask(gateway)).status for _ in range(10)]

        for answered in answers:
            first, _, error = answered.body.partition(b"\n\n")
            assert (answered.whole, first) == (True, b"data: 1")
            assert json.loads(error.partition(b"data: ")[2])["error"]["code"] == "upstream_lost"
        assert after == [200] * 10
        stats = await until_stats(gateway, str(name), lambda stats: stats.completed == 10)
        assert (stats.failed, dict(stats.in_flight)) == (50, {"r0": 0, "r1": 0})
        assert len(lost.asked) + len(other.asked) == 60  # none of what had begun was asked twice


GARBAGE = {
    "noise": bytes(range(256)) * 300,
    "zeros": b"\x00" * 100_000,
    "one line without end": b"HTTP/1.1 200 " + b"O" * 100_000,
    "a stream of lines": b"X: y\r\n" * 20_000,
    "a banner": b"SSH-2.0-OpenSSH_9.2\r\n",
}


@pytest.mark.parametrize("said", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage_is_no_answer_and_the_next_replica_is_asked(gateway: AsProcess, said: bytes) -> None:
    name = service()
    async with engine(saying(said)) as bad, engine(saying(answer(b"good"))) as good:
        await gateway.route(routes(routed(name, bad, good, slots=1)))

        answers = await asyncio.gather(*(ask(gateway) for _ in range(6)))

        assert {(one.status, one.body) for one in answers} == {(200, b"good")}
        assert bad.asked
        stats = await until_stats(gateway, str(name), lambda stats: stats.completed == 6)
        assert (stats.failed, dict(stats.in_flight)) == (0, {"r0": 0, "r1": 0})
