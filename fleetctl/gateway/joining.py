"""A gateway that joins a fleet, as it runs: a data plane in a process of its own, and this one, which steers it."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from fleetctl.decide.gateway_leases import FENCED_S
from fleetctl.errors import AgentFailure, Conflict, FleetError, UsageError
from fleetctl.gateway.joined import Joined, Place
from fleetctl.gateway.leashed import MODULE
from fleetctl.gateway.limits import DRAIN_TIMEOUT_S
from fleetctl.gateway.link import UnixGatewayLink
from fleetctl.gateway.supervise import POLL_S, START_TIMEOUT_S, find_gateway
from fleetctl.ports import FleetLink

_log = logging.getLogger("fleetctl.gateway")

RESTART_EVERY_S: Final = 3.0
"""A data plane that has ended by itself is started again after so long."""
ENDS_S: Final = DRAIN_TIMEOUT_S + 10.0
"""From the order to stop to the end of the data plane, its drain included."""

_KINDS: Final = {Conflict.exit_code: Conflict, UsageError.exit_code: UsageError}


async def serve_joined(
    fleet: FleetLink,
    place: Callable[[str], Place],
    *,
    listen: str,
    socket: Path,
    options: Sequence[str] = (),
    ready: Callable[[str], None] = lambda address: None,
    fenced_s: float = FENCED_S,
) -> None:
    """Serve what the fleet's controller grants, until SIGTERM or SIGINT; a second one ends it at once.

    `place` makes of the public address who joins; `ready` is called with it once a controller has told this gateway
    what to serve. `socket`: a new one, for the two processes. `options`: further words for `python -m
    fleetctl.gateway`; SIGHUP has it read its certificate and log file again. `fenced_s`: it stops after so long
    without a word to the fleet. Raises `Conflict` for a port that is taken, or when another gateway takes the name;
    `UsageError` for what cannot be served as it is set.
    """
    stop, hurry = asyncio.Event(), asyncio.Event()
    running = _Running(listen, socket, options)
    loop = asyncio.get_running_loop()

    def asked() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)
    loop.add_signal_handler(signal.SIGHUP, running.hang_up)
    address = await running.start()
    link = UnixGatewayLink(socket)
    joined = Joined(fleet, link, place(address), fenced_s=fenced_s)
    following = asyncio.create_task(joined.run())
    serving = asyncio.create_task(running.keep())
    stopping = asyncio.create_task(stop.wait())
    hurrying = asyncio.create_task(hurry.wait())
    granted = asyncio.create_task(joined.serves.wait())
    try:
        _log.info("listening on %s; the fleet's controller says what to serve", address)
        await asyncio.wait({following, serving, stopping, granted}, return_when=asyncio.FIRST_COMPLETED)
        if granted.done():
            ready(address)
            await asyncio.wait({following, serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        serving.cancel()
        joined.leave()
        with suppress(AgentFailure):
            await link.shutdown()
        ended = asyncio.create_task(running.ended())
        await asyncio.wait({ended, hurrying}, timeout=ENDS_S, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
    finally:
        tasks = (following, serving, stopping, hurrying, granted)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await running.kill()
        await joined.end()
        await link.close()
        await fleet.close()
    for task in (following, serving):
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


class _Running:
    """The data plane's process."""

    def __init__(self, listen: str, socket: Path, options: Sequence[str]) -> None:
        self._listen = listen
        self._socket = socket
        self._options = options
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> str:
        """The public address, once it serves. Raises as `serve_joined` says."""
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", MODULE, str(os.getpid())),
            *("--listen", self._listen, "--admin-socket", str(self._socket), *self._options),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is ours to answer
        )
        give_up_at = asyncio.get_running_loop().time() + START_TIMEOUT_S
        while True:
            found = await find_gateway(self._socket)
            if found is not None and found.pid == process.pid:
                # The next one listens where this one does.
                self._listen = found.listen
                return found.listen
            if process.returncode is not None:
                kind = _KINDS.get(process.returncode, AgentFailure)
                raise kind(f"the gateway does not start on {self._listen}", hint="it has said why just before")
            if asyncio.get_running_loop().time() > give_up_at:
                raise AgentFailure(f"the gateway has not started in {START_TIMEOUT_S:g} s", hint="see its log above")
            await asyncio.sleep(POLL_S)

    async def keep(self) -> None:
        """Start it again whenever it has ended."""
        while True:
            await self.ended()
            _log.error("the gateway has ended and is started again in %g s", RESTART_EVERY_S)
            await asyncio.sleep(RESTART_EVERY_S)
            try:
                await self.start()
            except FleetError as error:
                _log.error("%s", error)

    async def ended(self) -> None:
        if self._process is not None:
            await self._process.wait()

    def hang_up(self) -> None:
        self._signal(signal.SIGHUP)

    async def kill(self) -> None:
        self._signal(signal.SIGKILL)
        await self.ended()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
