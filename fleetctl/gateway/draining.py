"""The end of a data plane: what runs ends in full, what comes meanwhile is told so, and nobody is cut off unheard."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from fleetctl.gateway.limits import DRAIN_LOOK_S, DRAIN_TIMEOUT_S, FAREWELL_S, LINGER_TIMEOUT_S

if TYPE_CHECKING:
    from fleetctl.gateway.downstream import ClientConnection
    from fleetctl.gateway.plane import DataPlane

_log = logging.getLogger("fleetctl.gateway")


async def drain(
    plane: "DataPlane",
    *,
    timeout_s: float = DRAIN_TIMEOUT_S,
    shut: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Take no more requests, and wait for those that run; bounded.

    Who comes meanwhile is refused with `shutting_down`. `shut` closes the door once nothing runs any more, and lets in
    who stood before it; they are answered, too.
    """
    plane.stop_accepting(timeout_s=timeout_s)
    await _finish(plane, plane.now() + timeout_s)
    if plane.running:
        _log.warning("%d requests were still running after %g s and are cut", plane.running, timeout_s)
    if shut is not None:
        await shut()
    await _part(plane)


async def _finish(plane: "DataPlane", give_up_at: float) -> None:
    """Until every answer is with its client. Connections that rest meanwhile are kept for one farewell, then closed."""
    rested: set[ClientConnection] = set()
    look_at = plane.now() + FAREWELL_S
    while plane.unfinished and (now := plane.now()) < give_up_at:
        if now >= look_at:
            for client in rested & plane.clients:
                if client.resting:
                    client.cut()
            rested = {one for one in plane.clients if one.resting}
            look_at = now + FAREWELL_S
        await asyncio.sleep(DRAIN_LOOK_S)


async def _part(plane: "DataPlane") -> None:
    """From all who ask nothing, or have not said all of it; bounded. A request that was on its way gets its answer."""
    began = plane.now()
    told = False
    while any(one.exchange is None for one in plane.clients) and plane.now() < began + FAREWELL_S + LINGER_TIMEOUT_S:
        if not told and plane.now() >= began + FAREWELL_S:
            told = True
            for client in tuple(plane.clients):
                client.leave()
        await asyncio.sleep(DRAIN_LOOK_S)
