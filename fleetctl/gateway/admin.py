"""The admin interface, HTTP on a Unix socket: routes in; stats, metrics and health out; the order to stop."""

import os
import time
from collections.abc import Callable

import msgspec
from aiohttp import web

from fleetctl import __version__
from fleetctl.errors import Conflict
from fleetctl.gateway.health import GatewayHealth
from fleetctl.gateway.metrics import exposition
from fleetctl.gateway.plane import DataPlane
from fleetctl.model.routes import Routes

ROUTES_LIMIT_BYTES = 16 * 1024 * 1024
"""One PUT of routes: a hundred thousand replicas."""


def admin_app(plane: DataPlane, *, listen: str, stop: Callable[[], None]) -> web.Application:
    """The application; `stop` is called for `POST /shutdown`."""
    started_at = time.time()
    decoder = msgspec.json.Decoder(Routes)

    async def put_routes(request: web.Request) -> web.Response:
        try:
            routes = decoder.decode(await request.read())
        except msgspec.DecodeError as error:
            return web.Response(status=400, text=f"these are no routes: {error}")
        try:
            plane.route(routes)
        except Conflict as error:
            return web.Response(status=409, text=error.message)
        return web.Response(status=204)

    async def get_stats(_: web.Request) -> web.Response:
        return _json(plane.stats())

    async def get_metrics(_: web.Request) -> web.Response:
        body = exposition(plane.measures()).encode()
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def get_health(_: web.Request) -> web.Response:
        return _json(
            GatewayHealth(
                pid=os.getpid(),
                version=__version__,
                listen=listen,
                started_at=started_at,
                fence=plane.fence,
                services=plane.services,
                stopping=plane.stopping,
            )
        )

    async def post_shutdown(_: web.Request) -> web.Response:
        stop()
        return web.Response(status=202)

    app = web.Application(client_max_size=ROUTES_LIMIT_BYTES)
    app.add_routes(
        [
            web.put("/routes", put_routes),
            web.get("/stats", get_stats),
            web.get("/metrics", get_metrics),
            web.get("/healthz", get_health),
            web.post("/shutdown", post_shutdown),
        ]
    )
    return app


def _json(document: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), content_type="application/json")
