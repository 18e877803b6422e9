"""The tunnels' process at work: answers commands, keeps machines, leaves when nobody needs it."""

import asyncio
import fcntl
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from fleetctl.errors import AgentFailure, FleetError
from fleetctl.node import payload
from fleetctl.node.keys import ssh_folder
from fleetctl.node.tunnels import api
from fleetctl.node.tunnels.machine import Machine
from fleetctl.paths import Home

log = logging.getLogger(__name__)

IDLE_S = 600.0
"""A machine that nobody asked for in so long, with no engine's port open or no connection, is let go; so is the
process, when it has no machine. A controller asks every few seconds."""
LOOK_EVERY_S = 5.0
LEAVE_GRACE_S = 0.5


class Tunnels:
    def __init__(self, home: Home) -> None:
        self._home = home
        self._machines: dict[str, Machine] = {}
        self._idle_since = time.monotonic()
        self.leave = asyncio.Event()

    def application(self) -> web.Application:
        app = web.Application(client_max_size=api.BODY_LIMIT_BYTES, middlewares=[_errors])
        app.router.add_get(api.HEALTH, self._health)
        app.router.add_post(api.STATUS, self._status)
        app.router.add_post(api.APPLY, self._apply)
        app.router.add_post(api.LOGS, self._logs)
        app.router.add_post(api.RUN, self._run)
        app.router.add_post(api.SHUTDOWN, self._shutdown)
        return app

    async def look(self) -> None:
        """Let go of machines that nobody needs, for as long as this process lives; then leave."""
        while not self.leave.is_set():
            now = time.monotonic()
            for address, machine in list(self._machines.items()):
                carries = len(machine.forwards) > 0 and machine.connection.alive
                if now - machine.asked_at > IDLE_S and not carries:
                    del self._machines[address]
                    await machine.close()
            if self._machines:
                self._idle_since = now
            elif now - self._idle_since > IDLE_S:
                self.leave.set()
            await asyncio.sleep(LOOK_EVERY_S)

    async def close(self) -> None:
        await asyncio.gather(*(machine.close() for machine in self._machines.values()))

    def _machine(self, ask: api.Ask) -> Machine:
        machine = self._machines.get(ask.address)
        if machine is None:
            machine = self._machines[ask.address] = Machine(ask.address, self._home)
        return machine

    async def _health(self, _: web.Request) -> web.Response:
        return _json(api.Health(pid=os.getpid(), build=payload.wheel().build, machines=len(self._machines)))

    async def _status(self, request: web.Request) -> web.Response:
        return _json(await self._machine(await _ask(request)).status())

    async def _apply(self, request: web.Request) -> web.Response:
        ask = await _ask(request)
        if ask.desired is None:
            raise AgentFailure("nothing was given to apply")
        await self._machine(ask).apply(ask.desired)
        return web.Response(status=204)

    async def _logs(self, request: web.Request) -> web.Response:
        ask = await _ask(request)
        return web.Response(body=await self._machine(ask).logs(ask.replica, ask.tail_bytes))

    async def _run(self, request: web.Request) -> web.Response:
        ask = await _ask(request)
        return _json(await self._machine(ask).run(ask.words, timeout_s=ask.timeout_s))

    async def _shutdown(self, _: web.Request) -> web.Response:
        self.leave.set()
        return web.Response(status=202)


@web.middleware
async def _errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except FleetError as failure:
        return _json(api.Failure(error=failure.message, hint=failure.hint), status=502)


async def _ask(request: web.Request) -> api.Ask:
    try:
        return msgspec.json.decode(await request.read(), type=api.Ask)
    except msgspec.DecodeError as error:
        raise AgentFailure(f"this is no question: {error}") from None


def _json(value: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")


async def serve(home: Home, *, ready: Callable[[], None]) -> None:
    """Be the tunnels of this home until asked to leave, or until nobody needs them. One process at a time."""
    folder = ssh_folder(home)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = os.open(folder / "tunnels.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        ready()  # another command was quicker; its process serves
        return
    tunnels = Tunnels(home)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, tunnels.leave.set)
    path = api.tunnels_socket(home)
    path.unlink(missing_ok=True)
    runner = web.AppRunner(tunnels.application(), access_log=None, shutdown_timeout=LEAVE_GRACE_S)
    await runner.setup()
    before = os.umask(0o177)
    try:
        await web.UnixSite(runner, str(path)).start()
    finally:
        os.umask(before)
    ready()
    log.info("serving %s", path)
    looking = asyncio.create_task(tunnels.look())
    await tunnels.leave.wait()
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    path.unlink(missing_ok=True)
    await runner.cleanup()
    await tunnels.close()
    os.close(held)
    log.info("left")
