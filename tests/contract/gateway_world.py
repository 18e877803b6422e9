"""A gateway between real engines and real clients, on loopback, for tests."""

import asyncio
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

from fleetctl.errors import AgentFailure
from fleetctl.gateway.access_log import AccessLog
from fleetctl.gateway.health import GatewayHealth
from fleetctl.gateway.link import UnixGatewayLink
from fleetctl.gateway.metrics import exposition
from fleetctl.gateway.plane import DataPlane
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Identity, Route, Routes, Upstream
from fleetctl.model.signals import QueueStats

WITHIN_S = 45.0
"""Everything here takes milliseconds; a loaded machine may take longer."""
_numbers = count(1)
EVERYBODY = Identity(required=False)
"""No key is asked for."""


# The gateway under test


class Gateway(Protocol):
    address: str

    async def route(self, routes: Routes) -> None: ...
    async def stats(self) -> dict[ServiceName, QueueStats]: ...
    async def metrics(self) -> str: ...


class InProcess:
    def __init__(self, plane: DataPlane, address: str) -> None:
        self.plane, self.address = plane, address

    async def route(self, routes: Routes) -> None:
        self.plane.route(routes)

    async def stats(self) -> dict[ServiceName, QueueStats]:
        return {one.service: one for one in self.plane.stats()}

    async def metrics(self) -> str:
        return exposition(self.plane.measures())


class AsProcess:
    def __init__(self, link: UnixGatewayLink, address: str) -> None:
        self.link, self.address = link, address

    async def route(self, routes: Routes) -> None:
        await self.link.identify(EVERYBODY)
        await self.link.route(routes)

    async def stats(self) -> dict[ServiceName, QueueStats]:
        return dict(await self.link.stats())

    async def metrics(self) -> str:
        return await self.link.metrics()


@asynccontextmanager
async def in_process(
    connections_max: int = 10_000, *, identity: Identity = EVERYBODY, access_log: AccessLog | None = None
) -> AsyncIterator[InProcess]:
    plane = DataPlane(asyncio.get_running_loop(), connections_max=connections_max, access_log=access_log)
    plane.identify(identity)
    server = await plane.loop.create_server(plane.client, "127.0.0.1", 0)
    try:
        yield InProcess(plane, f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        server.close()
        plane.close()
        await until(lambda: not plane.clients and not plane.upstreams)
        await server.wait_closed()
    assert (plane.held_bytes, plane.running) == (0, 0)
    assert all(one.queued == 0 for one in plane.stats())


@contextmanager
def gateway_process() -> Iterator[tuple[Path, int]]:
    """The real process: its admin socket and its pid."""
    with tempfile.TemporaryDirectory(prefix="fleetctl-gateway-") as folder:
        path = Path(folder) / "g.sock"
        argv = [sys.executable, "-m", "fleetctl.gateway", "--listen", "127.0.0.1:0", "--admin-socket", str(path)]
        with subprocess.Popen([*argv, "--log", str(Path(folder) / "log")]) as running:
            yield path, running.pid
            running.send_signal(signal.SIGTERM)
            assert running.wait(WITHIN_S) == 0
        log = (Path(folder) / "log").read_text()
        assert "Traceback" not in log, log


async def eventually(ask: Callable[[], Awaitable[GatewayHealth]]) -> GatewayHealth:
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                return await ask()
            except AgentFailure:
                await asyncio.sleep(0.02)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not holds():  # noqa: ASYNC110  what is watched has no event
            await asyncio.sleep(0.01)


async def until_stats(gateway: Gateway, service: str, holds: Callable[[QueueStats], bool]) -> QueueStats:
    async with asyncio.timeout(WITHIN_S):
        while True:
            found = (await gateway.stats()).get(ServiceName(service))
            if found is not None and holds(found):
                return found
            await asyncio.sleep(0.01)


# Engines and clients


@dataclass
class Asked:
    line: bytes
    head: bytes
    body: bytes


Serve = Callable[["Engine", Asked, asyncio.StreamWriter], Awaitable[None]]


class Engine:
    """A real HTTP/1.1 server, as well or badly behaved as `serve`."""

    def __init__(self, serve: Serve) -> None:
        self.serve = serve
        self.asked: list[Asked] = []
        self.connections = 0
        self.running = 0
        self.most_running = 0
        self.left = 0
        """Connections that the gateway closed while a request was running."""
        self.writers: set[asyncio.StreamWriter] = set()
        self.go = asyncio.Event()
        self.port = 0
        self.listening: asyncio.Server

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.add(writer)
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(length[1])) if length else b""
                asked = Asked(head.partition(b"\r\n")[0], head, body)
                self.asked.append(asked)
                self.running += 1
                self.most_running = max(self.most_running, self.running)
                try:
                    await self.serve_or_notice(asked, reader, writer)
                finally:
                    self.running -= 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def serve_or_notice(self, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        work = asyncio.ensure_future(self.serve(self, asked, writer))
        gone = asyncio.ensure_future(reader.read(1))
        done, _ = await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        for task in (work, gone):
            task.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)
        if work not in done:
            self.left += 1
            raise ConnectionResetError
        work.result()


