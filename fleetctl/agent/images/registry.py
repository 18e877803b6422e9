"""A registry on loopback, for this machine's own Docker: images in chunks, given while their chunks still come."""

import asyncio
import logging
import os
import re
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Protocol

from fleetctl.agent.chunks.chunks import Chunks
from fleetctl.agent.images.manifests import parsed
from fleetctl.agent.images.origin import CONFIG, MANIFESTS, blob_path

if TYPE_CHECKING:
    from aiohttp import web

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
"""Docker speaks to registries on loopback without TLS, and nobody else reaches them."""

_PIECE_BYTES = 1024**2

_MOVE_S = 60.0
_MOVE_PERIOD_S = 0.1
"""While an image is published its files cannot be opened; that takes as long as its last bytes take to the disk."""

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Shelf(Protocol):
    """Where the chunks are."""

    def find(self, name: str) -> Chunks | None: ...

    @property
    def news(self) -> asyncio.Event:
        """Set when there is one more."""


class LoopbackRegistry:
    """The distribution API as far as a pull by digest asks for it. Listens from the first image on."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._runner: web.AppRunner | None = None
        self._starting = asyncio.Lock()
        self._names: dict[str, str] = {}
        """Repository → the name that the shelf has it by."""
        self.port = 0

    async def offer(self, repository: str, name: str) -> str:
        """Give the image that the shelf has by `name` as `repository`; the address to pull it from."""
        async with self._starting:
            if self._runner is None:
                await self._start()
        self._names[repository] = name
        return f"{HOST}:{self.port}/{repository}"

    def withdraw(self, repository: str) -> None:
        self._names.pop(repository, None)

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _start(self) -> None:
        from aiohttp import web

        app = web.Application()
        app.router.add_get("/v2/", _hello)
        app.router.add_get("/v2/{repository:.+}/manifests/{digest}", self._manifest)
        app.router.add_get("/v2/{repository:.+}/blobs/{digest}", self._blob)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, HOST, 0).start()
        self.port = int(runner.addresses[0][1])
        self._runner = runner

    async def _manifest(self, request: "web.Request") -> "web.StreamResponse":
        from aiohttp import web

        chunks, file, descriptor = await self._opened(request, manifest=True)
        text = b"".join([piece async for piece in _content(chunks, file, descriptor, 0)])
        digest = request.match_info["digest"]
        kind = parsed(request.match_info["repository"], text).kind
        return web.Response(body=text, headers={"Content-Type": kind, "Docker-Content-Digest": digest})

    async def _blob(self, request: "web.Request") -> "web.StreamResponse":
        from aiohttp import web

        chunks, file, descriptor = await self._opened(request, manifest=False)
        size = chunks.layout.files[file].size
        asked = _RANGE.fullmatch(request.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        if start >= size > 0:
            os.close(descriptor)
            raise web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})
        headers = {
            "Content-Type": "application/octet-stream",
            "Docker-Content-Digest": request.match_info["digest"],
            "Content-Length": str(size - start),
        }
        if asked:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        response = web.StreamResponse(status=206 if asked else 200, headers=headers)
        response.force_close()  # where bytes will not come, the end of the connection says so
        try:
            await response.prepare(request)
            async for piece in _content(chunks, file, descriptor, size if request.method == "HEAD" else start):
                await response.write(piece)
        except ConnectionError as error:
            log.info("Docker asks for %s no longer: %r", request.match_info["digest"], error)
        return response

    async def _opened(self, request: "web.Request", *, manifest: bool) -> tuple[Chunks, int, int]:
        """The chunks, the number of the file, and its descriptor, which `_content` closes."""
        deadline = time.monotonic() + _MOVE_S
        while True:
            chunks, number = self._found(request, manifest=manifest)
            try:
                return chunks, number, os.open(chunks.tree / chunks.layout.files[number].path, os.O_RDONLY)
            except FileNotFoundError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_MOVE_PERIOD_S)

    def _found(self, request: "web.Request", *, manifest: bool) -> tuple[Chunks, int]:
        """The chunks of the image and the number of the file."""
        from aiohttp import web

        name = self._names.get(request.match_info["repository"])
        chunks = self._shelf.find(name) if name is not None else None
        if chunks is None:
            raise web.HTTPNotFound(text='{"errors":[{"code":"NAME_UNKNOWN"}]}', content_type="application/json")
        for number, file in enumerate(chunks.layout.files):
            if blob_path(file.path) == request.match_info["digest"] and file.path.startswith(MANIFESTS) is manifest:
                return chunks, number
        code = "MANIFEST_UNKNOWN" if manifest else "BLOB_UNKNOWN"
        raise web.HTTPNotFound(text=f'{{"errors":[{{"code":"{code}"}}]}}', content_type="application/json")


async def described(shelf: Shelf, name: str) -> None:
    """Return when manifests and configuration of the image are here: from then on Docker has something to do."""
    while True:
        news = shelf.news
        chunks = shelf.find(name)
        if chunks is not None:
            files = enumerate(chunks.layout.files)
            for number in [number for number, file in files if file.path.startswith((MANIFESTS, CONFIG))]:
                await _arrived(chunks, chunks.layout.chunks_of(number))
            return
        await news.wait()


async def _hello(_: "web.Request") -> "web.StreamResponse":
    from aiohttp import web

    return web.json_response({}, headers={"Docker-Distribution-Api-Version": "registry/2.0"})


async def _content(chunks: Chunks, file: int, descriptor: int, start: int) -> AsyncIterator[bytes]:
    """The file's bytes from `start`, each as soon as its chunk was verified; closes the descriptor.

    That stays the same file when its folder is published meanwhile.
    """
    layout = chunks.layout
    size, begins = layout.files[file].size, layout.starts[file]
    try:
        at = start
        while at < size:
            index = (begins + at) // layout.chunk_size
            await _arrived(chunks, range(index, index + 1))
            end = min((index + 1) * layout.chunk_size - begins, size, at + _PIECE_BYTES)
            piece = await asyncio.to_thread(os.pread, descriptor, end - at, at)
            if not piece:
                raise ConnectionResetError(f"{layout.files[file].path} was cut off")
            yield piece
            at += len(piece)
    finally:
        os.close(descriptor)


async def _arrived(chunks: Chunks, wanted: range) -> None:
    """Raises `ConnectionResetError` when they will not come."""
    for index in wanted:
        while chunks.hash_of(index) is None:
            news = chunks.news
            if chunks.failed:
                raise ConnectionResetError("the image is not fetched any more")
            await news.wait()
