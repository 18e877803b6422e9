"""Gives this Node's chunks to other Nodes of the fleet, over HTTP; to nobody else, and to nobody without a key."""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

import msgspec

from fleetctl.agent.chunks.chunks import Chunks
from fleetctl.agent.chunks.staging import ASIDE_BYTES
from fleetctl.agent.chunks.wire import ALIVE_S, MAC, NONCE, Ask, Door, Headers, Seal, Told, body_seal, unfolded
from fleetctl.errors import AgentFailure

if TYPE_CHECKING:
    from aiohttp import web

log = logging.getLogger(__name__)

KNOW_S = 5.0
"""How long a question for an Artifact that this Node does not know yet waits: Nodes that are told to follow each other
are not told in the same moment."""

STREAMS_MAX = 64
"""Answers under way at once: a Node has one or two followers with up to four streams each; the rest is a mistake."""

_SEND_S = 30.0
"""For one chunk to leave: 16 MiB at 5 Mbit/s. A follower that takes longer is gone, or not worth waiting for."""

_ASK_MOST_BYTES = 8 * 1024**2
"""A question that names every second of a million chunks."""

_OPEN_FILES_MAX = 64


class Shelf(Protocol):
    """What may be given to other Nodes."""

    def find(self, name: str) -> Chunks | None:
        """By the name that `wire.name_of` gives an Artifact."""

    @property
    def news(self) -> asyncio.Event:
        """Set when there is one more."""


class PeerServer:
    """Listens once there is a key; the port is taken before, so that its number is known."""

    def __init__(self, listener: socket.socket, shelf: Shelf) -> None:
        self._listener = listener
        self._shelf = shelf
        self._key: bytes | None = None
        self._door = Door()
        self._runner: web.AppRunner | None = None
        self._streams = 0

    async def use(self, key: bytes | None) -> None:
        """From now on only who has this key is answered. Begins to listen with the first."""
        self._key = key
        if key is None or self._runner is not None:
            return
        from aiohttp import web

        app = web.Application(client_max_size=_ASK_MOST_BYTES)
        app.router.add_get("/v1/artifacts/{name}/manifest", self._manifest)
        app.router.add_post("/v1/artifacts/{name}/chunks", self._chunks)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.SockSite(self._runner, self._listener, backlog=STREAMS_MAX).start()

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        self._listener.close()

    async def _manifest(self, request: "web.Request") -> "web.StreamResponse":
        from aiohttp import web

        key = self._key_for(request, b"")
        chunks = await self._known(request)
        here = sum(chunks.hash_of(index) is not None for index in range(chunks.layout.count))
        said = msgspec.json.encode(Told(layout=chunks.layout, here=here))
        seal = body_seal(key, request.headers[NONCE], said)
        return web.Response(body=said, content_type="application/json", headers={MAC: seal})

    async def _chunks(self, request: "web.Request") -> "web.StreamResponse":
        from aiohttp import web

        body = await request.read()
        key = self._key_for(request, body)
        chunks = await self._known(request)
        try:
            ask = msgspec.json.decode(body, type=Ask)
        except msgspec.DecodeError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        wanted = unfolded(ask, chunks.layout.count)
        if ask.layout != chunks.layout.digest.hex():
            raise web.HTTPConflict(text="this node has another revision of it")
        if wanted is None:
            raise web.HTTPBadRequest(text="chunks out of order, or beyond the last")
        if self._streams >= STREAMS_MAX:
            raise web.HTTPServiceUnavailable(text="too many nodes are served already")
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        response.force_close()
        try:
            out = _Out(request, response, chunks, Seal(key, request.headers[NONCE], chunks.layout))
        except OSError:  # it is published just now, or was removed by hand
            raise web.HTTPNotFound(text="its files are not where they were") from None
        self._streams += 1
        try:
            await response.prepare(request)
            await _stream(out, chunks, wanted)
        except (OSError, AgentFailure) as error:
            log.info("an answer to another node was broken off: %r", error)
        finally:
            self._streams -= 1
            out.close()
        return response

    def _key_for(self, request: "web.Request", body: bytes) -> bytes:
        """The fleet's key, once the request has shown that its sender has it too."""
        from aiohttp import web

        key = self._key
        why: str | None = "this node has no key"
        if key is not None:
            pairs = Headers(request.headers.items())
            why = self._door.refusal(key, request.method, request.path, body, pairs, time.time())
        if key is None or why is not None:
            raise web.HTTPForbidden(text=f"not let in: {why}")
        return key

    async def _known(self, request: "web.Request") -> Chunks:
        from aiohttp import web

        name = request.match_info["name"]
        try:
            async with asyncio.timeout(KNOW_S):
                while True:
                    news = self._shelf.news
                    chunks = self._shelf.find(name)
                    if chunks is not None:
                        return chunks
                    await news.wait()
        except TimeoutError:
            raise web.HTTPNotFound(text="this node does not hold it") from None


