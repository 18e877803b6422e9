"""The connection to a replica: sends one request at a time, streams its answer to the client as it comes."""

import asyncio
from typing import TYPE_CHECKING, Final, cast

from fleetctl.gateway.exchange import Exchange
from fleetctl.gateway.http1_answers import AnswerHead, parse_answer
from fleetctl.gateway.http1_chunks import BadFraming, ChunkScanner
from fleetctl.gateway.limits import HEAD_LIMIT_BYTES, HEAD_REMEMBERED_LIMIT_BYTES, INTERIM_ANSWERS_MAX
from fleetctl.gateway.scheduler.ticket import Fault, Seat
from fleetctl.gateway.usage import USAGE_WINDOW_BYTES, usage_in

if TYPE_CHECKING:
    from fleetctl.gateway.plane import DataPlane

_ONE_WRITE_BYTES: Final = 64 * 1024
"""Head and body up to this go out in one write; above it, copying costs more than a second system call."""
_CLOSING_BYTES: Final = 64
"""What a stream ends with (`data: [DONE]`, the last chunk) is shorter than this, an event with `usage` is longer."""
_EVENT: Final = b"data:"
_EVENTS_WITHOUT_TOKEN: Final = 2
"""The first says who speaks, the last says that it is done."""

_HEAD, _COUNTED, _CHUNKED, _UNTIL_CLOSE = range(4)


