"""Hears at once of requests that met no Replica, and asks for a tick."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from fleetctl.controller.fronts import Fronts
from fleetctl.errors import FleetError
from fleetctl.model.names import ServiceName
from fleetctl.ports import Clock, GatewayLink

EARLY_EVERY_S = 1.0
"""At most one tick in so long is brought forward for one Service: where it cannot be helped at once, a flood of
requests must not make the controller spin."""
RETRY_S = 1.0
"""A gateway that does not answer is asked again after so long."""
LOOK_EVERY_S = 0.25
"""Between two looks at what gateways that joined have written; without any nothing is looked at."""
HURRIED_S = 0.05
"""An answer that comes sooner, and tells nothing new, is of a gateway that ends: the next question waits a while."""


class Pokes:
    """Which of the Services that are told of may bring a tick forward."""

    def __init__(self) -> None:
        self._at: dict[ServiceName, float] = {}

    def allow(self, services: tuple[ServiceName, ...], now: float) -> bool:
        """Whether one of them may now; it may not again for a while."""
        self._at = {name: at for name, at in self._at.items() if 0 <= now - at < EARLY_EVERY_S}
        new = [name for name in services if name not in self._at]
        self._at.update(dict.fromkeys(new, now))
        return bool(new)


async def watch(fronts: Fronts, clock: Clock, poke: Callable[[], None]) -> None:
    """Call `poke` whenever a Service has got a request and has no Replica, at whichever gateway; for ever."""
    pokes = Pokes()
    await asyncio.gather(_watch_own(fronts, clock, pokes, poke), _watch_joined(fronts, clock, pokes, poke))


async def _watch_own(gateway: GatewayLink, clock: Clock, pokes: Pokes, poke: Callable[[], None]) -> None:
    count = 0
    while True:
        asked_at = clock.now()
        try:
            told = await gateway.starved(count)
        except FleetError:
            await clock.sleep(RETRY_S)
            continue
        if told.count != count and pokes.allow(told.services, clock.now()):
            poke()
        elif clock.now() - asked_at < HURRIED_S:
            await clock.sleep(RETRY_S)
        count = told.count


async def _watch_joined(fronts: Fronts, clock: Clock, pokes: Pokes, poke: Callable[[], None]) -> None:
    """Gateways that joined write it into the store at once."""
    while True:
        await clock.sleep(LOOK_EVERY_S)
        with suppress(FleetError):  # the tick itself says that the store fails
            if pokes.allow(await fronts.starved_elsewhere(), clock.now()):
                poke()
