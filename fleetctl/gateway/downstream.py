"""The connection of a client: reads one request at a time, waits for its answer, then reads the next."""

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Final, cast

from fleetctl.gateway.exchange import Exchange
from fleetctl.gateway.http1_chunks import BadFraming, ChunkScanner
from fleetctl.gateway.http1_heads import RequestHead, hopeless, parse_request
from fleetctl.gateway.limits import (
    BODY_LIMIT_BYTES,
    HEAD_REMEMBERED_LIMIT_BYTES,
    PIPELINED_LIMIT_BYTES,
    TURNED_AWAY_MAX,
)
from fleetctl.gateway.refusals import FULL, NO_WEBSOCKET, TOO_LARGE, TOO_MANY
from fleetctl.gateway.replies import CONTINUE, Refusal, bad_request, encode_refusal
from fleetctl.gateway.waits import Waits

if TYPE_CHECKING:
    from fleetctl.gateway.plane import DataPlane

_HEAD, _BODY, _BUSY, _LINGER = range(4)

_NEVER: Final = float("inf")
_RESETS: Final = struct.pack("ii", 1, 0)
"""Linger on, for no time."""


class ClientConnection:
    """One client. At most one request of it is served at a time; bytes of later ones wait, bounded.

    An `asyncio.Protocol` by what it does, not by descent: the native build could not make such a class.
    """

    __slots__ = (
        "_asked", "_begun", "_body", "_known", "_length", "_plane", "_reading", "_scanner", "_searched",
        "_wait", "due", "exchange", "held_bytes", "paused", "rests_since", "transport",
    )  # fmt: skip

    def __init__(self, plane: "DataPlane") -> None:
        self._plane = plane
        self._reading = _HEAD
        self._begun: bytearray | None = None
        """Of a head not yet complete, or of requests after the one being served."""
        self._searched = 0
        """How much of `_begun` holds no end of a head for sure."""
        self._asked: RequestHead | None = None
        self._known: RequestHead | None = None
        """The newest head of this client, which it will probably send again."""
        self._length = 0
        """Of the body, unless it comes in chunks."""
        self._body: bytearray | None = None
        self._scanner: ChunkScanner | None = None
        self._wait: Waits[ClientConnection] | None = None
        self.due = b""
        """An answer to be written at the end of this turn of the loop."""
        self.held_bytes = 0
        """Of the body, as counted by the plane."""
        self.exchange: Exchange | None = None
        self.rests_since = _NEVER
        """Since when it has asked for nothing, after an answer."""
        self.paused = False
        """The client does not read what we write."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's has the methods, not the ancestor
        surplus = self._plane.admit_client(self)
        if surplus > TURNED_AWAY_MAX:
            self.transport.abort()
            return
        if surplus > 0:
            self.refuse_and_close(TOO_MANY)
            return
        self._wait_in(self._plane.heads)

    def data_received(self, data: bytes) -> None:
        if self._reading == _HEAD:
            if self.paused:  # or answers that it does not read would pile up here
                self._wait_to_read(data)
                return
            begun = self._begun
            if begun is None:
                known = self._known
                if known is not None and (end := known.again(data)):
                    length = known.content_length
                    if len(data) - end != length or known.chunked:
                        self._begin(known, data, end)
                        return
                    self._asked = known  # the usual case: one read, one request
                    self._reading = _BUSY
                    self.rests_since = _NEVER
                    if self._wait is not None:
                        self._wait_in(None)
                    if length and not self._hold(length):
                        return
                    self._plane.accept(self, known, data[end:])
                    return
                end = data.find(b"\r\n\r\n") + 4
                if end >= 4:
                    self._read_head(data, end)
                    return
                begun = self._begun = bytearray(data)
            else:
                begun += data
                end = begun.find(b"\r\n\r\n", self._searched) + 4
                if end >= 4:
                    self._read_head(self._take_begun(), end)
                    return
            self._head_incomplete(begun)
        elif self._reading == _BODY:
            self._read_body(data)
        elif self._reading == _BUSY:
            self._wait_to_read(data)

    def eof_received(self) -> bool:
        """A client that closes its half has gone: engines must not work for nobody."""
        if self.exchange is not None:
            self.transport.abort()
        else:
            self.flush()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._wait_in(None)
        self._plane.stalls.stop(self)
        self._plane.crowds.stop(self)
        self._plane.clients.discard(self)
        self._release_body()
        self._reading = _LINGER
        exchange = self.exchange
        if exchange is not None:
            self.exchange = None
            self._plane.client_gone(exchange)

    def pause_writing(self) -> None:
        self.paused = True
        self._plane.stalls.start(self, self._plane.now())
        if self.exchange is not None and self.exchange.upstream is not None and self.exchange.upstream.answering:
            self.exchange.upstream.pause()

    def resume_writing(self) -> None:
        self.paused = False
        self._plane.stalls.stop(self)
        if self.transport.is_closing():
            self._plane.stalls.start(self, self._plane.now())
        elif self.exchange is not None and self.exchange.upstream is not None:
            self.exchange.upstream.resume()
        elif self._reading == _HEAD and self._begun is not None:
            self._go_on(self._plane.now())

    def write(self, data: bytes) -> None:
        """Now, and behind what is due."""
        if self.due:
            self.flush()
        self.transport.write(data)

    def write_soon(self, answer: bytes) -> None:
        """A whole answer, with the others of this turn."""
        if self.due:  # more than one request of its own in one turn
            self.flush()
        self.due = answer
        self._plane.outgoing.add(self)

    def flush(self) -> None:
        data, self.due = self.due, b""
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def reply(self, answer: bytes, *, close: bool) -> None:
        """An answer of the gateway's own to the request being served."""
        self.write(answer)
        self.served(self._plane.now(), close=close)

    def refuse(self, refusal: Refusal, request_id: bytes) -> None:
        """Answer the request being served with a refusal; the connection stays usable if the client wants."""
        self._plane.records.count(refusal)
        asked = self._asked
        close = asked is None or not asked.keep_alive or self._plane.stopping
        head_only = asked is not None and asked.method == b"HEAD"
        self.reply(encode_refusal(refusal, close=close, head_only=head_only, request_id=request_id), close=close)

    def served(self, now: float, *, close: bool) -> None:
        """The answer is complete: the next request may come."""
        self.exchange = None
        self._asked = None
        if self.held_bytes:
            self._release_body()
        if close or self._plane.stopping:
            self._reading = _LINGER
            self._wait_in(None)
            self.flush()
            self.close(now)
            return
        self._reading = _HEAD
        if self._begun is None:
            self.rests_since = now
        elif not self.paused:
            self._go_on(now)

    def refuse_and_close(self, refusal: Refusal) -> None:
        """Answer, then discard what else comes for a moment: a reset would take the answer from the client's hands."""
        self._plane.records.count(refusal)
        self.exchange = None
        self._release_body()
        self._begun = None
        self._reading = _LINGER
        self.write(encode_refusal(refusal, close=True))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._wait_in(self._plane.lingers)

    def cut(self) -> None:
        """End the connection after what was written; midway in an answer the client sees that it is incomplete."""
        self.exchange = None
        self._reading = _LINGER
        self._release_body()
        self._wait_in(None)
        self.flush()
        self.close(self._plane.now())

    def close(self, now: float) -> None:
        """End the connection when the client has taken all that was written, or stalls."""
        self.transport.close()
        self._plane.stalls.start(self, now)

    def reset(self) -> None:
        """End the connection so that its end cannot be taken for the end of what was written."""
        self.exchange = None
        self._reading = _LINGER
        self._release_body()
        sock = self.transport.get_extra_info("socket")
        if sock is not None:  # without this the kernel would end it as if all were well
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETS)
        self.transport.abort()

    def leave(self) -> None:
        """The gateway ends: what this client has begun to ask is refused; one that is being answered stays."""
        refusal = self._plane.shut
        if self.resting:
            self.cut()
        elif refusal is not None and self._reading in (_HEAD, _BODY):
            self.refuse_and_close(refusal)

    @property
    def resting(self) -> bool:
        """Between two requests."""
        return self._reading == _HEAD and self._begun is None

    def begins_answer(self) -> None:
        """The request's bytes are not needed again."""
        self._release_body()

    @property
    def _too_much_begun(self) -> bool:
        return self._begun is not None and len(self._begun) > PIPELINED_LIMIT_BYTES

    def _stop_reading(self) -> None:
        self.transport.pause_reading()
        self._plane.crowds.start(self, self._plane.now())

    def _keep_for_later(self, data: bytes) -> None:
        if self._begun is None:
            self._begun = bytearray(data)
        else:
            self._begun += data

    def _wait_to_read(self, data: bytes) -> None:
        """It is the turn of these bytes when the request before them is answered, and its answer taken."""
        self._keep_for_later(data)
        if self._too_much_begun:
            self._stop_reading()

    def _go_on(self, now: float) -> None:
        """With the request that came during the one before."""
        self._wait_in(self._plane.heads)
        self._plane.crowds.stop(self)
        self.transport.resume_reading()
        # A new turn of the loop: a thousand pipelined requests must not become a thousand frames of the stack.
        self._plane.loop.call_soon(self._read_begun)

    def _read_begun(self) -> None:
        if self._reading == _HEAD and self._begun is not None and not self.paused and not self.transport.is_closing():
            self.data_received(self._take_begun())

    def _take_begun(self) -> bytes:
        data = bytes(self._begun or b"")
        self._begun = None
        self._searched = 0
        return data

    def _head_incomplete(self, begun: bytearray) -> None:
        why = hopeless(begun, self._searched)
        self._searched = max(0, len(begun) - 3)
        if why is not None:
            self._plane.records.malformed += 1
            self.refuse_and_close(bad_request(BadFraming(why)))
        elif self._wait is not self._plane.heads:
            self.rests_since = _NEVER
            self._wait_in(self._plane.heads)

    def _read_head(self, data: bytes, end: int) -> None:
        try:
            asked = parse_request(data[:end])
        except BadFraming as error:
            self._plane.records.malformed += 1
            self.refuse_and_close(bad_request(error))
            return
        if asked.upgrade == b"websocket":
            self._plane.records.malformed += 1
            self.refuse_and_close(NO_WEBSOCKET)
            return
        if end <= HEAD_REMEMBERED_LIMIT_BYTES:
            length = asked.content_length
            asked = self._known = self._plane.remember(asked)
            asked.content_length = length
        self._begin(asked, data, end)

    def _begin(self, asked: RequestHead, data: bytes, end: int) -> None:
        """A head has come, and `data` goes on behind it."""
        self._asked = asked
        self._length = length = asked.content_length
        rest = data[end:]
        if asked.chunked:
            self._scanner = ChunkScanner(keep=True)
        elif length > BODY_LIMIT_BYTES:
            self._plane.records.malformed += 1
            self.refuse_and_close(TOO_LARGE)
            return
        elif len(rest) >= length:  # the usual case: all of it is here
            self._complete(asked, rest, length)
            return
        refusal = self._plane.turns_away(asked)
        if refusal is not None:
            self.refuse_and_close(refusal)
            return
        self._reading = _BODY
        self.rests_since = _NEVER
        self._body = bytearray()
        self._wait_in(self._plane.bodies)
        if asked.expects_continue and not rest:
            self.write(CONTINUE)
        if rest:
            self._read_body(rest)

    def _read_body(self, data: bytes) -> None:
        asked, body = self._asked, self._body
        assert asked is not None
        assert body is not None
        if self._scanner is not None:
            self._read_chunks(asked, self._scanner, data)
            return
        missing = self._length - len(body)
        body += data
        if not self._hold(min(len(data), missing)):
            return
        if len(data) >= missing:
            self._body = None
            self._complete(asked, bytes(body), self._length)

    def _read_chunks(self, asked: RequestHead, scanner: ChunkScanner, data: bytes) -> None:
        before = scanner.payload_bytes
        try:
            end = scanner.feed(data)
        except BadFraming as error:
            self._plane.records.malformed += 1
            self.refuse_and_close(bad_request(error))
            return
        if scanner.payload_bytes > BODY_LIMIT_BYTES:
            self._plane.records.malformed += 1
            self.refuse_and_close(TOO_LARGE)
            return
        if not self._hold(scanner.payload_bytes - before):
            return
        if end >= 0:
            body = b"".join(scanner.payload)
            self._scanner = None
            self._complete(asked, body + data[end:], len(body))

    def _hold(self, size_bytes: int) -> bool:
        self.held_bytes += size_bytes
        plane = self._plane
        plane.held_bytes += size_bytes
        if plane.held_bytes <= plane.held_max_bytes:
            return True
        self.refuse_and_close(FULL)
        return False

    def _complete(self, asked: RequestHead, data: bytes, length: int) -> None:
        if len(data) > length:
            self._keep_for_later(data[length:])
            data = data[:length]
        if not self.held_bytes and length and not self._hold(length):
            return
        self._reading = _BUSY
        self.rests_since = _NEVER
        if self._wait is not None:
            self._wait_in(None)
        if self._too_much_begun:
            self._stop_reading()
        self._plane.accept(self, asked, data)

    def _release_body(self) -> None:
        if self.held_bytes:
            self._plane.held_bytes -= self.held_bytes
            self.held_bytes = 0
        self._body = None
        self._scanner = None

    def _wait_in(self, wait: "Waits[ClientConnection] | None") -> None:
        if self._wait is not None:
            self._wait.stop(self)
        self._wait = wait
        if wait is not None:
            wait.start(self, self._plane.now())
