"""A gateway in one process: its data plane, its arbiter, and where it is steered."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from functools import partial

from fleetctl.errors import FleetError
from fleetctl.gateway.doors import Doors
from fleetctl.gateway.draining import drain
from fleetctl.gateway.listening import Listening
from fleetctl.gateway.loops import settle_garbage
from fleetctl.gateway.plane import DataPlane
from fleetctl.gateway.settings import Settings
from fleetctl.gateway.steering_ports import SteeringPorts

_log = logging.getLogger("fleetctl.gateway")


class Single:
    """Runs it on the sockets given. `ready` and `reload` as `serve` has them."""

    def __init__(
        self,
        settings: Settings,
        doors: Doors,
        public: Listening,
        admin: socket.socket | None,
        metrics: Listening | None,
        connections_max: int,
        ready: Callable[[str], None],
        reload: Callable[[], Settings] | None,
    ) -> None:
        self._settings = settings
        self._doors = doors
        self._public = public
        self._admin = admin
        self._metrics = metrics
        self._connections_max = connections_max
        self._ready = ready
        self._reload = reload
        self._reloading: asyncio.Task[None] | None = None
        self._again = False
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        settings, doors, address = self._settings, self._doors, self._public.address
        plane = DataPlane(loop, connections_max=self._connections_max, access_log=doors.access_log)
        try:
            self._apply(plane, settings)
            async with SteeringPorts(
                plane, admin=self._admin, metrics=self._metrics, address=address, pid=os.getpid(), stop=self._stop.set
            ):
                for number in (signal.SIGTERM, signal.SIGINT):
                    loop.add_signal_handler(number, self._stopped)
                if self._reload is not None:
                    loop.add_signal_handler(signal.SIGHUP, self._hung_up, plane, doors, self._reload)
                await doors.open(plane, self._public.groups[0])
                settle_garbage()
                _log.info("listening on %s, pid %d", address, os.getpid())
                self._ready(address)
                await self._stop.wait()
                _log.info("stopping: %d requests are running", plane.running)
                draining = loop.create_task(drain(plane, shut=partial(doors.shut_last, plane, self._public.groups[0])))
                hurrying = loop.create_task(self._hurry.wait())
                await asyncio.wait({draining, hurrying}, return_when=asyncio.FIRST_COMPLETED)
                draining.cancel()
                hurrying.cancel()
        finally:
            if self._reloading is not None:
                self._reloading.cancel()
            doors.shut()
            plane.close()
            await asyncio.sleep(0)  # one turn, in which aborted connections are closed
            doors.close()

    def _stopped(self) -> None:
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    def _hung_up(self, plane: DataPlane, doors: Doors, reload: Callable[[], Settings]) -> None:
        self._again = True
        if self._reloading is None or self._reloading.done():
            self._reloading = plane.loop.create_task(self._read_again(plane, doors, reload))

    async def _read_again(self, plane: DataPlane, doors: Doors, reload: Callable[[], Settings]) -> None:
        while self._again:
            self._again = False
            try:
                # In a thread: files and replicas are asked meanwhile, and requests go on.
                settings = await plane.loop.run_in_executor(None, reload)
                self._apply(plane, settings)
            except (FleetError, OSError, ValueError) as error:
                _log.error("the settings stay as they were: %s; %s", error, getattr(error, "hint", ""))
                continue
            doors.apply(settings, plane)
            _log.info("the settings were read again")

    @staticmethod
    def _apply(plane: DataPlane, settings: Settings) -> None:
        """Raises `Conflict` for routes that are out of date, `ValueError` for keys that are none."""
        if settings.routes is not None:
            plane.route(settings.routes)
        if settings.identity is not None:
            plane.identify(settings.identity)
