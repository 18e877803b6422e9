"""Metadata services of three clouds, for tests: ours, in the shapes that the clouds document. Not recorded from any.

Each is a real HTTP server on loopback, refuses what the cloud's own would refuse (a missing token, a missing header),
and counts how many questions it was asked at once.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any, Protocol

from aiohttp import web


class Asked:
    """What a server was asked, and its levers."""

    def __init__(self) -> None:
        self.paths: Counter[str] = Counter()
        self.at_once = 0
        self.most_at_once = 0
        self.broken: tuple[int, str] | None = None
        """What every question is answered with."""
        self.delay_s = 0.0

    @web.middleware
    async def watched(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.paths[request.path] += 1
        try:
            await asyncio.sleep(self.delay_s)
            if self.broken is not None:
                return web.Response(status=self.broken[0], text=self.broken[1])
            found: web.StreamResponse = await handler(request)
            return found
        finally:
            self.at_once -= 1


class Metadata(Protocol):
    asked: Asked

    def routes(self) -> list[web.RouteDef]: ...

    def take(self, seconds: float) -> float:
        """Announce that the machine is taken in so many seconds; the deadline that is to be read from it."""
        ...

    def relent(self) -> None:
        """Say nothing any more."""
        ...


class Ec2:
    """IMDSv2: a token by PUT, then JSON documents that are 404 while there is nothing to say."""

    def __init__(self) -> None:
        self.asked = Asked()
        self.documents: dict[str, object] = {}
        self._tokens: set[str] = set()
        self._numbers = itertools.count()

    def routes(self) -> list[web.RouteDef]:
        return [web.put("/latest/api/token", self._token), web.get("/latest/meta-data/{name:.*}", self._document)]

    def take(self, seconds: float) -> float:
        at = int(time.time() + seconds)
        self.documents["spot/instance-action"] = {"action": "terminate", "time": _iso(at)}
        return float(at)

    def relent(self) -> None:
        self.documents.clear()

    def forget_tokens(self) -> None:
        self._tokens.clear()

    async def _token(self, request: web.Request) -> web.Response:
        lifetime = request.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if not lifetime.isdigit() or not 1 <= int(lifetime) <= 21600:
            return web.Response(status=400)
        token = f"token-{next(self._numbers)}=="
        self._tokens.add(token)
        return web.Response(text=token)

    async def _document(self, request: web.Request) -> web.Response:
        if request.headers.get("X-aws-ec2-metadata-token") not in self._tokens:
            return web.Response(status=401)
        found = self.documents.get(request.match_info["name"])
        return web.Response(status=404) if found is None else web.json_response(found)


class ComputeEngine:
    """The metadata server: plain words, an ETag for each, and questions that it holds until something changes."""

    def __init__(self) -> None:
        self.asked = Asked()
        self.values = {"preempted": "FALSE", "maintenance-event": "NONE"}
        self._changed = asyncio.Condition()
        self._tags = {"preempted": "aa00", "maintenance-event": "bb00"}

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/computeMetadata/v1/instance/{name}", self._value)]

    def take(self, seconds: float) -> float:
        self.say("preempted", "TRUE")
        return time.time() + 30.0  # whatever the test would like: nothing but this is promised

    def relent(self) -> None:
        self.say("preempted", "FALSE")
        self.say("maintenance-event", "NONE")

    def say(self, name: str, value: str) -> None:
        self.values[name] = value
        self._tags[name] = f"{hash((name, value, time.monotonic())) & 0xFFFFFFFF:x}"
        asyncio.get_running_loop().create_task(self._wake()).add_done_callback(lambda _: None)

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _value(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if request.headers.get("Metadata-Flavor") != "Google":
            return web.Response(status=403)
        if name not in self.values:
            return web.Response(status=404)
        if request.query.get("wait_for_change") == "true":
            known = request.query.get("last_etag") or self._tags[name]
            held_s = float(request.query.get("timeout_sec", "3600"))
            try:
                async with asyncio.timeout(held_s), self._changed:
                    await self._changed.wait_for(lambda: self._tags[name] != known)
            except TimeoutError:
                pass
        return web.Response(text=self.values[name], headers={"ETag": self._tags[name]})


class AzureVm:
    """Scheduled Events: one JSON document for every machine of a set; off, and slow, until it is first asked."""

    NAME = "chat-1"

    def __init__(self, *, first_s: float = 0.0) -> None:
        self.asked = Asked()
        self.events: list[dict[str, object]] = []
        self.first_s = first_s
        self._incarnation = itertools.count(1)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/metadata/instance/compute/name", self._name),
            web.get("/metadata/scheduledevents", self._scheduled),
        ]

    def take(self, seconds: float) -> float:
        at = int(time.time() + seconds)
        self.events = [self.event("Preempt", at, self.NAME)]
        return float(at)

    def relent(self) -> None:
        self.events = []

    def event(self, kind: str, at: float | None, *machines: str) -> dict[str, object]:
        """`at` None: it has begun."""
        return {
            "EventId": f"602d9444-d2cd-49c7-8624-{next(self._incarnation):012x}",
            "EventStatus": "Started" if at is None else "Scheduled",
            "EventType": kind,
            "ResourceType": "VirtualMachine",
            "Resources": list(machines),
            "NotBefore": "" if at is None else formatdate(at, usegmt=True),
            "Description": "",
            "EventSource": "Platform",
            "DurationInSeconds": -1,
        }

    async def _name(self, request: web.Request) -> web.Response:
        if request.headers.get("Metadata") != "true" or request.query.get("format") != "text":
            return web.Response(status=400)
        return web.Response(text=self.NAME)

    async def _scheduled(self, request: web.Request) -> web.Response:
        if request.headers.get("Metadata") != "true" or request.query.get("api-version") != "2020-07-01":
            return web.Response(status=400)
        pause_s, self.first_s = self.first_s, 0.0
        await asyncio.sleep(pause_s)
        return web.json_response({"DocumentIncarnation": next(self._incarnation), "Events": self.events})


@asynccontextmanager
async def serving(metadata: Metadata) -> AsyncIterator[str]:
    """The service on a free port of this machine; its URL."""
    application = web.Application(middlewares=[metadata.asked.watched])
    application.add_routes(metadata.routes())
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
