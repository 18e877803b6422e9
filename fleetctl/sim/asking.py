"""One request of a replay: asks an OpenAI-compatible endpoint for an answer and measures how it comes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
import msgspec

from fleetctl.ports import Clock
from fleetctl.sim.traces import Request

CONNECT_TIMEOUT_S = 10.0
"""To connect, not to be answered: waiting in a gateway's queue is bounded by the deadline alone."""
EVENT_LIMIT_BYTES = 1 << 20
"""An event of a stream holds one token and some names; a megabyte without a line's end is no event stream."""

ANSWERED = ""
"""An `Answer.failure` of none."""
NOT_SENT = "not sent: too many in flight"
NOT_CONNECTED = "no connection"
CUT_OFF = "cut off"
NOT_DONE = "ended without [DONE]"
TOO_SHORT = "fewer tokens than asked"
FAULT_IN_STREAM = "error in the stream"
NOT_UNDERSTOOD = "not an OpenAI answer"
UNANSWERED = "unanswered at the end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one request. Seconds count from when it should have left."""

    event: str = "answer"
    arrival_s: float
    """In the Trace's own time."""
    lag_s: float
    """How late it left."""
    ttft_s: float | None
    """To the first text of the answer; without streaming, to its end. None: no text came."""
    latency_s: float
    """To the end of the answer, or to its failure."""
    tokens: int
    """As the endpoint counts them; where it does not, pieces of text."""
    failure: str
    """Empty: answered in full. Otherwise one of this module's reasons, or `status` with the HTTP status."""


@dataclass(slots=True, kw_only=True)
class _Reply:
    """An answer while it comes in."""

    due_at: float
    left_at: float
    ttft_s: float | None = None
    pieces: int = 0
    stated_tokens: int | None = None

    @property
    def tokens(self) -> int:
        return self.pieces if self.stated_tokens is None else self.stated_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    role: str = "user"
    content: str = "Say something."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rehearsal:
    """The rehearsal engine's extension: how long the prompt is to count. Others pass it over."""

    input_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _StreamOptions:
    include_usage: bool = True
    """Several tokens may come in one piece, so that pieces cannot be counted for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body:
    model: str
    messages: tuple[_Message, ...]
    max_tokens: int
    stream: bool
    stream_options: _StreamOptions | msgspec.UnsetType
    """Refused by some servers where nothing is streamed."""
    rehearsal: _Rehearsal


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    content: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    delta: _Said | None = None
    message: _Said | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Usage:
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """A piece of a streamed answer, or a whole one that is not streamed."""

    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None
    error: object = None

    @property
    def text(self) -> str:
        return "".join(
            said.content for choice in self.choices for said in (choice.delta, choice.message) if said and said.content
        )


_DECODER = msgspec.json.Decoder(_Event)


@dataclass(slots=True, kw_only=True)
class Asker:
    """Asks one endpoint for chat answers."""

    session: aiohttp.ClientSession
    url: str
    """Of the endpoint itself, up to `/chat/completions`."""
    model: str
    stream: bool
    exact: bool
    """Fewer tokens than asked are a failure."""
    clock: Clock
    deadline: float
    """On the event loop's clock: what is not answered by then is given up."""
    on_first: Callable[[float], None]
    """Called with the TTFT in seconds when the first text of an answer comes."""

    async def ask(self, request: Request, due_at: float) -> Answer:
        """Send it now; `due_at` is when it should have left. Failures are in the Answer, not raised."""
        reply = _Reply(due_at=due_at, left_at=self.clock.now())
        try:
            async with asyncio.timeout_at(self.deadline):
                failure = await self._answer(request, reply)
        except TimeoutError:
            failure = UNANSWERED
        return Answer(
            arrival_s=request.arrival_s,
            lag_s=reply.left_at - reply.due_at,
            ttft_s=reply.ttft_s,
            latency_s=self.clock.now() - reply.due_at,
            tokens=reply.tokens,
            failure=failure,
        )

    async def _answer(self, request: Request, reply: _Reply) -> str:
        asked = max(1, request.output_tokens)
        body = _Body(
            model=self.model,
            messages=(_Message(),),
            max_tokens=asked,
            stream=self.stream,
            stream_options=_StreamOptions() if self.stream else msgspec.UNSET,
            rehearsal=_Rehearsal(input_tokens=max(1, request.input_tokens)),
        )
        try:
            async with self.session.post(self.url, data=msgspec.json.encode(body), allow_redirects=False) as response:
                if response.status != 200:
                    await response.read()
                    return f"status {response.status}"
                failure = await (self._read_stream if self.stream else self._read_whole)(response, reply)
        except aiohttp.ClientConnectorError:
            return NOT_CONNECTED
        except aiohttp.ConnectionTimeoutError:
            return NOT_CONNECTED
        except (aiohttp.ClientError, ConnectionError):
            return CUT_OFF
        except msgspec.DecodeError:
            return NOT_UNDERSTOOD
        if not failure and (reply.pieces == 0 or (self.exact and reply.tokens < asked)):
            return TOO_SHORT
        return failure

    async def _read_stream(self, response: aiohttp.ClientResponse, reply: _Reply) -> str:
        """Read server-sent events to the end of the body."""
        done, rest = False, b""
        async for piece in response.content.iter_any():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if not line.startswith(b"data:"):
                    continue  # blank lines, comments and event names
                data = line[5:].strip()
                if data == b"[DONE]":
                    done = True
                    continue
                event = _DECODER.decode(data)
                if event.error is not None:
                    return FAULT_IN_STREAM
                self._take(reply, event)
            if len(rest) > EVENT_LIMIT_BYTES:
                return NOT_UNDERSTOOD
        return ANSWERED if done else NOT_DONE

    async def _read_whole(self, response: aiohttp.ClientResponse, reply: _Reply) -> str:
        event = _DECODER.decode(await response.read())
        if event.error is not None:
            return FAULT_IN_STREAM
        self._take(reply, event)
        return ANSWERED

    def _take(self, reply: _Reply, event: _Event) -> None:
        if event.text:
            reply.pieces += 1
            if reply.ttft_s is None:
                reply.ttft_s = self.clock.now() - reply.due_at
                self.on_first(reply.ttft_s)
        if event.usage is not None:
            reply.stated_tokens = event.usage.completion_tokens
