"""Finding out whether a replica that failed answers again."""

import asyncio
from collections.abc import Callable
from typing import cast

from fleetctl.gateway.limits import PROBE_ANSWER_LIMIT_BYTES, PROBE_TIMEOUT_S


class _ProbeConnection(asyncio.Protocol):
    """Asks for one path; `status` is that of the answer, 0 where none came."""

    def __init__(self, request: bytes, status: "asyncio.Future[int]") -> None:
        self._request = request
        self._status = status
        self._begun = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has the methods, not the ancestor
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._begun += data
        line, end, _ = self._begun.partition(b"\r\n")
        if not end and len(line) < PROBE_ANSWER_LIMIT_BYTES:
            return
        version, _, rest = line.partition(b" ")
        known = version in (b"HTTP/1.1", b"HTTP/1.0") and rest[:3].isdigit()
        self._say(int(rest[:3]) if known else 0)

    def connection_lost(self, error: Exception | None) -> None:
        self._say(0)

    def _say(self, status: int) -> None:
        if not self._status.done():
            self._status.set_result(status)
        self._transport.abort()


class Probes:
    """Runs probes, each bounded in time, and tells what they found out. There are as few as replicas that failed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.timeout_s = PROBE_TIMEOUT_S
        self._loop = loop
        self._running: set[asyncio.Task[None]] = set()

    def start(self, address: str, path: str, tell: Callable[[bool], None]) -> None:
        """Connect to `host:port` and, where `path` is given, GET it; `tell` gets whether that went well (2xx)."""
        task = self._loop.create_task(self._run(address, path, tell))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def close(self) -> None:
        for task in self._running:
            task.cancel()

    async def _run(self, address: str, path: str, tell: Callable[[bool], None]) -> None:
        try:
            async with asyncio.timeout(self.timeout_s):
                well = await self._ask(address, path)
        except (OSError, TimeoutError, ValueError, OverflowError):  # the last two: no port, or none that can be
            well = False
        tell(well)

    async def _ask(self, address: str, path: str) -> bool:
        host, _, port = address.rpartition(":")
        if not path:
            transport, _ = await self._loop.create_connection(asyncio.Protocol, host.strip("[]"), int(port))
            transport.abort()
            return True
        request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode()
        status: asyncio.Future[int] = self._loop.create_future()
        transport, _ = await self._loop.create_connection(
            lambda: _ProbeConnection(request, status), host.strip("[]"), int(port)
        )
        try:
            return 200 <= await status < 300
        finally:
            transport.abort()