async def _stream(out: "_Out", chunks: Chunks, wanted: list[int]) -> None:
    """Send every wanted chunk: first those that are here, then the others as they come."""
    seen = len(chunks.arrived)
    pending = set()
    for index in wanted:
        if chunks.hash_of(index) is None:
            pending.add(index)
        else:
            await out.send(index)
    while pending:
        news = chunks.news
        while seen < len(chunks.arrived):
            index = chunks.arrived[seen]
            seen += 1
            if index in pending:
                pending.discard(index)
                await out.send(index)
        if not pending:
            return
        if chunks.failed:
            await out.over()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ALIVE_S):
                await news.wait()
                continue
        await out.alive()


class _Out:
    """One answer on its way out, straight from the files to the socket where chunks are large."""

    def __init__(self, request: "web.Request", response: "web.StreamResponse", chunks: Chunks, seal: Seal) -> None:
        self._request = request
        self._response = response
        self._chunks = chunks
        self._seal = seal
        self._files: OrderedDict[int, int] = OrderedDict()
        self._tree = os.open(chunks.tree, os.O_RDONLY | os.O_DIRECTORY)
        """Stays the same folder when it is published under its name meanwhile."""

    async def send(self, index: int) -> None:
        digest = self._chunks.hash_of(index)
        if digest is None:
            raise AgentFailure(f"chunk {index} was taken back")
        length = self._chunks.layout.length(index)
        head = self._seal.chunk(index, length, digest)
        async with asyncio.timeout(_SEND_S):
            if length < ASIDE_BYTES:
                await self._response.write(head + self._content(index))
            else:
                await self._response.write(head)
                await self._send_files(index)

    async def alive(self) -> None:
        async with asyncio.timeout(_SEND_S):
            await self._response.write(self._seal.alive())

    async def over(self) -> None:
        await self._response.write(self._seal.over())

    def close(self) -> None:
        for descriptor in (*self._files.values(), self._tree):
            os.close(descriptor)
        self._files.clear()

    def _content(self, index: int) -> bytes:
        return b"".join(
            os.pread(self._file(segment.file), segment.length, segment.offset)
            for segment in self._chunks.layout.segments(index)
        )

    async def _send_files(self, index: int) -> None:
        transport = self._request.transport
        if transport is None:
            raise ConnectionResetError("the follower closed")
        loop = asyncio.get_running_loop()
        for segment in self._chunks.layout.segments(index):
            with os.fdopen(os.dup(self._file(segment.file)), "rb") as file:
                sent = await loop.sendfile(transport, file, segment.offset, segment.length)
            if sent != segment.length:
                raise ConnectionResetError(f"a file of {self._chunks.tree} was cut off")

    def _file(self, number: int) -> int:
        descriptor = self._files.get(number)
        if descriptor is None:
            while len(self._files) >= _OPEN_FILES_MAX:
                os.close(self._files.popitem(last=False)[1])
            path = self._chunks.layout.files[number].path
            descriptor = self._files[number] = os.open(path, os.O_RDONLY, dir_fd=self._tree)
        return descriptor
