"""The connection to a replica: sends one request at a time, streams its answer to the client as it comes."""

import asyncio
from typing import TYPE_CHECKING, Final, cast

from fleetctl.gateway.exchange import Exchange
from fleetctl.gateway.http1_chunks import BadFraming, ChunkScanner
from fleetctl.gateway.http1_heads import AnswerHead, parse_answer
from fleetctl.gateway.limits import HEAD_LIMIT_BYTES
from fleetctl.gateway.queue import Incarnation

if TYPE_CHECKING:
    from fleetctl.gateway.lines import ServiceLine
    from fleetctl.gateway.plane import DataPlane

_ONE_WRITE_BYTES: Final = 64 * 1024
"""Head and body up to this go out in one write; above it, copying costs more than a second system call."""

_HEAD, _COUNTED, _CHUNKED, _UNTIL_CLOSE = range(4)


class UpstreamConnection(asyncio.Protocol):
    """One connection to one Incarnation. It goes back to the pool only after an answer that ended exactly as framed."""

    __slots__ = (
        "_begun", "_keep_alive", "_missing", "_paused", "_plane", "_reading", "_scanner", "_sse", "exchange",
        "heard", "incarnation", "line", "served", "silent_s", "transport",
    )  # fmt: skip

    def __init__(self, plane: "DataPlane", line: "ServiceLine", incarnation: Incarnation) -> None:
        self._plane = plane
        self.line = line
        self.incarnation = incarnation
        self.exchange: Exchange | None = None
        self.served = 0
        self.heard = False
        """Bytes came since the last sweep."""
        self.silent_s = 0.0
        self._reading = _HEAD
        self._begun = b""
        self._missing = 0
        self._scanner: ChunkScanner | None = None
        self._keep_alive = False
        self._sse = False
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's has the methods, not the ancestor
        self._plane.upstreams.add(self)

    def send(self, exchange: Exchange) -> None:
        self.exchange = exchange
        exchange.upstream = self
        self.silent_s = 0.0
        if len(exchange.body) <= _ONE_WRITE_BYTES:
            self.transport.write(exchange.head + exchange.body)
        else:
            self.transport.write(exchange.head)
            self.transport.write(exchange.body)

    @property
    def answering(self) -> bool:
        """The client has seen the beginning of this answer."""
        return self._reading != _HEAD

    @property
    def between_events(self) -> bool:
        """An event of our own would be well-formed: between two chunks of a stream that the client reads as chunks."""
        scanner = self._scanner
        return self._sse and scanner is not None and not scanner.keep and scanner.between_chunks

    def data_received(self, data: bytes) -> None:
        self.heard = True
        exchange = self.exchange
        if exchange is None:  # nothing was asked: what comes now can only be mistaken for a later answer
            self.transport.abort()
            return
        try:
            if self._reading == _CHUNKED:
                self._pass_chunked(exchange, data, b"")
            elif self._reading == _COUNTED:
                self._pass_counted(exchange, data)
            elif self._reading == _HEAD:
                self._read_head(exchange, data)
            else:
                exchange.client.transport.write(data)
        except BadFraming as error:
            self._sse = False  # the client may have half a chunk: nothing can be said any more
            self._fail(exchange, str(error))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._plane.upstreams.discard(self)
        exchange = self.exchange
        if exchange is None:
            self._plane.unpool(self)
            return
        if self._reading == _UNTIL_CLOSE and error is None:
            exchange.close = True
            self._complete(exchange, reusable=False)
        elif self.served and not self._begun and self._reading == _HEAD and not exchange.refreshed:
            self.exchange = exchange.upstream = None
            self._plane.send_afresh(exchange)
        else:
            self._fail(exchange, "the replica closed the connection")

    def pause(self) -> None:
        """The client does not keep up."""
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def abandon(self) -> None:
        """Nobody waits for the answer any more: the engine is to notice at once."""
        self.exchange = None
        self.transport.abort()

    def _read_head(self, exchange: Exchange, data: bytes) -> None:
        if self._begun:
            data = self._begun + data
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                if len(data) > HEAD_LIMIT_BYTES:
                    raise BadFraming("the answer's head is longer than 64 KB")
                self._begun = data
                return
            head = parse_answer(data[:end])
            if head.status >= 200:
                break
            if head.status == 101:
                raise BadFraming("the replica switched protocols unasked")
            data = data[end:]
        self._begun = b""
        if head.status in (502, 503, 504) and self._plane.try_elsewhere(exchange):
            self.abandon()  # its body is unread
            return
        self._answer(exchange, head, data[:end], data[end:])

    def _answer(self, exchange: Exchange, head: AnswerHead, raw: bytes, rest: bytes) -> None:
        self._keep_alive = head.keep_alive
        bodiless = exchange.head_only or head.status in (204, 304)
        if bodiless or (not head.chunked and head.length is not None):
            self._missing = 0 if bodiless or head.length is None else head.length
            self._reading = _COUNTED
        elif head.chunked:
            self._scanner = ChunkScanner(keep=exchange.http10)
            self._sse = b"text/event-stream" in head.lines.lower()
            self._reading = _CHUNKED
            exchange.close = exchange.close or exchange.http10
        else:
            self._reading = _UNTIL_CLOSE
            exchange.close = True
        lines = head.lines
        if head.chunked and exchange.http10:
            lines = b"".join(
                line for line in lines.splitlines(keepends=True) if not line.lower().startswith(b"transfer-encoding:")
            )
        closing = b"Connection: close\r\n" if exchange.close else b""
        if not closing and len(lines) + len(head.reason) + 13 == len(raw):  # nothing was taken out: as it came
            forwarded = raw if raw.startswith(b"HTTP/1.1") else b"HTTP/1.1" + raw[8:]
        else:
            forwarded = b"HTTP/1.1 %b\r\n%b%b\r\n" % (head.reason, lines, closing)
        self._plane.answer_begins(exchange)
        if exchange.client.paused:
            self.pause()
        if self._reading == _COUNTED:
            self._pass_counted(exchange, rest, forwarded)
        elif self._reading == _CHUNKED:
            self._pass_chunked(exchange, rest, forwarded)
        else:
            exchange.client.transport.write(forwarded + rest)

    def _pass_counted(self, exchange: Exchange, data: bytes, head: bytes = b"") -> None:
        missing = self._missing - len(data)
        self._missing = missing
        if missing > 0:
            exchange.client.transport.write(head + data if head else data)
            return
        if missing == 0:
            exchange.client.transport.write(head + data if head else data)
            self._complete(exchange, reusable=self._keep_alive)
            return
        # More than was said: the client gets exactly the answer, and the connection is of no more use.
        exchange.client.transport.write(head + data[:missing])
        self._complete(exchange, reusable=False)

    def _pass_chunked(self, exchange: Exchange, data: bytes, head: bytes) -> None:
        scanner = self._scanner
        assert scanner is not None
        try:
            end = scanner.feed(data)
        except BadFraming:
            if head:
                exchange.client.transport.write(head)
            raise
        passed = data if end < 0 or end == len(data) else data[:end]
        if scanner.keep:
            passed = b"".join(scanner.payload)
            scanner.payload.clear()
        exchange.client.transport.write(head + passed if head else passed)
        if end >= 0:
            self._complete(exchange, reusable=self._keep_alive and end == len(data))

    def _complete(self, exchange: Exchange, *, reusable: bool) -> None:
        self.exchange = exchange.upstream = None
        self._reading = _HEAD
        self._scanner = None
        self.served += 1
        self.resume()
        if reusable and not self.transport.is_closing():
            self._plane.pool(self)
        else:
            self.transport.close()
        self._plane.answered(exchange)

    def _fail(self, exchange: Exchange, why: str) -> None:
        answering, between = self.answering, self.between_events
        exchange.upstream = None
        self.abandon()
        if answering:
            self._plane.broken(exchange, between_events=between)
        else:
            self._plane.failed(exchange, why)