@asynccontextmanager
async def engine(serve: Serve, port: int = 0) -> AsyncIterator[Engine]:
    made = Engine(serve)
    server = await asyncio.start_server(made.connected, "127.0.0.1", port, backlog=2048)
    made.listening = server
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        made.go.set()
        server.close()
        for writer in tuple(made.writers):
            writer.transport.abort()
        await until(lambda: not made.writers)
        await server.wait_closed()


def answer(body: bytes, status: str = "200 OK", extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status.encode(), len(body), extra, body)


async def echo(_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(asked.line + b"|" + asked.body))


async def held(engine: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
    await engine.go.wait()
    writer.write(answer(asked.body))


async def busy(_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(b"engine says no", "503 Service Unavailable"))


def saying(raw: bytes) -> Serve:
    async def serve(_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        writer.close()

    return serve


async def reset(_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def service() -> ServiceName:
    """A name of its own for each test: the real process counts on."""
    return ServiceName(f"chat{next(_numbers)}")


def routed(name: str, *engines: Engine | str, slots: int = 8, limit: int = 10_000, timeout_s: float = 60.0) -> Route:
    addresses = [one if isinstance(one, str) else one.address for one in engines]
    return Route(
        service=ServiceName(name),
        models=(f"org/{name}",),
        upstreams=tuple(
            Upstream(replica=ReplicaId(f"r{number}"), address=address, slots=slots)
            for number, address in enumerate(addresses)
        ),
        queue_limit=limit,
        queue_timeout_s=timeout_s,
        cold_timeout_s=timeout_s,
    )


def routes(*given: Route, fence: int = 1) -> Routes:
    return Routes(fence=fence, routes=given)


@dataclass
class Answer:
    status: int
    head: bytes
    body: bytes
    whole: bool = True

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["error"]["code"])


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, raw: bytes) -> None:
        self.writer.write(raw)

    def post(self, body: bytes = b"{}", path: str = "/v1/x", extra: bytes = b"") -> None:
        head = b"POST %b HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n" % (path.encode(), extra, len(body))
        self.send(head + body)

    async def head(self) -> bytes:
        async with asyncio.timeout(WITHIN_S):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def answer(self, *, bodiless: bool = False) -> Answer:
        """The next answer, de-chunked; `whole` is False where the connection ended too early."""
        head = await self.head()
        status = int(head[9:12])
        lower = head.lower()
        length = re.search(rb"\r\ncontent-length: *(\d+)", lower)
        body, whole = b"", True
        async with asyncio.timeout(WITHIN_S):
            try:
                if bodiless:
                    pass
                elif length:
                    body = await self.reader.readexactly(int(length[1]))
                elif b"\r\ntransfer-encoding: chunked" in lower:
                    while size := int(await self.reader.readuntil(b"\r\n"), 16):
                        body += (await self.reader.readexactly(size + 2))[:-2]
                    await self.reader.readexactly(2)
                else:
                    body = await self.reader.read()
            except asyncio.IncompleteReadError as error:
                body, whole = body + error.partial, False
            except ConnectionResetError:
                whole = False
        return Answer(status, head, body, whole)

    async def ended(self) -> bytes:
        """What else comes until the gateway closes the connection."""
        async with asyncio.timeout(WITHIN_S):
            return await self.reader.read()


@asynccontextmanager
async def client(gateway: Gateway) -> AsyncIterator[Client]:
    host, _, port = gateway.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


async def ask(gateway: Gateway, body: bytes = b"{}", path: str = "/v1/x", extra: bytes = b"") -> Answer:
    async with client(gateway) as asking:
        asking.post(body, path, extra)
        return await asking.answer()
