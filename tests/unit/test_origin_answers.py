"""No answer of a server takes more memory than what was asked for, and none is taken for more than it is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fleetctl.agent.images.manifests import digest_of
from fleetctl.agent.images.origin import LAYERS, RegistryOrigin
from fleetctl.agent.origins.origin import OriginFile
from fleetctl.agent.origins.ranges import read_part, session
from fleetctl.agent.runtimes.images import DockerFacts

PIECE = b"x" * 65536
FAR = 1 << 40
SENT_MAX = 64 << 20
"""What a server can have sent into the buffers of a connection before anybody sees that it says too much."""


class Endless:
    """Answers every range with all that follows it."""

    def __init__(self) -> None:
        self.sent = 0
        self.address = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await reader.readexactly(1) != b"G":
                return  # it speaks no TLS, which registries are tried with first
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            start = int(head.lower().partition("range: bytes=")[2].partition("-")[0] or 0)
            said = f"Content-Range: bytes {start}-{FAR - 1}/{FAR}\r\nContent-Length: {FAR - start}\r\n\r\n"
            writer.write(f"HTTP/1.1 206 Partial Content\r\n{said}".encode())
            while self.sent < SENT_MAX:
                writer.write(PIECE)
                await writer.drain()
                self.sent += len(PIECE)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving() -> AsyncIterator[Endless]:
    endless = Endless()
    server = await asyncio.start_server(endless.answer, "127.0.0.1", 0)
    endless.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield endless
    finally:
        server.close()


async def test_a_range_ends_where_it_was_asked_to_end() -> None:
    async with serving() as endless, session() as http:
        part = await read_part(http, f"http://{endless.address}/x", 1000, 5000, {})

    assert (part.data, part.ranged, part.total) == (b"x" * 5000, True, FAR)
    assert endless.sent < SENT_MAX


async def test_a_range_of_a_layer_ends_where_it_was_asked_to_end() -> None:
    async with serving() as endless:
        digits = digest_of(b"layer").partition(":")[2]
        layer = OriginFile(path=f"{LAYERS}/0000-{digits}", size=1 << 30, sha256=digits)
        origin = RegistryOrigin(f"{endless.address}/tiny@sha256:{digits}", "i-1", DockerFacts(), pauses_s=())
        data = await origin.read(layer, 1000, 5000)
        await origin.close()

    assert data == b"x" * 5000
    assert endless.sent < SENT_MAX
