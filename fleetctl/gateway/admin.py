"""The admin interface, HTTP on a Unix socket: routes and identity in; stats, use, metrics and health out; the order
to stop."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from aiohttp import web

from fleetctl import __version__
from fleetctl.errors import Conflict, UsageError
from fleetctl.gateway.health import GatewayHealth
from fleetctl.gateway.identities import check
from fleetctl.gateway.measures import PlaneMeasures
from fleetctl.gateway.metrics import exposition
from fleetctl.gateway.starvation import Starvation
from fleetctl.model.keys import EntryReport
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Identity, Routes
from fleetctl.model.signals import QueueStats

ROUTES_LIMIT_BYTES = 16 * 1024 * 1024
"""One PUT of routes: a hundred thousand replicas."""
_DIGITS_MAX = 18
"""Of a count in a query: more than are ever counted."""


class Steered(Protocol):
    """A gateway as it is steered: in one process the data plane, with several their scheduler."""

    starvation: Starvation

    @property
    def fence(self) -> int:
        """The largest it has followed; 0: none yet."""

    @property
    def services(self) -> tuple[ServiceName, ...]: ...
    @property
    def stopping(self) -> bool: ...
    def route(self, routes: Routes) -> None:
        """Take the controller's view in place of the one before. Raises `Conflict` for a fence that is out of date."""

    def identify(self, identity: Identity) -> None:
        """Who may enter, in place of what was known. Raises `UsageError`."""

    def entry_report(self) -> EntryReport: ...
    def stats(self) -> Sequence[QueueStats]: ...
    def measures(self) -> PlaneMeasures: ...


def admin_app(
    plane: Steered,
    *,
    listen: str,
    stop: Callable[[], None],
    pid: int | None = None,
    workers: Callable[[], tuple[int, ...]] = tuple,
) -> web.Application:
    """The application of the Unix socket; `stop` is called for `POST /shutdown`, `pid` is the gateway's first process
    (None: this one)."""
    app = metrics_app(plane, listen=listen, pid=pid, workers=workers)
    decoder = msgspec.json.Decoder(Routes)
    identities = msgspec.json.Decoder(Identity)

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

    async def put_identity(request: web.Request) -> web.Response:
        try:
            identity = identities.decode(await request.read())
            check(identity)
            plane.identify(identity)
        except (msgspec.DecodeError, UsageError, ValueError) as error:
            return web.Response(status=400, text=f"this is no identity: {error}")
        return web.Response(status=204)

    async def get_entry(_: web.Request) -> web.Response:
        return _json(plane.entry_report())

    async def get_stats(_: web.Request) -> web.Response:
        return _json(plane.stats())

    async def get_starved(request: web.Request) -> web.Response:
        after = request.query.get("after", "0")
        if not after.isascii() or not after.isdigit() or len(after) > _DIGITS_MAX:
            return web.Response(status=400, text="after: a count, as the last answer told it")
        return _json(await plane.starvation.beyond(int(after)))

    async def end(_: web.Application) -> None:
        plane.starvation.close()

    async def post_shutdown(_: web.Request) -> web.Response:
        stop()
        return web.Response(status=202)

    # Who asks for more is answered before the process ends, and not cut.
    app.on_shutdown.append(end)
    app.add_routes(
        [
            web.put("/routes", put_routes),
            web.put("/identity", put_identity),
            web.get("/entry", get_entry),
            web.get("/stats", get_stats),
            web.get("/starved", get_starved),
            web.post("/shutdown", post_shutdown),
        ]
    )
    return app


def metrics_app(
    plane: Steered, *, listen: str, pid: int | None = None, workers: Callable[[], tuple[int, ...]] = tuple
) -> web.Application:
    """`/metrics` and `/healthz` alone: nothing that steers, so that it may be reached over TCP."""
    started_at = time.time()

    async def get_metrics(_: web.Request) -> web.Response:
        body = exposition(plane.measures()).encode()
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def get_health(_: web.Request) -> web.Response:
        return _json(
            GatewayHealth(
                pid=pid or os.getpid(),
                workers=workers(),
                version=__version__,
                listen=listen,
                started_at=started_at,
                fence=plane.fence,
                services=plane.services,
                stopping=plane.stopping,
            )
        )

    app = web.Application(client_max_size=ROUTES_LIMIT_BYTES)
    app.add_routes([web.get("/metrics", get_metrics), web.get("/healthz", get_health)])
    return app


def _json(document: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), content_type="application/json")
