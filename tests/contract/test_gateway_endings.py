"""Told to end, the gateway answers everybody: what runs, what comes meanwhile, who stands at the door."""

import asyncio
import os
import signal
import socket

import psutil
import pytest
from gateway_world import (
    WITHIN_S,
    Answer,
    Asked,
    Client,
    Engine,
    answer,
    ask,
    client,
    echo,
    engine,
    held,
    in_process,
    routed,
    routes,
    service,
    until,
)
from lone_gateway import lines_of, listing, running

from fleetctl.gateway.draining import drain

CLOSES = b"\r\nConnection: close\r\n"


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_who_stands_before_the_door_when_it_is_told_to_end_is_answered_and_not_reset(workers: str) -> None:
    async with (
        engine(listing("a", serve=echo)) as one,
        running("--auth", "none", "--workers", workers, *lines_of(one)) as gateway,
    ):
        first = psutil.Process(gateway.process.pid)
        carrying = [child.pid for child in first.children()] or [first.pid]
        for pid in carrying:
            os.kill(pid, signal.SIGSTOP)
        waiting = []
        for _ in range(64):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            waiting.append(Client(reader, writer))
            waiting[-1].post(b"hello")

        gateway.process.send_signal(signal.SIGTERM)
        if workers != "1":
            await gateway.said("stopping")
        for pid in carrying:
            os.kill(pid, signal.SIGCONT)
        answers = [await one.answer() for one in waiting]

        assert all(one.whole for one in answers)
        assert {one.status for one in answers} <= {200, 503}
        refused = [one for one in answers if one.status == 503]
        assert {one.code for one in refused} == {"shutting_down"}
        assert all(CLOSES in one.head for one in refused)
        assert await gateway.ended() == 0
        for one_client in waiting:
            one_client.writer.close()


async def test_what_comes_while_it_ends_is_told_so_on_old_connections_and_new_ones() -> None:
    async with in_process() as gateway, engine(held) as one, client(gateway) as runs, client(gateway) as idle:
        await gateway.route(routes(routed(service(), one)))
        idle.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        well = await idle.answer()
        runs.post(b"runs")
        await until(lambda: one.running == 1)

        ending = asyncio.ensure_future(drain(gateway.plane))
        await until(lambda: gateway.plane.stopping)
        idle.post()
        late: list[Answer] = [await idle.answer(), await ask(gateway), await ask(gateway, path="/healthz")]
        one.go.set()
        answered = await runs.answer()
        await ending

        assert well.status == 200
        assert {(each.status, each.code, CLOSES in each.head) for each in late} == {(503, "shutting_down", True)}
        assert all(b"\r\nRetry-After: " in each.head for each in late)
        assert (answered.body, CLOSES in answered.head) == (b"runs", True)
        assert await idle.ended() == b""


async def test_a_request_that_is_half_there_is_refused_when_the_others_have_ended() -> None:
    async with in_process() as gateway, client(gateway) as uploading, client(gateway) as typing:
        await gateway.route(routes(routed(service())))
        uploading.send(b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
        typing.send(b"POST /v1/x HTTP/1.1\r\nHo")
        await until(lambda: not any(one.resting for one in gateway.plane.clients))
        await until(lambda: len(gateway.plane.clients) == 2)

        await drain(gateway.plane)

        refused = [await uploading.answer(), await typing.answer()]
        assert {(one.status, one.code, CLOSES in one.head) for one in refused} == {(503, "shutting_down", True)}


async def test_an_answer_that_its_client_is_still_reading_is_not_cut() -> None:
    loop, size = asyncio.get_running_loop(), 512 * 1024

    async def large(_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(bytes(size)))
        await writer.drain()

    async with in_process() as gateway, engine(large) as one:
        await gateway.route(routes(routed(service(), one)))
        host, _, port = gateway.address.partition(":")
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.setblocking(False)
            await loop.sock_connect(slow, (host, int(port)))
            await until(lambda: len(gateway.plane.clients) == 1)
            (ours,) = gateway.plane.clients
            ours.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            await loop.sock_sendall(slow, b"GET /v1/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            got = len(await loop.sock_recv(slow, 1))
            while ours.exchange is not None:  # until all that is left lies with the gateway
                got += len(await loop.sock_recv(slow, 4096))
            left = ours.transport.get_write_buffer_size()

            ending = asyncio.ensure_future(drain(gateway.plane))
            await until(lambda: gateway.plane.stopping)
            async with asyncio.timeout(WITHIN_S):
                while data := await loop.sock_recv(slow, 4096):
                    got += len(data)
            await ending

        assert left
        assert got > size


async def test_with_nobody_there_it_ends_at_once() -> None:
    async with in_process() as gateway:
        began = gateway.plane.now()

        await drain(gateway.plane)

        assert gateway.plane.now() - began < 0.2
