"""The HTTP face of the engine: vLLM's endpoints, and the words "rehearsal" wherever a client may look."""

import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from aiohttp import web

from fleetctl import __version__
from fleetctl.errors import Conflict, NotFound, UsageError
from fleetctl.rehearsal.asks import Ask, Shape, read_ask
from fleetctl.rehearsal.engine import PARTS, WAITING_LIMIT, Answer, Engine, EnginePhase
from fleetctl.rehearsal.exposition import GARBAGE, expose
from fleetctl.rehearsal.options import Options
from fleetctl.rehearsal.replies import DONE, Reply, Usage, fault, words

BODY_LIMIT_BYTES = 16 * 1024 * 1024
"""A prompt of 131072 tokens is half a megabyte of text, one as token numbers, and JSON escapes can make six of it."""

SERVER = f"fleetctl-rehearsal/{__version__}"

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    id: str
    object: str = "model"
    created: int
    owned_by: str = "fleetctl-rehearsal"
    root: str
    max_model_len: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Models:
    object: str = "list"
    data: tuple[_Model, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    version: str = __version__
    engine: str = "rehearsal"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sleeping:
    is_sleeping: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Called:
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Results:
    results: tuple[None, ...] = (None,)
    """One for each GPU's process."""


class Api:
    """The endpoints of one Engine."""

    def __init__(self, engine: Engine, options: Options) -> None:
        self._engine = engine
        self._options = options
        self._created = int(time.time())
        self._numbers = itertools.count(1)

    def application(self) -> web.Application:
        app = web.Application(client_max_size=BODY_LIMIT_BYTES, middlewares=[_faults_as_json])
        app.on_response_prepare.append(_name_server)
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/version", self._version),
                web.get("/metrics", self._metrics),
                web.get("/v1/models", self._models),
                web.post("/v1/completions", self._text),
                web.post("/v1/chat/completions", self._chat),
                web.post("/sleep", self._sleep),
                web.post("/wake_up", self._wake_up),
                web.post("/collective_rpc", self._collective_rpc),
                web.post("/reset_prefix_cache", self._reset_prefix_cache),
                web.get("/is_sleeping", self._is_sleeping),
            ]
        )
        return app

    async def _health(self, request: web.Request) -> web.Response:
        return self._loading() or web.Response()

    async def _version(self, request: web.Request) -> web.Response:
        return _json(_Version())

    async def _models(self, request: web.Request) -> web.Response:
        model = self._options.model
        length = self._options.max_model_len
        data = (_Model(id=n, created=self._created, root=model, max_model_len=length) for n in self._options.names)
        return self._loading() or _json(_Models(data=tuple(data)))

    async def _metrics(self, request: web.Request) -> web.Response:
        """503 while loading: an engine that cannot answer yet has no load, rather than a load of zero."""
        if (refusal := self._loading()) is not None:
            return refusal
        body = expose(self._engine.tally, self._engine.load, model=self._options.names[0])
        if self._options.failures.garbage_metrics:
            body = GARBAGE
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _sleep(self, request: web.Request) -> web.Response:
        if (refusal := self._loading()) is not None:
            return refusal
        level = request.query.get("level", "1")
        if level not in ("1", "2"):
            return _fault(400, "BadRequestError", f"level is {level!r}; sleep has the levels 1 and 2")
        await self._engine.sleep(int(level))
        return web.Response()

    async def _wake_up(self, request: web.Request) -> web.Response:
        if (refusal := self._loading()) is not None:
            return refusal
        parts = request.query.getall("tags", [])
        if unknown := set(parts) - PARTS:
            return _fault(400, "BadRequestError", f"tags are {', '.join(sorted(PARTS))}, not {min(unknown)}")
        await self._engine.wake(parts or PARTS)
        return web.Response()

    async def _collective_rpc(self, request: web.Request) -> web.Response:
        if (refusal := self._loading()) is not None:
            return refusal
        try:
            called = msgspec.json.decode(await request.read(), type=_Called)
        except msgspec.DecodeError as error:
            return _fault(400, "BadRequestError", str(error))
        if called.method != "reload_weights":
            return _fault(400, "BadRequestError", f"there is no method {called.method!r}")
        await self._engine.reload_weights()
        return _json(_Results())

    async def _reset_prefix_cache(self, request: web.Request) -> web.Response:
        if (refusal := self._loading()) is not None:
            return refusal
        self._engine.reset_prefix_cache()
        return web.Response()

    async def _is_sleeping(self, request: web.Request) -> web.Response:
        phase = self._engine.phase
        return self._loading() or _json(_Sleeping(is_sleeping=phase is not EnginePhase.READY))

    async def _text(self, request: web.Request) -> web.StreamResponse:
        return await self._complete(request, Shape.TEXT)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._complete(request, Shape.CHAT)

    async def _complete(self, request: web.Request, shape: Shape) -> web.StreamResponse:
        body = await request.read()
        if (refusal := self._loading() or self._unable()) is not None:
            return refusal
        ask = read_ask(shape, body, models=self._options.names, max_model_len=self._options.max_model_len)
        prefix = "cmpl" if shape is Shape.TEXT else "chatcmpl"
        number = next(self._numbers)
        reply = Reply(id=f"{prefix}-rehearsal-{number}", shape=shape, model=ask.model, created=int(time.time()))
        answer = self._engine.submit(
            prompt_tokens=ask.prompt_tokens,
            output_tokens=ask.output_tokens,
            tokens_per_chunk=self._options.tokens_per_chunk if ask.stream else None,
        )
        try:
            if ask.stream:
                return await self._stream(request, ask, answer, reply)
            text = words(await answer.take())
            return _body(reply.whole(text, answer.finish or "length", _usage(ask, answer)))
        finally:
            # The client is gone (aiohttp cancels us, or a write fails); or the answer has ended and this does nothing.
            self._engine.abort(answer)

    async def _stream(self, request: web.Request, ask: Ask, answer: Answer, reply: Reply) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        response.headers["Cache-Control"] = "no-cache"
        await response.prepare(request)
        first = True
        while True:
            fresh = await answer.take()
            event = reply.piece(words(fresh), answer.finish, first=first)
            first = False
            if answer.finish is not None:
                counted = reply.counted(_usage(ask, answer)) if ask.include_usage else b""
                await response.write(event + counted + DONE)
                await response.write_eof()
                return response
            await response.write(event)

    def _loading(self) -> web.Response | None:
        if self._engine.phase is not EnginePhase.LOADING:
            return None
        return _fault(503, "ServiceUnavailableError", "the model is loading")

    def _unable(self) -> web.Response | None:
        if self._engine.phase is not EnginePhase.READY:
            return _fault(503, "ServiceUnavailableError", "the engine is asleep; POST /wake_up wakes it")
        if self._engine.load.waiting >= WAITING_LIMIT:
            return _fault(503, "ServiceUnavailableError", f"{WAITING_LIMIT} requests wait already")
        return None


def _usage(ask: Ask, answer: Answer) -> Usage:
    return Usage(
        prompt_tokens=ask.prompt_tokens,
        completion_tokens=answer.produced,
        total_tokens=ask.prompt_tokens + answer.produced,
    )


def _body(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")


def _json(noun: _Models | _Version | _Sleeping | _Results) -> web.Response:
    return _body(msgspec.json.encode(noun))


def _fault(status: int, kind: str, message: str) -> web.Response:
    return _body(fault(status, kind, message), status)


async def _name_server(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = SERVER


@web.middleware
async def _faults_as_json(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Every refusal in OpenAI's shape: a client's parser meets one form only."""
    try:
        return await handler(request)
    except UsageError as error:
        return _fault(400, "BadRequestError", error.message)
    except NotFound as error:
        return _fault(404, "NotFoundError", error.message)
    except Conflict as error:
        return _fault(409, "ConflictError", f"{error.message}: {error.hint}")
    except web.HTTPException as error:
        return _fault(error.status, type(error).__name__, f"{request.method} {request.path}: {error.reason}")
