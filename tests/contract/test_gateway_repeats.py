"""How often a request reaches replicas: once, and once more at most where a replica may have begun it."""

import asyncio
import re
import socket
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import cast

import pytest
from gateway_world import (
    WITHIN_S,
    Asked,
    Client,
    Engine,
    Serve,
    answer,
    ask,
    client,
    echo,
    engine,
    in_process,
    routed,
    routes,
    service,
    until,
    until_stats,
)

from fleetctl.gateway.limits import TURNED_AWAY_MAX

POISON = b"poison"


async def fragile(one: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """An engine that dies of one request: all its connections end without a word, and nobody listens any more."""
    if asked.body != POISON:
        await one.go.wait()
        writer.write(answer(asked.body))
        return
    one.listening.close()
    for other in tuple(one.writers):
        other.close()


@pytest.mark.parametrize("count", [2, 5])
async def test_a_request_that_kills_its_replica_kills_one_more_at_most(count: int) -> None:
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(engine(fragile)) for _ in range(count)]
        gateway = await stack.enter_async_context(in_process())
        await gateway.route(routes(routed(service(), *engines, slots=1)))
        warm = [asyncio.ensure_future(ask(gateway)) for _ in engines]  # each has a connection that is kept, by then
        await until(lambda: all(one.running for one in engines))
        for one in engines:
            one.go.set()
        await asyncio.gather(*warm)

        refused = await ask(gateway, POISON)

        assert (refused.status, refused.code) == (502, "upstream_failed")
        assert sum(asked.body == POISON for one in engines for asked in one.asked) == 2


async def test_a_connection_is_not_used_again_that_a_request_still_waits_to_be_sent_on() -> None:
    taken, over = 0, asyncio.Event()

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers as soon as it has the head, and reads nothing more of this connection."""
        nonlocal taken
        await reader.readuntil(b"\r\n\r\n")
        taken += 1
        writer.write(answer(b"%d" % taken))
        await writer.drain()
        await over.wait()
        writer.close()

    server = await asyncio.start_server(hasty, "127.0.0.1", 0, limit=4096)
    try:
        async with in_process() as gateway:
            port = server.sockets[0].getsockname()[1]
            await gateway.route(routes(routed(service(), f"127.0.0.1:{port}")))

            first = await ask(gateway, bytes(24 * 1024 * 1024))
            second = await ask(gateway)

            await until(lambda: len(gateway.plane.upstreams) == 1)
        assert (first.body, second.body) == (b"1", b"2")
    finally:
        over.set()
        server.close()


async def test_answers_that_a_client_does_not_read_do_not_pile_up() -> None:
    names = tuple(f"a-model-with-a-name-of-some-length-{number}" for number in range(300))
    asking = 500
    async with in_process() as gateway, client(gateway) as greedy:
        route = routed(service())
        await gateway.route(routes(replace(route, models=names)))
        reads = cast(asyncio.Transport, greedy.writer.transport)
        reads.pause_reading()
        greedy.send(b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n" * asking)
        await until(lambda: any(one.paused for one in gateway.plane.clients))
        await asyncio.sleep(0.2)
        unread = max(one.transport.get_write_buffer_size() for one in gateway.plane.clients)
        reads.resume_reading()
        bodies = [len((await greedy.answer()).body) for _ in range(asking)]

    assert unread < 4 * bodies[0] + 128 * 1024
    assert len(set(bodies)) == 1


async def test_nothing_is_tunnelled() -> None:
    async with in_process() as gateway, client(gateway) as asking:
        asking.send(b"CONNECT /v1/x HTTP/1.1\r\nHost: a\r\n\r\n")

        refused = await asking.answer()

        assert (refused.status, refused.code) == (400, "bad_request")
        assert re.search(rb"\r\nConnection: close\r\n", refused.head)


async def test_a_client_that_stops_reading_at_the_very_end_is_not_kept_for_ever() -> None:
    loop, size = asyncio.get_running_loop(), 1024 * 1024
    async with in_process() as gateway, engine(large(size)) as one:
        gateway.plane.stalls.timeout_s = 0.3
        await gateway.route(routes(routed(service(), one)))
        host, _, port = gateway.address.partition(":")
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.setblocking(False)
            await loop.sock_connect(lazy, (host, int(port)))
            await until(lambda: len(gateway.plane.clients) == 1)
            (ours,) = gateway.plane.clients
            ours.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            await loop.sock_sendall(lazy, b"GET /v1/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            await loop.sock_recv(lazy, 1)
            while ours.exchange is not None:  # until all that is left lies with the gateway
                await loop.sock_recv(lazy, 4096)

            left = ours.transport.get_write_buffer_size()
            while left > 16 * 1024:  # and is too little for a pause
                await loop.sock_recv(lazy, 4096)
                left = ours.transport.get_write_buffer_size()

            assert left
            assert not ours.paused
            await until(lambda: not gateway.plane.clients)


async def test_clients_beyond_all_bounds_are_cut_and_take_no_files() -> None:
    async with in_process(connections_max=1) as gateway, AsyncExitStack() as stack:
        asking = [await stack.enter_async_context(client(gateway)) for _ in range(1 + TURNED_AWAY_MAX + 8)]
        told = sum([not await _is_cut(one) for one in asking[1:]])

        assert told == TURNED_AWAY_MAX
        assert len(gateway.plane.clients) <= 1 + TURNED_AWAY_MAX


async def _is_cut(one: Client) -> bool:
    try:
        async with asyncio.timeout(WITHIN_S):
            return not await one.reader.readexactly(1)
    except (ConnectionError, asyncio.IncompleteReadError):
        return True


async def test_a_request_of_http_1_0_without_a_host_is_a_whole_one_for_its_engine() -> None:
    async with in_process() as gateway, engine(echo) as one, client(gateway) as asking:
        await gateway.route(routes(routed(service(), one)))
        asking.send(b"POST /v1/x HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}")

        answered = await asking.answer()

        assert answered.body == b"POST /v1/x HTTP/1.1|{}"
        assert one.asked[0].head.count(b"\r\nHost:\r\n") == 1


def large(size: int) -> Serve:
    async def serve(_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(bytes(size)))
        await writer.drain()

    return serve


@pytest.mark.parametrize("address", ["127.0.0.1:70000", "127.0.0.1", "a..b:80"])
async def test_an_address_that_nobody_can_have_takes_no_slot(address: str) -> None:
    async with in_process() as gateway:
        name = service()
        await gateway.route(routes(routed(name, address, slots=1, timeout_s=0.3)))

        refused = await ask(gateway)

        assert (refused.status, refused.code) == (503, "queue_timeout")
        assert (await until_stats(gateway, name, lambda stats: stats.queued == 0)).in_flight == (("r0", 0),)
