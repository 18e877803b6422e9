"""The question who has requests and no replica, through a real gateway's socket."""

import asyncio
import time
from pathlib import Path

import aiohttp
from gateway_world import eventually, gateway_process

from fleetctl.gateway.link import UnixGatewayLink
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Identity, Route, Routes
from fleetctl.model.signals import Starved

CHAT = ServiceName("chat")
ENDS_S = 15.0
"""Much less than a question is held."""


async def asked(link: UnixGatewayLink, path: Path) -> tuple[float, float]:
    """When a request was sent, and when it was heard of."""
    listen = (await eventually(link.health)).listen
    await link.identify(Identity(required=False))
    await link.route(Routes(fence=1, epoch="e", routes=(Route(service=CHAT, models=(), upstreams=()),)))
    question = asyncio.create_task(link.starved(0))
    await asyncio.sleep(0.1)
    assert not question.done(), "nobody has asked yet"
    async with aiohttp.ClientSession() as session:
        sent = time.monotonic()
        request = asyncio.create_task(session.post(f"http://{listen}/v1/completions", json={"model": "chat"}))
        told = await question
        heard = time.monotonic()
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
    assert told == Starved(count=1, services=(CHAT,))
    assert await link.starved(0) == told, "whoever asks later hears of it at once"
    return sent, heard


async def test_it_is_answered_as_soon_as_a_request_meets_no_replica_and_when_the_gateway_ends() -> None:
    heard_s: list[float] = []
    for _ in range(3):
        with gateway_process() as (path, _):
            link = UnixGatewayLink(path)
            sent, heard = await asked(link, path)
            heard_s.append(heard - sent)
            waiting = asyncio.create_task(link.starved(1))
            await asyncio.sleep(0.1)
            ordered = time.monotonic()
        # It has ended: what it answered before lies in the socket.
        took_s = time.monotonic() - ordered
        last = await waiting
        await link.close()
        assert last == Starved(count=1)
        assert took_s < ENDS_S

    assert min(heard_s) < 0.05, heard_s  # the least: other tests share the machine
