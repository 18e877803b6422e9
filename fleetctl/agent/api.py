"""The agent's HTTP interface, on a Unix socket that only its owner can open."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec
from aiohttp import web

from fleetctl.agent.node import Node
from fleetctl.errors import AgentFailure, Conflict, FleetError, NotFound, UsageError
from fleetctl.model.names import ReplicaId
from fleetctl.model.nodes import NodeDesired

EnginesAtShutdown = Literal["stop", "keep"]

_BODY_LIMIT_BYTES = 16 * 1024 * 1024
"""A desired state of 64 Replicas is some 100 kB; this leaves room for very long command lines."""

TAIL_LIMIT_BYTES = 4 * 1024 * 1024
"""Of a log, in one answer: more than a person reads, small beside the agent's memory."""

_TAIL_BYTES = 64 * 1024
"""Of a log, when the question does not say."""


def application(node: Node, shut_down: Callable[[EnginesAtShutdown], None]) -> web.Application:
    """Routes over one Node; `shut_down` is called when the agent is asked to leave."""

    async def health(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def status(_: web.Request) -> web.Response:
        return _json(node.status())

    async def desired(request: web.Request) -> web.Response:
        try:
            wanted = msgspec.json.decode(await request.read(), type=NodeDesired)
        except msgspec.DecodeError as error:
            raise UsageError(f"this is no desired state: {error}") from None
        node.apply(wanted)
        return web.Response(status=204)

    async def replica_logs(request: web.Request) -> web.Response:
        asked = request.query.get("tail", str(_TAIL_BYTES))
        if not asked.isdigit() or not 0 < int(asked) <= TAIL_LIMIT_BYTES:
            raise UsageError(f"tail={asked} is not a number of bytes from 1 to {TAIL_LIMIT_BYTES}")
        text = await node.log_tail(ReplicaId(request.match_info["replica"]), int(asked))
        return web.Response(body=text, content_type="text/plain")

    async def shutdown(request: web.Request) -> web.Response:
        match request.query.get("engines", "keep"):
            case "stop":
                shut_down("stop")
            case "keep":
                shut_down("keep")
            case other:
                raise UsageError(f"engines={other} is neither stop nor keep")
        return web.Response(status=202)

    app = web.Application(client_max_size=_BODY_LIMIT_BYTES, middlewares=[_errors])
    app.router.add_get("/healthz", health)
    app.router.add_get("/v1/status", status)
    app.router.add_put("/v1/desired", desired)
    app.router.add_get("/v1/replicas/{replica}/logs", replica_logs)
    app.router.add_post("/v1/shutdown", shutdown)
    return app


@web.middleware
async def _errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Our errors, as JSON with the HTTP status that fits."""
    try:
        return await handler(request)
    except UsageError as error:
        return _error(400, error)
    except NotFound as error:
        return _error(404, error)
    except Conflict as error:
        return _error(409, error)
    except AgentFailure as error:
        return _error(502, error)


def _error(status: int, error: FleetError) -> web.Response:
    return _json({"error": error.message, "hint": error.hint, "code": error.code}, status=status)


def _json(value: Any, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")
