"""Where a gateway is steered and looked at: the admin socket of its controller, the port that is scraped."""

import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Self

from aiohttp import web

from fleetctl.gateway.admin import Steered, admin_app, metrics_app
from fleetctl.gateway.listening import Listening


class SteeringPorts:
    """Serves both, on sockets that listen already. `pid` is the gateway's first process."""

    def __init__(
        self,
        steered: Steered,
        *,
        admin: socket.socket | None,
        metrics: Listening | None,
        address: str,
        pid: int,
        stop: Callable[[], None],
        workers: Callable[[], tuple[int, ...]] = tuple,
    ) -> None:
        self._sites: list[tuple[web.Application, socket.socket]] = []
        if admin is not None:
            app = admin_app(steered, listen=address, stop=stop, pid=pid, workers=workers)
            self._sites.append((app, admin))
        if metrics is not None:
            for one in metrics.groups[0]:
                self._sites.append((metrics_app(steered, listen=address, pid=pid, workers=workers), one))
        self._runners = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for app, sock in self._sites:
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
            self._runners.push_async_callback(runner.cleanup)
            await runner.setup()
            await web.SockSite(runner, sock).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runners.aclose()
