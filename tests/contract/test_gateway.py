"""The gateway between real sockets: in this process on asyncio's loop, and as the real process on uvloop's."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
from gateway_world import (
    WITHIN_S,
    Asked,
    AsProcess,
    Engine,
    Gateway,
    Serve,
    answer,
    ask,
    busy,
    client,
    echo,
    engine,
    eventually,
    gateway_process,
    held,
    in_process,
    reset,
    routed,
    routes,
    saying,
    service,
    until,
    until_stats,
)
from prometheus_client.parser import text_string_to_metric_families

from fleetctl.gateway.draining import drain
from fleetctl.gateway.link import UnixGatewayLink
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Route, Routes, Upstream
from fleetctl.model.signals import QueueStats

TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
QUIET_S = 0.2
"""How long a test watches that something does not happen."""


@pytest.fixture(scope="module")
def process() -> Iterator[tuple[Path, int]]:
    with gateway_process() as running:
        yield running


def all_quiet(stats: Mapping[ServiceName, QueueStats]) -> bool:
    return not any(one.queued or any(dict(one.in_flight).values()) for one in stats.values())


@pytest.fixture(params=["asyncio", "uvloop"])
async def gateway(request: pytest.FixtureRequest) -> AsyncIterator[Gateway]:
    if request.param == "asyncio":
        async with in_process() as gateway:
            yield gateway
        return
    path, _ = request.getfixturevalue("process")
    link = UnixGatewayLink(path)
    try:
        yield AsProcess(link, (await eventually(link.health)).listen)
        await link.route(Routes(fence=1, routes=()))
        async with asyncio.timeout(WITHIN_S):  # nothing is left in a slot or in the queue
            while not all_quiet(await link.stats()):  # noqa: ASYNC110  the other process sets no event of ours
                await asyncio.sleep(0.01)
    finally:
        await link.close()


# Passing through


async def test_request_and_answer_pass_unchanged_but_for_the_headers_of_one_connection(gateway: Gateway) -> None:
    said = (
        b"HTTP/1.1 201 Very Created\r\nX-Odd:  kept \r\nSet-Cookie: a\r\nset-cookie: b\r\nKeep-Alive: timeout=5\r\n"
        b"Connection: keep-alive\r\nContent-Length: 3\r\n\r\nabc"
    )

    async def serve(_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(said)

    async with engine(serve) as one, client(gateway) as asking:
        await gateway.route(routes(routed(service(), one)))
        asking.send(
            b"PUT /v1/x?y=%20z HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nX-Odd:\tv\r\n"
            b"Content-Length: 2\r\nX-Request-Id: abc\r\ntraceparent: " + TRACE + b"\r\n\r\nhi"
        )
        answered = await asking.answer()

        assert one.asked[0].head == (
            b"PUT /v1/x?y=%20z HTTP/1.1\r\nHost: h\r\nX-Odd:\tv\r\nContent-Length: 2\r\ntraceparent: " + TRACE
            + b"\r\nx-request-id: abc\r\n\r\n"
        )  # fmt: skip
        assert one.asked[0].body == b"hi"
    assert answered.head == (
        b"HTTP/1.1 201 Very Created\r\nX-Odd:  kept \r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 3\r\n"
        b"x-request-id: abc\r\n\r\n"
    )
    assert answered.body == b"abc"


async def test_server_sent_events_pass_at_once_and_byte_for_byte(gateway: Gateway) -> None:
    pieces = [b"data: %d\n\n" % number for number in range(5)]
    chunks = [b"%X;x=y\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    step = asyncio.Semaphore(0)

    async def serve(_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for chunk in chunks:
            await step.acquire()
            writer.write(chunk)
        writer.write(b"0\r\n\r\n")

    async with engine(serve) as one, client(gateway) as asking:
        await gateway.route(routes(routed(service(), one)))
        asking.post()
        await asking.head()
        for chunk in chunks:  # the next is not even written before this one has arrived
            step.release()
            async with asyncio.timeout(WITHIN_S):
                assert await asking.reader.readexactly(len(chunk)) == chunk
        assert await asking.reader.readexactly(5) == b"0\r\n\r\n"
        asking.post()

        assert (await asking.head()).startswith(b"HTTP/1.1 200")
        for _ in chunks:
            step.release()


async def test_connections_are_reused_on_both_sides(gateway: Gateway) -> None:
    async with engine(echo) as one, client(gateway) as asking:
        await gateway.route(routes(routed(service(), one)))
        for number in range(20):
            asking.post(b"%d" % number)
            assert (await asking.answer()).body == b"POST /v1/x HTTP/1.1|%d" % number

        assert one.connections == 1


async def test_pipelined_requests_are_answered_in_order(gateway: Gateway) -> None:
    async with engine(echo) as one, client(gateway) as asking:
        await gateway.route(routes(routed(service(), one)))
        for number in range(50):
            asking.post(b"%d" % number)

        answers = [await asking.answer() for _ in range(50)]

        assert [answered.body.partition(b"|")[2] for answered in answers] == [b"%d" % number for number in range(50)]
        assert one.most_running == 1


async def test_a_request_that_comes_byte_by_byte(gateway: Gateway) -> None:
    async with engine(echo) as one, client(gateway) as asking:
        await gateway.route(routes(routed(service(), one)))
        raw = b"POST /v1/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"
        for position in range(len(raw)):
            asking.send(raw[position : position + 1])
            await asking.writer.drain()
            await asyncio.sleep(0)

        answered = await asking.answer()

        assert answered.body.endswith(b"|abcde")
        assert b"transfer-encoding" not in one.asked[0].head.lower()  # forwarded with its length, now known


async def test_expect_continue_is_answered(gateway: Gateway) -> None:
    async with engine(echo) as one, client(gateway) as asking:
        await gateway.route(routes(routed(service(), one)))
        asking.send(b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        interim = await asking.head()
        asking.send(b"hi")

        assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await asking.answer()).body.endswith(b"|hi")


@pytest.mark.parametrize(
    ("raw", "body", "why"),
    [
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nX: y\r\n\r\n" + answer(b"abc"),
            b"abc",
            "interim answers",
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", b"abc", "no length: until the connection ends"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc", "an old server"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc", b"abc", "it closes"),
        (answer(b"abc") + b"EXTRA", b"abc", "more than was said is not passed on"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", "no body by definition"),
        (b"HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc", b"abc", "no reason phrase"),
    ],
)
async def test_odd_but_clear_answers_are_understood(gateway: Gateway, raw: bytes, body: bytes, why: str) -> None:
    async with engine(saying(raw)) as one:
        await gateway.route(routes(routed(service(), one)))

        answered = await ask(gateway, extra=b"Connection: close\r\n")

        assert (answered.body, answered.whole) == (body, True)
        assert answered.head.startswith(b"HTTP/1.1 2")


@pytest.mark.parametrize(
    "said",
    [answer(b"abc"), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"],
    ids=["counted", "chunked"],
)
async def test_a_connection_that_said_too_much_is_not_used_again(gateway: Gateway, said: bytes) -> None:
    async def serve(_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(said + answer(b"for somebody else"))

    async with engine(serve) as one, client(gateway) as asking:
        await gateway.route(routes(routed(service(), one)))
        for _ in range(3):
            asking.post()
            assert (await asking.answer()).body == b"abc"

        assert one.connections == 3


async def test_an_http_1_0_client_gets_no_chunks(gateway: Gateway) -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    async with engine(saying(raw)) as one, client(gateway) as asking:
        await gateway.route(routes(routed(service(), one)))
        asking.send(b"GET /v1/x HTTP/1.0\r\nX-Request-Id: abc\r\n\r\n")

        assert await asking.ended() == (
            b"HTTP/1.1 200 OK\r\nX: y\r\nConnection: close\r\nx-request-id: abc\r\n\r\nabcde"
        )
        assert one.asked[0].line == b"GET /v1/x HTTP/1.1"


async def test_a_head_request_has_no_body_and_the_connection_goes_on(gateway: Gateway) -> None:
    async def serve(_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        whole = answer(b"abc")
        writer.write(whole.removesuffix(b"abc") if asked.line.startswith(b"HEAD") else whole)

    async with engine(serve) as one, client(gateway) as asking:
        await gateway.route(routes(routed(service(), one)))
        asking.send(b"HEAD /v1/x HTTP/1.1\r\nHost: a\r\n\r\n")
        first = await asking.answer(bodiless=True)
        asking.post()
        second = await asking.answer()

        assert (first.status, second.body, one.connections) == (200, b"abc", 1)


async def test_a_slow_client_slows_the_engine_down_and_still_gets_everything(gateway: Gateway) -> None:
    total, piece = 64 * 2**20, b"x" * 65536
    written = 0

    async def serve(_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        while written < total:
            writer.write(piece)
            written += len(piece)
            await writer.drain()

    async with engine(serve) as one, client(gateway) as asking:
        await gateway.route(routes(routed(service(), one)))
        asking.post()
        await asking.head()
        before = -1
        while before != written:  # until nothing moves any more
            before = written
            await asyncio.sleep(QUIET_S)
        stuck_at = written
        got = 0
        async with asyncio.timeout(WITHIN_S):
            while got < total:
                got += len(await asking.reader.read(2**20))

    assert stuck_at < total / 2
    assert got == total


# The queue


async def test_a_request_held_at_zero_is_answered_as_soon_as_a_replica_comes(gateway: Gateway) -> None:
    name = service()
    async with engine(echo) as one, client(gateway) as asking:
        await gateway.route(routes(routed(name)))
        asking.post(b"patient")
        held_stats = await until_stats(gateway, name, lambda stats: stats.queued == 1)

        await gateway.route(routes(routed(name, one)))

        assert (await asking.answer()).body.endswith(b"|patient")
        done = await until_stats(gateway, name, lambda stats: stats.completed == 1)
        assert held_stats.oldest_wait_s >= 0
        assert (done.queued, done.in_flight, done.arrived) == (0, (("r0", 0),), 1)


async def test_no_replica_gets_more_than_its_slots_and_all_are_answered(gateway: Gateway) -> None:
    async def serve(_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.005)
        writer.write(answer(asked.body))

    name = service()
    async with engine(serve) as one, engine(serve) as two:
        await gateway.route(routes(routed(name, one, two, slots=3)))

        answers = await asyncio.gather(*(ask(gateway, b"%d" % number) for number in range(60)))

        assert [answered.body for answered in answers] == [b"%d" % number for number in range(60)]
        assert (one.most_running, two.most_running) == (3, 3)
        assert min(len(one.asked), len(two.asked)) > 15


async def test_a_new_replica_takes_its_share_of_the_backlog_at_once(gateway: Gateway) -> None:
    name = service()
    async with engine(held) as slow, engine(held) as fresh:
        await gateway.route(routes(routed(name, slow, slots=2)))
        asking = [asyncio.ensure_future(ask(gateway)) for _ in range(6)]
        await until_stats(gateway, name, lambda stats: stats.queued == 4)

        await gateway.route(routes(routed(name, slow, fresh, slots=2)))
        await until(lambda: fresh.running == 2)
        slow.go.set()
        fresh.go.set()

        assert {answered.status for answered in await asyncio.gather(*asking)} == {200}


async def test_a_draining_replica_ends_its_requests_and_gets_no_more(gateway: Gateway) -> None:
    name = service()
    async with engine(held) as old, engine(echo) as new:
        await gateway.route(routes(routed(name, old)))
        running = asyncio.ensure_future(ask(gateway, b"old"))
        await until(lambda: old.running == 1)

        both = routed(name, old, new)
        drained = (
            Upstream(replica=ReplicaId("r0"), address=old.address, slots=0),
            Upstream(replica=ReplicaId("r1"), address=new.address, slots=8),
        )
        await gateway.route(
            routes(Route(service=both.service, models=(), upstreams=drained, queue_limit=9, queue_timeout_s=60))
        )
        later = [await ask(gateway) for _ in range(5)]
        during = await until_stats(gateway, name, lambda _: True)
        old.go.set()

        assert (await running).body == b"old"
        assert {answered.status for answered in later} == {200}
        assert len(old.asked) == 1
        assert dict(during.in_flight)["r0"] == 1
        after = await until_stats(gateway, name, lambda stats: dict(stats.in_flight)["r0"] == 0)
        assert after.completed == 6


async def test_a_full_queue_refuses_with_429_and_the_connection_stays(gateway: Gateway) -> None:
    name = service()
    async with engine(echo) as one, client(gateway) as first, client(gateway) as second:
        await gateway.route(routes(routed(name, limit=1)))
        first.post()
        await until_stats(gateway, name, lambda stats: stats.queued == 1)
        second.post()
        refused = await second.answer()
        await gateway.route(routes(routed(name, one)))
        second.post(b"again")

        assert (refused.status, refused.code) == (429, "queue_full")
        assert re.search(rb"\r\nRetry-After: [1-9]", refused.head)
        assert (await second.answer()).body.endswith(b"|again")
        assert (await first.answer()).status == 200


async def test_a_request_that_waits_too_long_gets_503(gateway: Gateway) -> None:
    name = service()
    await gateway.route(routes(routed(name, timeout_s=0.1)))

    answered = await ask(gateway)

    assert (answered.status, answered.code) == (503, "queue_timeout")
    stats = await until_stats(gateway, name, lambda stats: stats.failed == 1)
    assert (stats.queued, stats.arrived) == (0, 1)


async def test_a_service_taken_down_refuses_what_it_held(gateway: Gateway) -> None:
    name, other = service(), service()
    async with client(gateway) as asking:
        await gateway.route(routes(routed(name)))
        asking.post()
        await until_stats(gateway, name, lambda stats: stats.queued == 1)

        await gateway.route(routes(routed(other)))

        assert (await asking.answer()).code == "service_removed"


# Clients that leave


async def test_a_client_that_leaves_while_queued_is_forgotten(gateway: Gateway) -> None:
    name = service()
    async with engine(echo) as one:
        await gateway.route(routes(routed(name)))
        async with client(gateway) as asking:
            asking.post()
            await until_stats(gateway, name, lambda stats: stats.queued == 1)
        await until_stats(gateway, name, lambda stats: stats.queued == 0)
        await gateway.route(routes(routed(name, one)))

        assert (await ask(gateway, b"x")).status == 200
        assert len(one.asked) == 1


@pytest.mark.parametrize("begun", [False, True], ids=["before the answer", "within the answer"])
async def test_a_client_that_leaves_has_its_engine_freed_at_once(gateway: Gateway, begun: bool) -> None:
    async def serve(engine: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        if begun:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        await engine.go.wait()

    name = service()
    async with engine(serve) as one:
        await gateway.route(routes(routed(name, one, slots=1)))
        async with client(gateway) as asking:
            asking.post()
            await until(lambda: one.running == 1)
            if begun:
                await asking.head()

        await until(lambda: one.left == 1)

        stats = await until_stats(gateway, name, lambda stats: dict(stats.in_flight) == {"r0": 0})
        assert (stats.completed, stats.failed) == (0, 0)


# Replicas that fail


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (saying(b""), "closes without a word"),
        (reset, "resets"),
        (busy, "says 503"),
        (saying(answer(b"", "502 Bad Gateway")), "says 502"),
        (saying(b"HTTP/1.1 200 O"), "closes within the head"),
        (saying(b"\x00\x01garbage\r\n\r\n"), "is no HTTP server"),
        (saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), "two framings"),
        (saying(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), "switches protocols"),
        (saying(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000), "an endless head"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_replica_that_fails_before_the_first_byte_is_replaced_by_another(
    gateway: Gateway, bad: Serve, why: str
) -> None:
    async with engine(bad) as broken, engine(held) as good:
        good.go.set()
        name = service()
        await gateway.route(routes(routed(name, broken, good, slots=1)))

        answers = [await ask(gateway, b"%d" % number) for number in range(4)]

        assert [answered.body for answered in answers] == [b"0", b"1", b"2", b"3"]
        assert broken.asked
        stats = await until_stats(gateway, name, lambda stats: stats.completed == 4)
        assert (stats.failed, dict(stats.in_flight)) == (0, {"r0": 0, "r1": 0})


async def test_when_every_replica_breaks_the_client_is_told(gateway: Gateway) -> None:
    async with engine(reset) as one, engine(saying(b"")) as two:
        await gateway.route(routes(routed(service(), one, two)))

        answered = await ask(gateway)

        assert (answered.status, answered.code) == (502, "upstream_failed")
        assert len(one.asked) + len(two.asked) == 2


async def test_the_503_of_the_last_replica_is_passed_on(gateway: Gateway) -> None:
    async with engine(busy) as one, engine(busy) as two:
        await gateway.route(routes(routed(service(), one, two)))

        answered = await ask(gateway)

        assert (answered.status, answered.body) == (503, b"engine says no")
        assert len(one.asked) + len(two.asked) == 2


async def test_a_replica_that_does_not_listen_holds_nothing_up(gateway: Gateway) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and never listening: connections are refused
        async with engine(echo) as good:
            await gateway.route(routes(routed(service(), f"127.0.0.1:{taken.getsockname()[1]}", good, slots=1)))

            answers = await asyncio.gather(*(ask(gateway) for _ in range(20)))

            assert {answered.status for answered in answers} == {200}


async def test_a_request_survives_the_restart_of_the_only_replica(gateway: Gateway) -> None:
    name = service()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        await gateway.route(routes(routed(name, f"127.0.0.1:{port}")))
        asking = asyncio.ensure_future(ask(gateway, b"patient"))
        await until_stats(gateway, name, lambda stats: stats.queued == 1)
    async with engine(echo, port):
        assert (await asking).body.endswith(b"|patient")


async def test_a_stale_kept_connection_is_no_failure(gateway: Gateway) -> None:
    async def serve(engine: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        if len(engine.asked) % 2 == 0:  # the second request of each connection finds it closed
            writer.transport.abort()
            return
        writer.write(answer(asked.body))

    name = service()
    async with engine(serve) as one, client(gateway) as asking:
        await gateway.route(routes(routed(name, one, slots=1)))
        for number in range(4):
            asking.post(b"%d" % number)
            assert (await asking.answer()).body == b"%d" % number

        metrics = await gateway.metrics()
        assert f'fleetctl_gateway_retries_total{{service="{name}"}} 0\n' in metrics
        assert (len(one.asked), one.connections) == (7, 4)


async def test_a_length_that_is_not_kept_reaches_the_client_as_incomplete(gateway: Gateway) -> None:
    name = service()
    async with engine(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")) as one:
        await gateway.route(routes(routed(name, one)))

        answered = await ask(gateway)

        assert (answered.body, answered.whole) == (b"abc", False)
        assert (await until_stats(gateway, name, lambda stats: stats.failed == 1)).completed == 0


SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_stream_that_dies_between_events_ends_with_an_error_event(gateway: Gateway) -> None:
    async with engine(saying(SSE + b"9\r\ndata: 1\n\n\r\n")) as one:
        await gateway.route(routes(routed(service(), one)))

        answered = await ask(gateway)

        events = answered.body.split(b"\n\n")
        assert (events[0], answered.whole) == (b"data: 1", True)
        said = next(event for event in events[1:] if event)
        assert said.startswith(b"event: error\ndata: ")
        assert json.loads(said.partition(b"data: ")[2])["error"]["code"] == "upstream_lost"


@pytest.mark.parametrize(
    "rest", [b"9\r\ndata: 1", b"9\r\ndata: 1\n\n\r\nzz\r\n"], ids=["within a chunk", "malformed chunk"]
)
async def test_a_stream_that_dies_elsewhere_is_cut(gateway: Gateway, rest: bytes) -> None:
    async with engine(saying(SSE + rest)) as one:
        await gateway.route(routes(routed(service(), one)))

        async with client(gateway) as asking:
            asking.post()
            received = await asking.ended()

        assert received.startswith(SSE.removesuffix(b"\r\n"))
        assert b"event: error" not in received
        assert not received.endswith(b"\r\n0\r\n\r\n")


async def test_a_replica_killed_with_a_queue_behind_it_costs_no_request(gateway: Gateway) -> None:
    async def serve(engine: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        await engine.go.wait()
        await asyncio.sleep(0.002)
        writer.write(answer(asked.body))

    name = service()
    async with engine(serve) as survivor:
        async with engine(serve) as victim:
            await gateway.route(routes(routed(name, victim, survivor, slots=4)))
            asking = [asyncio.ensure_future(ask(gateway, b"%d" % number)) for number in range(40)]
            await until_stats(gateway, name, lambda stats: stats.queued == 32)
            victim.serve = reset
            for writer in tuple(victim.writers):
                writer.transport.abort()
        survivor.go.set()

        answers = await asyncio.gather(*asking)

        assert [answered.body for answered in answers] == [b"%d" % number for number in range(40)]
        stats = await until_stats(gateway, name, lambda stats: stats.completed == 40)
        assert (stats.failed, dict(stats.in_flight)) == (0, {"r0": 0, "r1": 0})


# What is refused


@pytest.mark.parametrize(
    ("raw", "status", "why"),
    [
        (
            b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "CL+TE",
        ),
        (b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabc", 400, "two lengths"),
        (b"POST /v1/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, "space before colon"),
        (b"POST /v1/x HTTP/1.1\r\nHost: a\r\nX: y\r\n Content-Length: 3\r\n\r\nabc", 400, "folded"),
        (b"GET /v1/x HTTP/1.1\nHost: a\n\n", 400, "bare line feeds, answered without waiting"),
        (b"GET /v1/x HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", 400, "NUL"),
        (b"POST /v1/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", 400, "bad chunk"),
        (b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", 413, "too large, known from its head"),
        (b"GET /v1/x HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70_000, 400, "an endless head"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "TLS"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "HTTP/2"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 501, "WebSocket"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_could_be_misread_is_refused_and_ends_the_connection(
    gateway: Gateway, raw: bytes, status: int, why: str
) -> None:
    smuggled = b"GET /v1/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    async with engine(echo) as one, client(gateway) as asking:
        await gateway.route(routes(routed(service(), one)))
        asking.send(raw + smuggled)
        refused = await asking.answer()
        rest = await asking.ended()

        assert (refused.status, rest, one.asked) == (status, b"", [])
        assert b"\r\nConnection: close\r\n" in refused.head


async def test_an_upgrade_that_may_be_ignored_is_ignored(gateway: Gateway) -> None:
    async with engine(echo) as one:
        await gateway.route(routes(routed(service(), one)))

        extra = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\n"
        answered = await ask(gateway, extra=extra)

        assert answered.status == 200
        assert b"pgrade" not in one.asked[0].head


async def test_requests_find_their_service_by_model_path_or_header(gateway: Gateway) -> None:
    async def serve_b(_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"b:" + asked.line))

    a, b = service(), service()
    async with engine(echo) as one, engine(serve_b) as two:
        await gateway.route(routes(routed(a, one), routed(b, two)))
        by_model = await ask(gateway, json.dumps({"model": f"org/{b}"}).encode())
        by_path = await ask(gateway, path=f"/{b}/v1/y")
        by_header = await ask(gateway, extra=f"X-Fleetctl-Service: {b}\r\n".encode())
        unknown = await ask(gateway, b'{"model": "zzz"}')
        steering = await ask(gateway, path=f"/{b}/sleep?level=1")

        assert by_model.body == by_header.body == b"b:POST /v1/x HTTP/1.1"
        assert by_path.body == b"b:POST /v1/y HTTP/1.1"
        assert (unknown.status, unknown.code) == (404, "model_not_found")
        assert a in unknown.body.decode()
        assert (steering.status, steering.code) == (403, "control_path")
        assert b"x-fleetctl" not in two.asked[-1].head.lower()


async def test_the_gateway_answers_for_itself(gateway: Gateway) -> None:
    name = service()
    async with client(gateway) as asking:
        await gateway.route(routes())
        asking.post()
        nothing = await asking.answer()
        await gateway.route(routes(routed(name)))
        asking.send(
            b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\nGET /v1/models/org/%b HTTP/1.1\r\nHost: a\r\n\r\n"
            % name.encode()
        )
        models, model = await asking.answer(), await asking.answer()
        asking.send(b"HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        head, health = await asking.answer(bodiless=True), await asking.answer()

    assert (nothing.status, nothing.code) == (404, "no_services")
    assert {entry["id"] for entry in json.loads(models.body)["data"]} == {name, f"org/{name}"}
    assert json.loads(model.body)["id"] == f"org/{name}"
    assert (head.status, json.loads(health.body)) == (200, {"status": "ok"})


async def test_metrics_can_be_read_by_prometheus_and_add_up(gateway: Gateway) -> None:
    name = service()
    async with engine(echo) as one:
        await gateway.route(routes(routed(name, one)))
        for _ in range(3):
            await ask(gateway)
        await until_stats(gateway, name, lambda stats: stats.completed == 3)

        families = {family.name: family for family in text_string_to_metric_families(await gateway.metrics())}

    def value(family: str, sample: str, **labels: str) -> float:
        wanted = {"service": name, **labels}
        return next(one.value for one in families[family].samples if one.name == sample and one.labels == wanted)

    prefix = "fleetctl_gateway_"
    assert value(f"{prefix}requests", f"{prefix}requests_total", outcome="answered") == 3
    for histogram in (f"{prefix}ttft_seconds", f"{prefix}duration_seconds"):
        assert value(histogram, f"{histogram}_count") == 3
        assert value(histogram, f"{histogram}_bucket", le="+Inf") == 3
        assert 0 < value(histogram, f"{histogram}_sum") < WITHIN_S


# Many


@pytest.mark.slow
async def test_a_thousand_streams_at_once(process: tuple[Path, int]) -> None:
    streams, events = 1000, 5
    path, pid = process

    async def serve(engine: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(SSE)
        await engine.go.wait()  # nobody is answered before everybody runs
        for number in range(events):
            writer.write(b"a\r\ndata: %02d\n\n\r\n" % number)
            await asyncio.sleep(0.05)
        writer.write(b"0\r\n\r\n")

    link = UnixGatewayLink(path)
    name = service()
    try:
        gateway = AsProcess(link, (await eventually(link.health)).listen)
        async with engine(serve) as one:
            await gateway.route(routes(routed(name, one, slots=streams)))
            asking = [asyncio.ensure_future(ask(gateway)) for _ in range(streams)]
            await until(lambda: one.running == streams)
            memory_kb = int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])  # type: ignore[index]
            one.go.set()

            answers = await asyncio.gather(*asking)

        expected = b"".join(b"data: %02d\n\n" % number for number in range(events))
        assert {answered.body for answered in answers} == {expected}
        assert memory_kb < 200_000
        stats = await until_stats(gateway, name, lambda stats: stats.completed == streams)
        assert (stats.failed, dict(stats.in_flight)) == (0, {"r0": 0})
    finally:
        await link.route(Routes(fence=1, routes=()))
        await link.close()


# Bounds that need a short time or a small number: in this process only


async def test_a_head_that_does_not_end_is_timed_out() -> None:
    async with in_process() as gateway, client(gateway) as asking:
        gateway.plane.heads.timeout_s = 0.05
        asking.send(b"POST /v1/x HTTP/1.1\r\nHost")

        answered = await asking.answer()

        assert (answered.status, answered.code, await asking.ended()) == (408, "request_timeout", b"")


async def test_a_body_that_does_not_end_is_timed_out() -> None:
    async with in_process() as gateway, client(gateway) as asking:
        gateway.plane.bodies.timeout_s = 0.05
        asking.send(b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")

        assert (await asking.answer()).status == 408
        assert gateway.plane.held_bytes == 0


async def test_an_idle_connection_is_closed() -> None:
    async with in_process() as gateway, client(gateway) as asking:
        gateway.plane.idles.timeout_s = 0.05
        asking.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        await asking.answer()

        assert await asking.ended() == b""


async def test_a_client_that_reads_nothing_is_dropped_and_its_engine_freed() -> None:
    async def serve(_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % 2**30)
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with in_process() as gateway, engine(serve) as one, client(gateway) as asking:
        gateway.plane.stalls.timeout_s = 0.1
        await gateway.route(routes(routed(service(), one)))
        asking.post()

        await until(lambda: one.running == 1)

        await until(lambda: one.running == 0)

        assert gateway.plane.running == 0


async def test_more_connections_than_files_are_refused() -> None:
    async with in_process(connections_max=1) as gateway, client(gateway), client(gateway) as second:
        answered = await second.answer()

        assert (answered.status, answered.code) == (503, "too_many_connections")


async def test_unused_connections_to_replicas_are_closed() -> None:
    async with in_process() as gateway, engine(echo) as one:
        gateway.plane.pools.timeout_s = 0.05
        await gateway.route(routes(routed(service(), one)))
        await ask(gateway)

        await until(lambda: not one.writers)

        assert gateway.plane.upstreams == set()


async def test_stopping_ends_what_runs_and_refuses_what_waits() -> None:
    async with in_process() as gateway, engine(held) as one, client(gateway) as idle:
        name = service()
        await gateway.route(routes(routed(name, one, slots=1)))
        running = asyncio.ensure_future(ask(gateway, b"runs"))
        await until(lambda: one.running == 1)
        waiting = asyncio.ensure_future(ask(gateway, b"waits"))
        await until_stats(gateway, name, lambda stats: stats.queued == 1)

        stopping = asyncio.ensure_future(drain(gateway.plane))
        refused = await waiting
        ended = await idle.ended()
        one.go.set()

        assert (refused.status, refused.code, ended) == (503, "shutting_down", b"")
        assert (await running).body == b"runs"
        await stopping
