"""The connection of a client: reads one request at a time, waits for its answer, then reads the next."""

import asyncio
from typing import TYPE_CHECKING, Final, cast

from fleetctl.gateway.exchange import Exchange
from fleetctl.gateway.http1_chunks import BadFraming, ChunkScanner
from fleetctl.gateway.http1_heads import RequestHead, hopeless, parse_request
from fleetctl.gateway.limits import BODY_LIMIT_BYTES, PIPELINED_LIMIT_BYTES
from fleetctl.gateway.replies import CONTINUE, Refusal, bad_request, encode_refusal
from fleetctl.gateway.waits import Waits

if TYPE_CHECKING:
    from fleetctl.gateway.plane import DataPlane

_HEAD, _BODY, _BUSY, _LINGER = range(4)

_TOO_LARGE: Final = Refusal(
    status=413,
    code="body_too_large",
    message=f"The request's body is larger than {BODY_LIMIT_BYTES // 2**20} MB, the most that the gateway holds.",
)
_FULL: Final = Refusal(
    status=503,
    code="gateway_full",
    message="The gateway holds as many request bytes as it may. Try again.",
    retry_after_s=5,
)


class ClientConnection(asyncio.Protocol):
    """One client. At most one request of it is served at a time; bytes of later ones wait, bounded."""

    __slots__ = (
        "_asked", "_begun", "_body", "_body_bytes", "_plane", "_reading", "_scanner", "_searched", "_wait",
        "exchange", "held_bytes", "paused", "transport",
    )  # fmt: skip

    def __init__(self, plane: "DataPlane") -> None:
        self._plane = plane
        self._reading = _HEAD
        self._begun = bytearray()
        """Of a head not yet complete, or of requests after the one being served."""
        self._searched = 0
        """How much of `_begun` holds no end of a head for sure."""
        self._asked: RequestHead | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._scanner: ChunkScanner | None = None
        self._wait: Waits[ClientConnection] | None = None
        self.held_bytes = 0
        """Of the body, as counted by the plane."""
        self.exchange: Exchange | None = None
        self.paused = False
        """The client does not read what we write."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's has the methods, not the ancestor
        if not self._plane.admits(self):
            self.refuse_and_close(
                Refusal(status=503, code="too_many_connections", message="The gateway has no connection left.",
                        retry_after_s=1)
            )  # fmt: skip
            return
        self._wait_in(self._plane.heads)

    def data_received(self, data: bytes) -> None:
        if self._reading == _HEAD:
            if self._begun:
                self._begun += data
                end = self._begun.find(b"\r\n\r\n", self._searched) + 4
                if end >= 4:
                    data = self._take_begun()
                    self._read_head(data, end)
                    return
            else:
                end = data.find(b"\r\n\r\n") + 4
                if end >= 4:
                    self._read_head(data, end)
                    return
                self._begun += data
            self._head_incomplete()
        elif self._reading == _BODY:
            self._read_body(data)
        elif self._reading == _BUSY:
            self._begun += data
            if len(self._begun) > PIPELINED_LIMIT_BYTES:
                self.transport.pause_reading()

    def eof_received(self) -> bool:
        """A client that closes its half has gone: engines must not work for nobody."""
        if self.exchange is not None:
            self.transport.abort()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._wait_in(None)
        self._plane.stalls.stop(self)
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
        if self.exchange is not None and self.exchange.upstream is not None:
            self.exchange.upstream.resume()

    def reply(self, answer: bytes, *, close: bool) -> None:
        """An answer of the gateway's own to the request being served."""
        self.transport.write(answer)
        self.served(close=close)

    def refuse(self, refusal: Refusal) -> None:
        """Answer the request being served with a refusal; the connection stays usable if the client wants."""
        asked = self._asked
        close = asked is None or not asked.keep_alive
        self.reply(
            encode_refusal(refusal, close=close, head_only=asked is not None and asked.method == b"HEAD"), close=close
        )

    def served(self, *, close: bool) -> None:
        """The answer is complete: the next request may come."""
        self.exchange = None
        self._asked = None
        self._release_body()
        if close or self._plane.stopping:
            self._reading = _LINGER
            self._wait_in(None)
            self.transport.close()
            return
        self._reading = _HEAD
        if not self._begun:
            self._wait_in(self._plane.idles)
            return
        self._wait_in(self._plane.heads)
        self.transport.resume_reading()
        # A new turn of the loop: a thousand pipelined requests must not become a thousand frames of the stack.
        self._plane.loop.call_soon(self._read_begun)

    def refuse_and_close(self, refusal: Refusal) -> None:
        """Answer, then discard what else comes for a moment: a reset would take the answer from the client's hands."""
        self.exchange = None
        self._release_body()
        self._begun.clear()
        self._reading = _LINGER
        self.transport.write(encode_refusal(refusal, close=True))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._wait_in(self._plane.lingers)

    def cut(self) -> None:
        """End the connection after what was written; midway in an answer the client sees that it is incomplete."""
        self.exchange = None
        self._reading = _LINGER
        self._release_body()
        self._wait_in(None)
        self.transport.close()

    @property
    def resting(self) -> bool:
        """Between two requests."""
        return self._reading == _HEAD and not self._begun

    def begins_answer(self) -> None:
        """The request's bytes are not needed again."""
        self._release_body()

    def _read_begun(self) -> None:
        if self._reading == _HEAD and self._begun and not self.transport.is_closing():
            self.data_received(self._take_begun())

    def _take_begun(self) -> bytes:
        data = bytes(self._begun)
        self._begun.clear()
        self._searched = 0
        return data

    def _head_incomplete(self) -> None:
        why = hopeless(self._begun, self._searched)
        self._searched = max(0, len(self._begun) - 3)
        if why is not None:
            self._plane.malformed += 1
            self.refuse_and_close(bad_request(BadFraming(why)))
        elif self._wait is not self._plane.heads:
            self._wait_in(self._plane.heads)

    def _read_head(self, data: bytes, end: int) -> None:
        whole = end == len(data)
        try:
            asked = parse_request(data if whole else data[:end])
        except BadFraming as error:
            self._plane.malformed += 1
            self.refuse_and_close(bad_request(error))
            return
        if asked.upgrade == b"websocket":
            self._plane.malformed += 1
            self.refuse_and_close(
                Refusal(status=501, code="no_websocket", message="The gateway does not forward WebSocket connections.")
            )
            return
        self._asked = asked
        rest = b"" if whole else data[end:]
        if asked.chunked:
            self._scanner = ChunkScanner(keep=True)
        elif asked.content_length > BODY_LIMIT_BYTES:
            self._plane.malformed += 1
            self.refuse_and_close(_TOO_LARGE)
            return
        elif len(rest) >= asked.content_length:  # the usual case: all of it is here
            self._complete(rest, asked.content_length)
            return
        self._reading = _BODY
        self._body_bytes = 0
        self._wait_in(self._plane.bodies)
        if asked.expects_continue and not rest:
            self.transport.write(CONTINUE)
        if rest:
            self._read_body(rest)

    def _read_body(self, data: bytes) -> None:
        asked = self._asked
        assert asked is not None
        if self._scanner is not None:
            self._read_chunks(self._scanner, data)
            return
        missing = asked.content_length - self._body_bytes
        self._body.append(data)
        self._body_bytes += len(data)
        if not self._hold(min(len(data), missing)):
            return
        if len(data) >= missing:
            body = b"".join(self._body)
            self._body.clear()
            self._complete(body, asked.content_length)

    def _read_chunks(self, scanner: ChunkScanner, data: bytes) -> None:
        before = scanner.payload_bytes
        try:
            end = scanner.feed(data)
        except BadFraming as error:
            self._plane.malformed += 1
            self.refuse_and_close(bad_request(error))
            return
        if scanner.payload_bytes > BODY_LIMIT_BYTES:
            self._plane.malformed += 1
            self.refuse_and_close(_TOO_LARGE)
            return
        if not self._hold(scanner.payload_bytes - before):
            return
        if end >= 0:
            body = b"".join(scanner.payload)
            self._scanner = None
            self._complete(body + data[end:], len(body))

    def _hold(self, size_bytes: int) -> bool:
        self.held_bytes += size_bytes
        if self._plane.hold(size_bytes):
            return True
        self.refuse_and_close(_FULL)
        return False

    def _complete(self, data: bytes, length: int) -> None:
        asked = self._asked
        assert asked is not None
        if len(data) > length:
            self._begun += data[length:]
            data = data[:length]
        if not self.held_bytes and length and not self._hold(length):
            return
        self._reading = _BUSY
        self._wait_in(None)
        if len(self._begun) > PIPELINED_LIMIT_BYTES:
            self.transport.pause_reading()
        self._plane.accept(self, asked, data)

    def _release_body(self) -> None:
        self._plane.hold(-self.held_bytes)
        self.held_bytes = 0
        self._body.clear()
        self._scanner = None

    def _wait_in(self, wait: "Waits[ClientConnection] | None") -> None:
        if self._wait is not None:
            self._wait.stop(self)
        self._wait = wait
        if wait is not None:
            wait.start(self, self._plane.now())
