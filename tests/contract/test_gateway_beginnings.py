"""Before it has been told what to serve, the gateway says that it is starting, and no more."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import Popen

import pytest
from gateway_world import (
    EVERYBODY,
    WITHIN_S,
    Answer,
    AsProcess,
    ask,
    client,
    echo,
    engine,
    eventually,
    in_process,
    routed,
    routes,
    until,
)

from fleetctl.gateway.link import UnixGatewayLink


def started(*words: str) -> Popen[bytes]:
    return Popen([sys.executable, "-m", "fleetctl.gateway", *words])


async def changed(gateway: AsProcess, path: str, before: Answer) -> Answer:
    """The first answer of another kind: workers are told a moment after the scheduler."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            answered = await ask(gateway, path=path)
            if answered.status == 200 or answered.code != before.code:
                return answered
            await asyncio.sleep(0.02)


@asynccontextmanager
async def untold(workers: int) -> AsyncIterator[AsProcess]:
    """The real processes, to which nobody has said anything."""
    with tempfile.TemporaryDirectory(prefix="fleetctl-gateway-") as folder:
        path = Path(folder) / "g.sock"
        argv = ["--listen", "127.0.0.1:0", "--admin-socket", str(path), "--workers", str(workers)]
        with started(*argv, "--log", str(Path(folder) / "log")) as running:
            link = UnixGatewayLink(path)
            try:
                yield AsProcess(link, (await eventually(link.health)).listen)
            finally:
                await link.close()
                running.terminate()
                assert await asyncio.to_thread(running.wait, WITHIN_S) == 0


@pytest.mark.parametrize("workers", [1, 2])
async def test_it_is_not_ready_before_it_knows_what_to_serve_and_whom(workers: int) -> None:
    async with engine(echo) as one, untold(workers) as gateway:
        before = [await ask(gateway), await ask(gateway, path="/healthz"), await ask(gateway, path="/v1/models")]
        await gateway.link.route(routes(routed("chat", one)))
        unknown = await changed(gateway, "/healthz", before[1])
        await gateway.link.identify(EVERYBODY)
        served = await changed(gateway, "/v1/x", unknown)

        assert {(each.status, each.code) for each in before} == {(503, "starting")}
        assert all(b"\r\nRetry-After: 1\r\n" in each.head for each in before)
        assert (unknown.status, unknown.code) == (503, "no_identity")
        assert served.status == 200


async def test_told_that_there_is_nothing_it_says_so() -> None:
    async with in_process() as gateway:
        await gateway.route(routes())

        refused = await ask(gateway)

        assert (refused.status, refused.code) == (404, "no_services")


async def test_bodies_are_refused_when_as_many_bytes_are_held_as_may_be() -> None:
    async with in_process() as gateway, client(gateway) as holds:
        gateway.plane.held_max_bytes = 1000
        await gateway.route(routes(routed("chat")))
        holds.post(bytes(900))
        await until(lambda: gateway.plane.held_bytes > 0)

        refused = await ask(gateway, bytes(200))

        assert (refused.status, refused.code) == (503, "gateway_full")
