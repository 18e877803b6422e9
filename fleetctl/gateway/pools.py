"""Connections to replicas: kept for the next request, or opened."""

import asyncio
from collections.abc import Callable
from itertools import takewhile
from typing import TYPE_CHECKING, Any, cast

from fleetctl.gateway.limits import CONNECT_TIMEOUT_S, POOL_IDLE_TIMEOUT_S, POOL_LIMIT
from fleetctl.gateway.scheduler.ticket import Seat

if TYPE_CHECKING:
    from fleetctl.gateway.upstream import UpstreamConnection


class Pools:
    """Unused connections by the seat they lead to; the newest is used first, so that the others may be closed when they
    were not needed for a while.
    """

    __slots__ = ("_connecting", "_idle", "_loop", "closing", "timeout_s")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.timeout_s = POOL_IDLE_TIMEOUT_S
        self.closing = False
        """Keep nothing any more."""
        self._loop = loop
        self._idle: dict[int, dict[UpstreamConnection, None]] = {}
        """By the seat's generation."""
        self._connecting: set[asyncio.Task[None]] = set()

    def take(self, seat: Seat) -> "UpstreamConnection | None":
        """One that is ready to use; None: there is none."""
        idle = self._idle.get(seat.generation)
        while idle:
            connection, _ = idle.popitem()
            if not connection.transport.is_closing():
                return connection
        return None

    def keep(self, connection: "UpstreamConnection", now: float) -> None:
        """Keep it for later, or close it where there is no later."""
        seat = connection.seat
        idle = self._idle.get(seat.generation)
        if idle is None:
            idle = self._idle[seat.generation] = {}
        if not seat.listed or self.closing or len(idle) >= POOL_LIMIT or connection.unsent:
            connection.end()
            return
        connection.rests_since = now
        idle[connection] = None

    def close_expired(self, now: float) -> None:
        """Close those that nobody needed for a while: the first ones of each seat."""
        since = now - self.timeout_s
        for idle in self._idle.values():
            for connection in tuple(takewhile(lambda one: one.rests_since <= since, idle)):
                del idle[connection]
                connection.transport.close()

    def drop(self, connection: "UpstreamConnection") -> None:
        """It is closed."""
        idle = self._idle.get(connection.seat.generation)
        if idle is not None:
            idle.pop(connection, None)
            if not idle:
                del self._idle[connection.seat.generation]

    def close_unlisted(self) -> None:
        """Close those that lead to replicas that have left."""
        for idle in tuple(self._idle.values()):
            for connection in tuple(idle):
                if not connection.seat.listed:
                    connection.transport.close()

    def connect(
        self,
        seat: Seat,
        make: "Callable[[], UpstreamConnection]",
        opened: "Callable[[UpstreamConnection], None]",
        failed: Callable[[], None],
    ) -> None:
        """Open one; then exactly one of the two is called, unless `close` comes before."""
        task = self._loop.create_task(self._open(seat, make, opened, failed))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def close(self) -> None:
        self.closing = True
        for task in self._connecting:
            task.cancel()

    async def _open(
        self,
        seat: Seat,
        make: "Callable[[], UpstreamConnection]",
        opened: "Callable[[UpstreamConnection], None]",
        failed: Callable[[], None],
    ) -> None:
        host, _, port = seat.address.rpartition(":")
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await self._loop.create_connection(cast(Any, make), host.strip("[]"), int(port))
        except (OSError, TimeoutError, ValueError, OverflowError):  # the last two: no port, or none that can be
            failed()
            return
        opened(cast("UpstreamConnection", connection))
