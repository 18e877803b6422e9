"""The controller's own `/metrics` and `/healthz`: on a Unix socket in the home, and on a port where one is wanted."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from aiohttp import web

from fleetctl.errors import Conflict
from fleetctl.host.exposition import exposition
from fleetctl.host.health import Facts, health, resident_bytes
from fleetctl.host.measures import LoopMeasures

CLOSE_S = 1.0
"""A scrape that is being answered is waited for so long; the fleet does not wait for Prometheus."""


@asynccontextmanager
async def serving(measures: LoopMeasures, facts: Facts, *, socket: Path, listen: str | None) -> AsyncIterator[None]:
    """Serve until the block ends. Only who holds the Lease may: a socket that lies there is of a process that is gone.

    Raises `Conflict` for a port that is taken.
    """

    async def metrics(_: web.Request) -> web.Response:
        text = exposition(
            measures, now=time.monotonic(), version=facts.version, resident_bytes=resident_bytes()
        ).encode()
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def healthz(_: web.Request) -> web.Response:
        found = health(measures, facts, now=time.monotonic())
        status = 200 if found.status == "ok" else 503
        return web.Response(body=msgspec.json.encode(found), status=status, content_type="application/json")

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics), web.get("/healthz", healthz)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_S)
    await runner.setup()
    try:
        socket.unlink(missing_ok=True)
        await web.UnixSite(runner, str(socket)).start()
        if listen is not None:
            host, _, port = listen.rpartition(":")
            try:
                await web.TCPSite(runner, host.strip("[]"), int(port)).start()
            except OSError as error:
                raise Conflict(
                    f"the controller's metrics cannot be served at {listen}: {(error.strerror or str(error)).lower()}",
                    hint="write another daemon: {metrics_listen: …} in the fleet's file, or end what listens there",
                ) from error
        yield
    finally:
        await runner.cleanup()
        socket.unlink(missing_ok=True)
