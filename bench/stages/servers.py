"""Origins on loopback that send at a rate and count what they send: a web server, a registry, and the way to a Node."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from aiohttp import web

_PIECE = 64 * 1024
_BURST_S = 0.05


@dataclass
class Link:
    """Bytes a second for all that goes over it."""

    rate: float
    _at: float = 0.0

    async def carry(self, count: int) -> None:
        now = time.monotonic()
        self._at = max(self._at, now - _BURST_S) + count / self.rate
        if self._at > now:
            await asyncio.sleep(self._at - now)


@dataclass
class Counted:
    """What an origin has sent."""

    link: Link
    sent: int = 0
    address: str = ""

    async def body(self, request: web.Request, data: bytes, headers: Mapping[str, str]) -> web.StreamResponse:
        """The data, or the range of it that is asked for, at the link's rate."""
        span = request.http_range
        part = data[span]
        start = span.start or 0
        answer = web.StreamResponse(status=200 if span.start is None else 206, headers=headers)
        answer.headers["Accept-Ranges"] = "bytes"
        if span.start is not None:
            answer.headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
        answer.content_length = len(part)
        await answer.prepare(request)
        if request.method != "HEAD":
            for at in range(0, len(part), _PIECE):
                piece = part[at : at + _PIECE]
                await self.link.carry(len(piece))
                await answer.write(piece)
                self.sent += len(piece)
        await answer.write_eof()
        return answer


@asynccontextmanager
async def web_server(link: Link, files: Mapping[str, bytes]) -> AsyncIterator[Counted]:
    """Files by name, with ranges."""
    counted = Counted(link)

    async def answer(request: web.Request) -> web.StreamResponse:
        data = files[request.match_info["name"]]
        etag = hashlib.sha256(data[:4096]).hexdigest()[:16]
        return await counted.body(request, data, {"ETag": f'"{etag}"'})

    async with _served(counted, answer, "/{name}"):
        yield counted


@asynccontextmanager
async def registry(link: Link, blobs: Mapping[str, bytes], manifest: bytes) -> AsyncIterator[Counted]:
    """A registry that has one image; its manifest counts for nothing."""
    counted = Counted(link)
    kind = json.loads(manifest)["mediaType"]
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"

    async def answer(request: web.Request) -> web.StreamResponse:
        if "/manifests/" in request.path:
            return web.Response(body=manifest, headers={"Content-Type": kind, "Docker-Content-Digest": digest})
        if "/blobs/" in request.path:
            return await counted.body(request, blobs[request.path.rpartition("/")[2]], {})
        return web.json_response({})

    async with _served(counted, answer, "/{path:.*}"):
        yield counted


@asynccontextmanager
async def _served(counted: Counted, answer: object, path: str) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_route("*", path, answer)  # type: ignore[arg-type]
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    counted.address = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield
    finally:
        await runner.cleanup()


@dataclass
class Way:
    """To a Node, for another one: what comes back from it comes at a rate."""

    link: Link
    to: str
    address: str = ""
    sent: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.to.rpartition(":")
        try:
            there, out = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        asked = asyncio.ensure_future(self._copy(reader, out, slow=False))
        self._tasks.add(asked)
        asked.add_done_callback(self._tasks.discard)
        await self._copy(there, writer, slow=True)

    async def _copy(self, source: asyncio.StreamReader, goal: asyncio.StreamWriter, *, slow: bool) -> None:
        with suppress(OSError, asyncio.CancelledError):
            while data := await source.read(_PIECE):
                if slow:
                    await self.link.carry(len(data))
                    self.sent += len(data)
                goal.write(data)
                await goal.drain()
        goal.close()


@asynccontextmanager
async def way(link: Link, to: str) -> AsyncIterator[Way]:
    made = Way(link, to)
    server = await asyncio.start_server(made.meet, "127.0.0.1", 0)
    made.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
