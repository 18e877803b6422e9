"""Sockets that say and record exact bytes: what an HTTP library tidies away is what these tests are about."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from gateway_world import WITHIN_S, AsProcess, Gateway, eventually, gateway_process, until

from fleetctl.gateway.link import UnixGatewayLink
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Routes
from fleetctl.model.signals import QueueStats

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
GET = b"GET /v1/good HTTP/1.1\r\nHost: a\r\n\r\n"
GET_FORWARDED = b"GET /v1/good HTTP/1.1\r\nHost: a\r\n\r\n"
"""As a replica gets it: an ordinary head is forwarded as it came."""
_TRACE = re.compile(
    rb"\r\n(?:traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}|x-request-id: [0-9a-f]{32})(?=\r\n)"
)
"""What the gateway adds of its own, different each time."""


# The replica's side


class RawUpstream:
    """A replica that records every byte, and says `said` to each request that it can make out."""

    def __init__(self, said: bytes, *, close: bool) -> None:
        self.said, self.close = said, close
        self.links: list[_Link] = []
        self.requests: list[bytes] = []
        self.address = ""

    @property
    def received(self) -> bytes:
        """All of it, but for the lines that the gateway adds to follow a request."""
        return b"".join(link.received for link in self.links)

    def forget(self) -> None:
        """What was recorded, and not the connections."""
        self.requests.clear()
        for link in self.links:
            link.seen.clear()
            link.judged = 0

    @property
    def open_links(self) -> int:
        return sum(not link.transport.is_closing() for link in self.links)


class _Link(asyncio.Protocol):
    def __init__(self, upstream: RawUpstream) -> None:
        self.upstream = upstream
        self.seen = bytearray()
        self.judged = 0

    @property
    def received(self) -> bytes:
        return _TRACE.sub(b"", self.seen)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.upstream.links.append(self)

    def data_received(self, data: bytes) -> None:
        self.seen += data
        while (end := self.seen.find(b"\r\n\r\n", self.judged)) >= 0:
            head = self.seen[self.judged : end + 2]
            length = re.search(rb"\r\ncontent-length:[ \t]*(\d+)", head, re.IGNORECASE)
            end += 4 + (int(length[1]) if length else 0)
            if len(self.seen) < end:
                return
            self.upstream.requests.append(_TRACE.sub(b"", self.seen[self.judged : end]))
            self.judged = end
            self.transport.write(self.upstream.said)
            if self.upstream.close:
                self.transport.close()


@asynccontextmanager
async def raw_upstream(said: bytes = HELLO, *, close: bool = False) -> AsyncIterator[RawUpstream]:
    made = RawUpstream(said, close=close)
    server = await asyncio.get_running_loop().create_server(lambda: _Link(made), "127.0.0.1", 0, backlog=1024)
    made.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        for link in made.links:
            link.transport.abort()
        await until(lambda: made.open_links == 0)
        await server.wait_closed()


# The client's side


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One answer out of what a connection said."""

    status: int
    head: bytes
    body: bytes


@asynccontextmanager
async def dial(gateway: Gateway) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = gateway.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def say(gateway: Gateway, *pieces: bytes, pause_s: float = 0.0, within_s: float = WITHIN_S) -> bytes:
    """Send the pieces one by one; return what comes until the gateway ends the connection. Raises `TimeoutError`."""
    async with asyncio.timeout(within_s), dial(gateway) as (reader, writer):
        listening = asyncio.ensure_future(_hear(reader))
        with contextlib.suppress(ConnectionError):  # it was refused before all of it was sent
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                if pause_s:
                    await asyncio.sleep(pause_s)
                if listening.done():
                    break
        return await listening


async def _hear(reader: asyncio.StreamReader) -> bytes:
    """All that comes, also where a reset ends it."""
    heard = b""
    with contextlib.suppress(ConnectionError):
        while more := await reader.read(2**16):
            heard += more
    return heard


async def still_serves(gateway: Gateway) -> bytes:
    """The body that a good request gets on a connection of its own."""
    (one,) = answers(await say(gateway, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))
    assert one.status == 200
    return one.body


def answers(heard: bytes) -> list[Said]:
    """Take apart what came, all of it: bytes that belong to no answer are an AssertionError."""
    found = []
    while heard:
        head, empty_line, rest = heard.partition(b"\r\n\r\n")
        status = re.fullmatch(rb"HTTP/1\.1 ([1-5]\d\d)(?: [^\r\n]*)?", head.partition(b"\r\n")[0])
        assert empty_line, heard[:200]
        assert status, heard[:200]
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        size = 0 if int(status[1]) < 200 else int(length[1]) if length else len(rest)
        assert len(rest) >= size, heard[:200]
        found.append(Said(status=int(status[1]), head=head, body=rest[:size]))
        heard = rest[size:]
    return found


# The gateway's process


@dataclass(frozen=True, slots=True)
class Running:
    """The real process, on uvloop's loop."""

    path: Path
    pid: int

    @property
    def memory_bytes(self) -> int:
        """Resident now."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024


def running_process() -> Iterator[Running]:
    with gateway_process() as (path, pid):
        yield Running(path, pid)


def _quiet(stats: Mapping[ServiceName, QueueStats]) -> bool:
    return not any(one.queued or any(dict(one.in_flight).values()) for one in stats.values())


@asynccontextmanager
async def linked(running: Running) -> AsyncIterator[AsProcess]:
    """The process for one test; afterwards nothing of that test is left in a slot or in a queue."""
    link = UnixGatewayLink(running.path)
    try:
        yield AsProcess(link, (await eventually(link.health)).listen)
        await link.route(Routes(fence=1, routes=()))
        async with asyncio.timeout(WITHIN_S):
            while not _quiet(await link.stats()):  # noqa: ASYNC110  another process
                await asyncio.sleep(0.01)
    finally:
        await link.close()
