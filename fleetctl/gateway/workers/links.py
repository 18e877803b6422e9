"""One end of the socket between a worker and the scheduler, on an event loop."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar, cast

from fleetctl.gateway.workers.messages import BadFrame, Reader, Said, frames

_log = logging.getLogger("fleetctl.gateway")

UNREAD_LIMIT_BYTES: Final = 256 * 1024 * 1024
"""What the other end has not read yet. It reads all the time; at this size it has stopped for good."""

S = TypeVar("S")


class Link(asyncio.Protocol, Generic[S]):
    """Takes in messages `S`; sends what one turn of the loop has said in one write.

    `takes` gets each batch in order. `lost` is called once: with None when the other end is gone, with `BadFrame` when
    it spoke nonsense or stopped reading, with any other error when it was our own in `takes`.
    """

    __slots__ = ("_closed", "_loop", "_lost", "_outgoing", "_reader", "_takes", "_transport")

    def __init__(
        self,
        kind: Any,
        *,
        loop: asyncio.AbstractEventLoop,
        takes: Callable[[list[S]], None],
        lost: Callable[[Exception | None], None],
    ) -> None:
        self._reader: Reader[S] = Reader(kind)
        self._loop = loop
        self._takes = takes
        self._lost = lost
        self._outgoing: list[Said] = []
        self._closed = False
        self._transport: asyncio.Transport | None = None
        """None: what is said before it is connected waits for that."""

    @property
    def open(self) -> bool:
        return not self._closed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connected = cast(asyncio.Transport, transport)  # uvloop's has the methods, not the ancestor
        connected.set_write_buffer_limits(high=UNREAD_LIMIT_BYTES)
        self._transport = connected
        if self._closed:
            connected.abort()
        else:
            self._flush()

    def data_received(self, data: bytes) -> None:
        if self._closed:
            return
        try:
            said = self._reader.feed(data)
            if said:
                self._takes(said)
        except BadFrame as error:
            _log.error("a process of the gateway speaks nonsense: %s", error)
            self._end(error)

    def pause_writing(self) -> None:
        self._end(BadFrame("it has stopped reading"))

    def connection_lost(self, error: Exception | None) -> None:
        # The loop brings what `takes` raised: what was said is then followed by halves, and this end must not go on.
        self._end(None if isinstance(error, OSError) else error)

    def say(self, message: Said) -> None:
        """Send it with all else that is said in this turn; nothing happens where the other end is gone."""
        if self._closed:
            return
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(message)

    def newest(self) -> Said | None:
        """What was said last, if it has not gone yet; `instead` may still take its place."""
        return self._outgoing[-1] if self._outgoing else None

    def instead(self, message: Said) -> None:
        """Say this in place of the newest."""
        self._outgoing[-1] = message

    def say_now(self, messages: Sequence[Said]) -> None:
        """Send at once, after what was said before."""
        self._outgoing.extend(messages)
        self._flush()

    def close(self) -> None:
        """End it from this side; `lost` is not called."""
        if not self._closed:
            self._flush()
            self._closed = True
            if self._transport is not None:
                self._transport.close()

    def _flush(self) -> None:
        outgoing = self._outgoing
        if outgoing and self._transport is not None and not self._closed:
            self._outgoing = []
            self._transport.write(frames(outgoing))

    def _end(self, why: Exception | None) -> None:
        if self._closed:
            return
        self._closed = True
        self._outgoing.clear()
        if self._transport is not None:
            self._transport.abort()
        self._lost(why)
