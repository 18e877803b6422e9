"""The dashboard in a browser on the same machine. There is no login, so it is read-only and answers nobody else."""

import shlex
import socket
import sys
from collections.abc import Sequence
from typing import Any

from fleetctl.errors import Conflict, MissingDependency

HOST = "127.0.0.1"


def serve(options: Sequence[str], *, port: int) -> None:
    """Serve `fleetctl top` with these options until Ctrl-C. Raises MissingDependency, Conflict (a port in use)."""
    try:
        from aiohttp import web
        from textual_serve.server import Server  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise MissingDependency(
            f"--web needs textual-serve, which is not installed here: {error}", hint="pip install 'fleetctl[web]'"
        ) from error
    _refuse_taken(port)

    class OwnPageOnly(Server):  # type: ignore[misc,unused-ignore]  # it comes without types
        """Refuses what another site's page in the same browser sends here, by its Origin or by a name of its own."""

        async def _make_app(self) -> Any:
            made = await super()._make_app()
            made.middlewares.append(_own)
            made.on_response_prepare.append(_asks_nobody_else)
            return made

        def initialize_logging(self) -> None:
            """No line for each request."""

        async def on_startup(self, app: web.Application) -> None:
            """stdout has the address alone, as that of `fleetctl up`."""
            sys.stdout.write(f"http://{HOST}:{port}/\n")
            sys.stdout.flush()
            sys.stderr.write("read-only, and for browsers on this machine alone; Ctrl-C ends it\n")

    @web.middleware
    async def _own(request: web.Request, handler: Any) -> web.StreamResponse:
        if not is_own(request.headers.get("Host", ""), request.headers.get("Origin"), port=port):
            raise web.HTTPForbidden(text="this dashboard is for its own page on this machine only")
        found: web.StreamResponse = await handler(request)
        return found

    async def _asks_nobody_else(_: web.Request, response: web.StreamResponse) -> None:
        response.headers["Content-Security-Policy"] = own_sources(port)

    command = shlex.join([sys.executable, "-m", "fleetctl", "top", "--read-only", *options])
    OwnPageOnly(command, host=HOST, port=port, title="fleetctl top").serve()


def own_sources(port: int) -> str:
    """Where the page may have styles and fonts from: textual-serve's own asks a font server on the internet."""
    here = " ".join(f"http://{name}:{port}" for name in (HOST, "localhost"))
    return f"style-src 'unsafe-inline' {here}; font-src data: {here}"


def is_own(host: str, origin: str | None, *, port: int) -> bool:
    """Whether a request is for this page and comes from it, or from no page at all."""
    names = {f"{name}:{port}" for name in (HOST, "localhost")}
    return host in names and (origin is None or origin in {f"http://{name}" for name in names})


def _refuse_taken(port: int) -> None:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, port))
        except OSError as error:
            raise Conflict(
                f"{HOST}:{port} cannot be had: {error.strerror}", hint=f"fleetctl top --web --port {port + 1}"
            ) from error
