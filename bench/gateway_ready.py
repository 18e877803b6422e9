"""From a replica's readiness to its first request, while there is a backlog: at zero replicas, and beside a full one.

The clock runs from the moment at which the controller begins to tell the gateway (`PUT /routes` over its socket) until
the new replica, a fresh server on a port of its own, reads the first byte of a request. Every request of the backlog
must be answered in the end. `python bench/gateway_ready.py [--quick]`.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from figures import report
from gateway.ours import Fleetctl, admin, put, routes, upstream
from gateway.tables import asked
from gateway.world import Running, side_by_side

TIMES, QUICK_TIMES = 20, 5
BACKLOG = 50
FULL_SLOTS = 4
GOAL_MS = 10.0
WITHIN_S = 10.0
"""For one time in all; it takes some hundredths of a second."""
QUIET_S = 0.05
"""Between the backlog's last request and the readiness: the gateway has then read them all."""

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
_BODY = b'{"model":"bench","messages":[{"role":"user","content":"hello"}]}'


class Replica(asyncio.Protocol):
    """Answers each request at once, or, where it is full, not before it is told to. Notes when the first one came."""

    def __init__(self, seen: "Seen") -> None:
        self._seen = seen

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._seen.requests:
            self._seen.first_at = time.monotonic()
        if data.endswith(_BODY):
            self._seen.requests += 1
            if self._seen.waits is None:
                self._transport.write(_ANSWER)
            else:
                self._seen.waits.append(self._transport)


class Seen:
    """What one replica saw. `waits` is None for one that answers at once."""

    def __init__(self, *, holds: bool = False) -> None:
        self.first_at: float | None = None
        self.requests = 0
        self.waits: list[asyncio.Transport] | None = [] if holds else None
        self.address = ""

    def let_go(self) -> None:
        waiting, self.waits = self.waits or [], None
        for transport in waiting:
            transport.write(_ANSWER)


@asynccontextmanager
async def replica(*, holds: bool = False) -> AsyncIterator[Seen]:
    seen = Seen(holds=holds)
    server = await asyncio.get_running_loop().create_server(lambda: Replica(seen), "127.0.0.1", 0)
    try:
        seen.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield seen
    finally:
        server.close()


async def client(one: Running, began: asyncio.Semaphore, ended: asyncio.Semaphore) -> bool:
    """One request of the backlog; whether it was answered as it should be."""
    reader, writer = await asyncio.open_connection("127.0.0.1", one.setting.port)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {one.setting.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(_BODY)}\r\n\r\n"
    )
    writer.write(head.encode() + _BODY)
    await writer.drain()
    began.release()
    status = await reader.readline()
    writer.close()
    ended.release()
    return status.startswith(b"HTTP/1.1 200")


async def once(one: Running, fence: int, *, beside_full: bool) -> float:
    """Milliseconds. Raises `RuntimeError` when a request of the backlog was not answered."""
    began, ended = asyncio.Semaphore(0), asyncio.Semaphore(0)
    async with AsyncExitStack() as ends, asyncio.timeout(WITHIN_S):
        session = await ends.enter_async_context(admin(one.setting))
        full = await ends.enter_async_context(replica(holds=True))
        new = await ends.enter_async_context(replica())
        before = [upstream(full.address, name=f"full-{fence}", slots=FULL_SLOTS)] if beside_full else []
        await put(session, "routes", routes(*before, fence=fence))
        clients = [asyncio.create_task(client(one, began, ended)) for _ in range(BACKLOG)]
        for _ in clients:
            await began.acquire()
        await asyncio.sleep(QUIET_S)
        ready_at = time.monotonic()
        await put(
            session, "routes", routes(*before, upstream(new.address, name=f"new-{fence}", slots=8), fence=fence + 1)
        )
        for _ in range(BACKLOG - (FULL_SLOTS if beside_full else 0)):
            await ended.acquire()
        full.let_go()
        answered = await asyncio.gather(*clients)
    if new.first_at is None or not all(answered):
        raise RuntimeError(f"{answered.count(False)} of {BACKLOG} requests were not answered")
    return (new.first_at - ready_at) * 1e3


async def measured(one: Running, times: int) -> None:
    for beside_full, what in ((False, "at_zero"), (True, "beside_a_full_one")):
        first = 1000 * (1 + beside_full)
        took = [await once(one, first + 2 * number, beside_full=beside_full) for number in range(times)]
        print(
            f"{one.name:24} {what:20} median {statistics.median(took):6.2f} ms, worst of {times} {max(took):6.2f} ms",
            file=sys.stderr,
        )
        report(f"first_request_{what}_p50: {one.name}", statistics.median(took), "ms")
        report(f"first_request_{what}_worst: {one.name}", max(took), f"ms of {times}", at_most=GOAL_MS)


def main() -> None:
    given = asked(__doc__.splitlines()[0])
    ours = [Fleetctl(), *([Fleetctl(tree=given.beside)] if given.beside else [])]
    if given.only:
        ours = [one for one in ours if one.name in given.only.split(",")]
    with side_by_side(ours) as world:
        for one in world.running:
            asyncio.run(measured(one, QUICK_TIMES if given.quick else TIMES))


if __name__ == "__main__":
    main()
