"""The controller's gateway: the link to it, and the care that it runs."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from fleetctl.errors import AgentFailure, Conflict, FleetError
from fleetctl.gateway.link import UnixGatewayLink
from fleetctl.gateway.supervise import ensure_gateway
from fleetctl.model.keys import EntryReport
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Identity, Routes
from fleetctl.model.signals import QueueStats, Starved

RESTART_EVERY_S = 3.0
"""A gateway that does not answer is started again at most this often: a port that is taken stays taken for a while."""


class SupervisedGateway:
    """A `ports.GatewayLink` that starts the gateway when it is not there, and tells a new one what the last knew."""

    def __init__(self, *, listen: str, socket: Path, log: Path, options: Sequence[str] = ()) -> None:
        """`options`: further words for `python -m fleetctl.gateway`."""
        self._listen = listen
        self._options = options
        self._socket = socket
        self._log = log
        self._link = UnixGatewayLink(socket)
        self._routes: Routes | None = None
        self._identity: Identity | None = None
        self._tried_at: float | None = None

    async def start(self) -> str:
        """Make sure that it runs; the address it listens on. Raises `Conflict` when the port is taken."""
        health = await ensure_gateway(self._listen, self._socket, self._log, self._options)
        return health.listen

    async def route(self, routes: Routes) -> None:
        self._routes = routes
        try:
            await self._link.route(routes)
        except AgentFailure:
            await self._revive()
            await self._link.route(routes)

    async def identify(self, identity: Identity) -> None:
        self._identity = identity
        try:
            await self._link.identify(identity)
        except AgentFailure:
            await self._revive()

    async def entry(self) -> EntryReport:
        return await self._link.entry()

    async def stats(self) -> Mapping[ServiceName, QueueStats]:
        try:
            return await self._link.stats()
        except AgentFailure:
            await self._revive()
            if self._routes is not None:
                await self._link.route(self._routes)
            return await self._link.stats()

    async def starved(self, after: int) -> Starved:
        return await self._link.starved(after)

    async def _revive(self) -> None:
        now = time.monotonic()
        if self._tried_at is not None and now - self._tried_at < RESTART_EVERY_S:
            raise AgentFailure("the gateway does not answer", hint=f"see {self._log}")
        self._tried_at = now
        try:
            await self.start()
        except Conflict as error:
            raise AgentFailure(error.message, hint=error.hint) from error
        except FleetError as error:
            raise AgentFailure(f"the gateway does not start: {error.message}", hint=error.hint) from error
        if self._identity is not None:
            await self._link.identify(self._identity)

    async def close(self) -> None:
        """Let the link go; the gateway runs on."""
        await self._link.close()
