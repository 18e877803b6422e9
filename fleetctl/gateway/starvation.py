"""Requests that met no replica, told at once to whoever makes replicas."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from fleetctl.model.names import ServiceName
from fleetctl.model.signals import Starved

POKE_EVERY_S: Final = 1.0
"""Of one Service at most one in so long counts: the first has said it all, and a flood must not make anybody spin."""
HELD_MAX_S: Final = 25.0
"""A question is answered after so long at the latest, so that neither side waits for one that is gone."""
REMEMBERED_MAX: Final = 1024
"""Services whose newest such request is known by its number; more than can starve between two questions."""


class Starvation:
    """Counts them, and holds the questions of those who want to know of the next."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.count = 0
        self._now = now
        self._newest: dict[ServiceName, tuple[int, float]] = {}
        """Number and time of each Service's last, the oldest first."""
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False

    def note(self, service: ServiceName) -> None:
        """A request came for a Service without a replica."""
        now = self._now()
        known = self._newest.get(service)
        if known is not None and now - known[1] < POKE_EVERY_S:
            return
        self.count += 1
        self._newest.pop(service, None)
        self._newest[service] = (self.count, now)
        if len(self._newest) > REMEMBERED_MAX:
            del self._newest[next(iter(self._newest))]
        self._wake()

    async def beyond(self, after: int, *, held_max_s: float = HELD_MAX_S) -> Starved:
        """As soon as the count is another than `after`, or when the time is over. A larger `after` is of a gateway
        before this one."""
        if self.count == after and not self._closed:
            waits = asyncio.get_running_loop().create_future()
            self._waiting.add(waits)
            try:
                async with asyncio.timeout(held_max_s):
                    await waits
            except TimeoutError:
                pass
            finally:
                self._waiting.discard(waits)
        since = after if after <= self.count else 0
        return Starved(
            count=self.count, services=tuple(name for name, (number, _) in self._newest.items() if number > since)
        )

    def close(self) -> None:
        """Answer everybody now: the gateway ends."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        for waits in self._waiting:
            if not waits.done():
                waits.set_result(None)
