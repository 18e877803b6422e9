"""An engine that looks at each new request whether it may be there: how many others run, by what the kernel knows."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, cast

from gateway_world import until

LOOK_AGAIN_S: Final = 0.05
"""A process that is killed closes its files one after the other, that to its scheduler maybe before those to engines:
the slot's next request may come microseconds early, and on a busy machine a turn of it. Whoever runs beside it after
this long holds the slot, too."""
_ESTABLISHED: Final = 1
_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_END: Final = b"0\r\n\r\n"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a request asks of the engine, and is as JSON."""

    seconds: float = 0.0
    events: int = 0
    """0: an answer in one piece."""
    event_bytes: int = 8
    hold: bool = False
    """One event at once, the others when the engine lets go."""
    breaks: bool = False
    """The engine closes the connection in place of an answer."""

    def body(self) -> bytes:
        return json.dumps({**vars(self), "stream": self.events > 0}, separators=(",", ":")).encode()


class CountingEngine:
    """Serves `slots` requests at a time and no more, or remembers how it was asked to."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.running: set[_Link] = set()
        self.served = 0
        self.left = 0
        """Requests whose connection was closed while they ran."""
        self.excess: list[str] = []
        """Times at which more ran, and went on to, than there are slots."""
        self.go = asyncio.Event()
        self.port = 0
        self.links: set[_Link] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def live(self) -> set["_Link"]:
        """Those that run and that nobody has cut: a close that was sent but not yet read here counts, as it would for
        an engine's next look."""
        return {link for link in self.running if link.established}

    def begins(self, link: "_Link") -> None:
        self.running.add(link)
        live = self.live()
        if len(live) > self.slots:
            asyncio.get_running_loop().call_later(LOOK_AGAIN_S, self._look_again, {one: one.asked for one in live})

    def ends(self, link: "_Link") -> None:
        self.running.discard(link)

    def _look_again(self, before: dict["_Link", int]) -> None:
        still = [one for one in self.live() if before.get(one) == one.asked]
        if len(still) > self.slots:
            self.excess.append(f"{len(still)} requests run for {self.slots} slots")


class _Link(asyncio.Protocol):
    def __init__(self, engine: CountingEngine) -> None:
        self.engine = engine
        self.begun = b""
        self.asked = 0
        self.work: asyncio.Task[None] | None = None

    @property
    def established(self) -> bool:
        sock = cast(socket.socket, self.transport.get_extra_info("socket"))
        if self.transport.is_closing() or sock.fileno() < 0:
            return False
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _ESTABLISHED

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.engine.links.add(self)

    def data_received(self, data: bytes) -> None:
        self.begun += data
        head, ending, rest = self.begun.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        size = int(length[1]) if length else 0
        if not ending or len(rest) < size:
            return
        self.begun = rest[size:]
        if head.startswith(b"GET "):  # a probe
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return
        asked = json.loads(rest[:size])
        del asked["stream"]
        self.asked += 1
        self.engine.begins(self)
        self.work = asyncio.ensure_future(self._serve(Wish(**asked)))

    def connection_lost(self, error: Exception | None) -> None:
        self.engine.links.discard(self)
        if self in self.engine.running:
            self.engine.left += 1
            self.engine.ends(self)
        if self.work is not None:
            self.work.cancel()

    async def _serve(self, wish: Wish) -> None:
        if wish.breaks:
            self.engine.ends(self)
            self.transport.abort()
            return
        if not wish.events:
            await asyncio.sleep(wish.seconds)
            self._end(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            return
        event = b"data: " + b"x" * wish.event_bytes + b"\n\n"
        chunk = b"%x\r\n%b\r\n" % (len(event), event)
        self.transport.write(_HEAD)
        for number in range(wish.events):
            if wish.hold and number == 1:
                await self.engine.go.wait()
            else:
                await asyncio.sleep(wish.seconds / wish.events if number else 0)
            self.transport.write(chunk)
        self._end(_END)

    def _end(self, last: bytes) -> None:
        """Not before this is written can the slot be anybody else's."""
        self.engine.ends(self)
        self.engine.served += 1
        self.transport.write(last)


@asynccontextmanager
async def counting_engine(slots: int) -> AsyncIterator[CountingEngine]:
    made = CountingEngine(slots)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Link(made), "127.0.0.1", 0, backlog=2048)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        made.go.set()
        server.close()
        for link in tuple(made.links):
            link.transport.abort()
        await until(lambda: not made.links)
        await server.wait_closed()
