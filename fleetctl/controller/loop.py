"""Ticks at a steady period until told to stop."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

from fleetctl.controller.controllers import Controller, Ticked
from fleetctl.errors import Conflict, LeaseLost, StoreFailure
from fleetctl.ports import Clock

GAP_S = 0.2
"""Ticks brought forward by an Action's end come no closer than this. A request that meets no Replica does not wait for
it: such ticks are bounded by their own rule, one a second for each Service."""
STORE_RETRIES_S = 60.0
"""A store that fails (a full disk, a lock) is tried again this long before the loop gives up; Nodes and gateway go on
by themselves meanwhile."""

YOUNG_OBJECTS_MAX = 400_000
"""Between two collections of garbage: what a tick of ten thousand Replicas makes and lets go again, none of it in
cycles. At Python's own 700 looking for cycles costs such a fleet a third of its tick."""


async def run(
    controller: Controller,
    clock: Clock,
    *,
    period_s: float,
    until: Callable[[Ticked], bool] = lambda ticked: False,
    on_tick: Callable[[Ticked], Awaitable[None] | None] | None = None,
    on_trouble: Callable[[Exception], None] = lambda error: None,
    stop: asyncio.Event | None = None,
) -> Ticked | None:
    """Tick every `period_s` seconds, sooner when an Action ends; return the tick for which `until` held.

    None: `stop` was set. Raises `StoreFailure` once the store has failed for `STORE_RETRIES_S`, and `Conflict` when
    another controller took the Lease.
    """
    gc.set_threshold(YOUNG_OBJECTS_MAX)
    failing_since: float | None = None
    while stop is None or not stop.is_set():
        try:
            ticked = await controller.tick()
            failing_since = None
        except LeaseLost as error:
            raise Conflict(
                "another controller took over this fleet; this one has stopped acting",
                hint="see it with: fleetctl daemon status",
            ) from error
        except StoreFailure as error:
            now = clock.now()
            if failing_since is None:
                failing_since = now
                on_trouble(error)
            if now - failing_since > STORE_RETRIES_S:
                raise
            await _pause(controller, clock, period_s, stop)
            continue
        if on_tick is not None:
            shown = on_tick(ticked)
            if shown is not None:
                await shown
        if until(ticked):
            return ticked
        await _pause(controller, clock, max(0.0, period_s - ticked.wall_s), stop)
    return None


async def _pause(controller: Controller, clock: Clock, seconds: float, stop: asyncio.Event | None) -> None:
    if await _over(clock, min(GAP_S, seconds), controller.starved):
        return  # a request waits for a Replica that is not there: it does not wait for us
    waits = [asyncio.create_task(controller.poked.wait()), asyncio.create_task(controller.starved.wait())]
    if stop is not None:
        waits.append(asyncio.create_task(stop.wait()))
    sleeping = asyncio.create_task(clock.sleep(max(0.0, seconds - GAP_S)))
    try:
        await asyncio.wait([*waits, sleeping], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (*waits, sleeping):
            task.cancel()
        await asyncio.gather(*waits, sleeping, return_exceptions=True)


async def _over(clock: Clock, seconds: float, event: asyncio.Event) -> bool:
    """Sleep; whether the event cut it short."""
    waiting, sleeping = asyncio.create_task(event.wait()), asyncio.create_task(clock.sleep(seconds))
    try:
        await asyncio.wait([waiting, sleeping], return_when=asyncio.FIRST_COMPLETED)
        return event.is_set()
    finally:
        waiting.cancel()
        sleeping.cancel()
        await asyncio.gather(waiting, sleeping, return_exceptions=True)