class UpstreamConnection:
    """One connection to one Seat. It goes back to the pool only after an answer that ended exactly as framed.

    An `asyncio.Protocol` by what it does, not by descent, as ClientConnection.
    """

    __slots__ = (
        "_begun", "_events", "_interim", "_keep_alive", "_missing", "_paused", "_plane", "_reading", "_scanner", "_sse",
        "_tail", "due", "exchange", "heard", "rests_since", "seat", "served", "silent_s", "transport",
    )  # fmt: skip

    def __init__(self, plane: "DataPlane", seat: Seat) -> None:
        self._plane = plane
        self.seat = seat
        self.exchange: Exchange | None = None
        self.due = b""
        """A request to be written at the end of this turn of the loop."""
        self.served = 0
        self.rests_since = 0.0
        """Since when it is in the pool."""
        self.heard = False
        """Bytes came since the last sweep."""
        self.silent_s = 0.0
        self._reading = _HEAD
        self._begun = b""
        self._interim = 0
        """Answers like `100 Continue` before the one that counts."""
        self._missing = 0
        self._scanner: ChunkScanner | None = None
        self._keep_alive = False
        self._sse = False
        self._events = 0
        self._tail = b""
        """The last bytes of the answer's body so far that may hold its `usage`."""
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's has the methods, not the ancestor
        self._plane.upstreams.add(self)

    def send(self, exchange: Exchange) -> None:
        self.exchange = exchange
        exchange.upstream = self
        self.silent_s = 0.0
        if len(exchange.body) <= _ONE_WRITE_BYTES:
            self.due = exchange.head + exchange.body
            self._plane.outgoing.add(self)
        else:
            self.transport.write(exchange.head)
            self.transport.write(exchange.body)

    @property
    def unsent(self) -> bool:
        """Some of a request is not sent yet: it was answered before its replica had read it all, if it ever will."""
        return self.transport.get_write_buffer_size() > 0

    def end(self) -> None:
        """After an answer, where there is no next one."""
        if self.unsent:
            self.transport.abort()  # closed, it would stay until all is sent
        else:
            self.transport.close()

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
        if exchange is None or self.due:  # nothing was asked: this can only be mistaken for a later answer
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
                self._note(exchange, data)
                exchange.client.write(data)
        except BadFraming as error:
            self._sse = False  # the client may have half a chunk: nothing can be said any more
            self._fail(exchange, str(error))

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        """One request is bounded; a replica that does not take it is not sent another."""

    def resume_writing(self) -> None:
        """There is nothing more to send."""

    def connection_lost(self, error: Exception | None) -> None:
        self._plane.upstreams.discard(self)
        self._plane.pools.drop(self)
        unsent, self.due = bool(self.due), b""
        exchange = self.exchange
        if exchange is None:
            return
        if self._reading == _UNTIL_CLOSE and error is None:
            exchange.close = True
            self._complete(exchange, reusable=False)
        elif self.served and not self._begun and self._reading == _HEAD and (unsent or not exchange.begun):
            self.exchange = exchange.upstream = None
            self._plane.send_afresh(exchange, unsent=unsent)
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
        self.due = b""
        self.transport.abort()

    def fall_silent(self, exchange: Exchange) -> None:
        """It has said nothing for too long."""
        if not self._broke_off(exchange):
            self._plane.silent(exchange)

    def _read_head(self, exchange: Exchange, data: bytes) -> None:
        if self._begun:
            data = self._begun + data
        line = exchange.line
        known = line.known_answer
        if known is not None and (end := known.again(data)):
            self._begun = b""
            asked = exchange.asked
            if (
                known.ending
                and len(data) - end == known.content_length
                and not exchange.close
                and asked.method != b"HEAD"
            ):
                self._answer_whole(exchange, known, data, end)
            else:
                self._answer(exchange, known, data[end:])
            return
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
            self._interim += 1
            if self._interim > INTERIM_ANSWERS_MAX:
                raise BadFraming("the replica sends interim answers without end")
            data = data[end:]
        self._begun = b""
        self._interim = 0
        if head.status in (502, 503, 504) and exchange.retriable:
            exchange.upstream = None
            self.abandon()  # its body is unread
            self._plane.give_back(exchange, Fault.BUSY)
            return
        if head.status == 200 and end <= HEAD_REMEMBERED_LIMIT_BYTES:
            line.known_answer = head
        self._answer(exchange, head, data[end:])

    def _answer_whole(self, exchange: Exchange, head: AnswerHead, data: bytes, end: int) -> None:
        """The usual answer, all in one read behind a head that is known: what the long way does, in fewer steps."""
        exchange.client.write_soon(
            b"%b%d%bx-request-id: %b\r\n\r\n%b"
            % (head.before, head.content_length, head.after, exchange.request_id, data[end:])
        )
        exchange.usage = usage_in(data)
        self.exchange = exchange.upstream = None
        self.served += 1
        reusable = head.keep_alive and not self.transport.is_closing()
        self._plane.answered_whole(exchange, self, reusable=reusable)
        if not reusable:
            self.end()

    def _answer(self, exchange: Exchange, head: AnswerHead, rest: bytes) -> None:
        length = head.content_length if head.ending else None
        self._keep_alive = head.keep_alive
        asked = exchange.asked
        bodiless = asked.method == b"HEAD" or head.status in (204, 304)
        before = head.before
        if bodiless or length is not None:
            self._missing = 0 if bodiless or length is None else length
            self._reading = _COUNTED
        elif head.chunked:
            self._scanner = ChunkScanner(keep=asked.http10)
            self._sse = head.sse
            self._reading = _CHUNKED
            if asked.http10:
                exchange.close = True
                before = _unchunked(before)
        else:
            self._reading = _UNTIL_CLOSE
            exchange.close = True
        closing = b"Connection: close\r\n" if exchange.close else b""
        if length is None:
            forwarded = b"%b%bx-request-id: %b\r\n\r\n" % (before, closing, exchange.request_id)
        else:
            forwarded = b"%b%d%b%bx-request-id: %b\r\n\r\n" % (
                before, length, head.after, closing, exchange.request_id,
            )  # fmt: skip
        self._plane.answer_begins(exchange, head.status)
        if exchange.client.paused:
            self.pause()
        if self._reading == _COUNTED:
            self._pass_counted(exchange, rest, forwarded)
        elif self._reading == _CHUNKED:
            self._pass_chunked(exchange, rest, forwarded)
        else:
            self._note(exchange, rest)
            exchange.client.write(forwarded + rest)

    def _pass_counted(self, exchange: Exchange, data: bytes, head: bytes = b"") -> None:
        missing = self._missing - len(data)
        self._missing = missing
        if missing > 0:
            self._note(exchange, data)
            exchange.client.write(head + data if head else data)
            return
        if missing < 0:  # More than was said: the client gets exactly the answer, the connection is of no more use.
            data = data[:missing]
        if data:
            self._note(exchange, data)
        exchange.client.write(head + data if head else data)
        self._complete(exchange, reusable=self._keep_alive and not missing)

    def _pass_chunked(self, exchange: Exchange, data: bytes, head: bytes) -> None:
        scanner = self._scanner
        assert scanner is not None
        try:
            end = scanner.feed(data)
        except BadFraming:
            if head:
                exchange.client.write(head)
            raise
        if data:
            self._note(exchange, data)
        passed = data if end < 0 or end == len(data) else data[:end]
        if scanner.keep:
            passed = b"".join(scanner.payload)
            scanner.payload.clear()
        exchange.client.write(head + passed if head else passed)
        if end >= 0:
            self._complete(exchange, reusable=self._keep_alive and end == len(data))

    def _note(self, exchange: Exchange, data: bytes) -> None:
        """Bytes of the body have come: keep what the measures need of them, and no more."""
        if not exchange.first_s:
            self._plane.hears(exchange)
        if self._sse:
            self._events += data.count(_EVENT)
            if len(data) > _CLOSING_BYTES:
                self._tail = data if len(data) <= USAGE_WINDOW_BYTES else data[-USAGE_WINDOW_BYTES:]
        elif len(data) < USAGE_WINDOW_BYTES:
            self._tail = (self._tail + data)[-USAGE_WINDOW_BYTES:] if self._tail else data
        else:
            self._tail = data[-USAGE_WINDOW_BYTES:]

    def _complete(self, exchange: Exchange, *, reusable: bool) -> None:
        tokens = 0
        if self._tail:
            exchange.usage = usage_in(self._tail)
            self._tail = b""
        if self._sse:
            taken, tokens, cached = exchange.usage
            if not tokens:
                tokens = max(0, self._events - _EVENTS_WITHOUT_TOKEN)
                exchange.usage = taken, tokens, cached
            self._sse = False
            self._events = 0
        self._reading = _HEAD
        self._scanner = None
        self.exchange = exchange.upstream = None
        self.served += 1
        if self._paused:
            self.resume()
        self._plane.answered(exchange, tokens, self if reusable and not self.transport.is_closing() else None)
        if not reusable:
            self.end()

    def _fail(self, exchange: Exchange, why: str) -> None:
        if not self._broke_off(exchange):
            self._plane.failed(exchange, why)

    def _broke_off(self, exchange: Exchange) -> bool:
        """End this connection; if the client has seen the beginning of an answer, its end is told, too."""
        answering, between, scanner = self.answering, self.between_events, self._scanner
        until_close = self._reading == _UNTIL_CLOSE or (scanner is not None and scanner.keep)
        exchange.upstream = None
        self.abandon()
        if answering:
            self._plane.broken(exchange, between_events=between, until_close=until_close)
        return answering


def _unchunked(lines: bytes) -> bytes:
    return b"".join(
        line for line in lines.splitlines(keepends=True) if not line.lower().startswith(b"transfer-encoding:")
    )
