"""Driving a fleet, or watching the controller that does, until something holds."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from fleetctl.cli.output import say
from fleetctl.cli.session import WATCH_S, Session, event_line
from fleetctl.controller.controllers import Controller, Ticked
from fleetctl.controller.loop import run
from fleetctl.errors import Conflict, TimedOut
from fleetctl.model.decisions import Event
from fleetctl.views.fleet import FleetView
from fleetctl.wiring import connected, controller, lease_is_live

GONE_S = 3.0
"""A controller that was watched and is gone this long is replaced; one that is only restarted is back by then."""


@asynccontextmanager
async def controlling(now: Session, *, gateway: bool = True) -> AsyncIterator[Controller]:
    """A controller that holds the fleet, until the block ends."""
    async with connected(now.home, now.config, gateway=gateway) as ports:
        held = controller(now.store, ports, now.config, home=now.home)
        await held.acquire()
        try:
            yield held
        finally:
            await held.close()


def drive(
    now: Session,
    done: Callable[[FleetView], bool],
    *,
    timeout_s: float,
    check: Callable[[FleetView], None],
    resume: str,
) -> FleetView:
    """Run the fleet until `done`, or watch the controller that runs it already; events are told as they come.

    `check` may raise to give up early. Raises `TimedOut`, and on Ctrl-C, between two ticks, says how to go on.
    """
    view = asyncio.run(_drive(now, done, timeout_s=timeout_s, check=check, resume=resume))
    if view is None:
        raise KeyboardInterrupt(
            f"interrupted; nothing is undone, and what was launched stays (see: fleetctl ps -i).\nGo on with: {resume}"
        )
    return view


async def _drive(
    now: Session,
    done: Callable[[FleetView], bool],
    *,
    timeout_s: float,
    check: Callable[[FleetView], None],
    resume: str,
) -> FleetView | None:
    """None: it was interrupted."""
    stop = asyncio.Event()
    on_signals(stop)
    told = _Teller()
    deadline = time.monotonic() + timeout_s
    while True:
        if lease_is_live(now.store, time.time()):
            lease = now.store.lease()
            say(f"the controller {lease.holder if lease else ''} runs this fleet; handing over to it and watching")
            view = await _watch(now, done, told, deadline, check=check, resume=resume, stop=stop)
            if view is not None or stop.is_set():
                return view
            say("that controller is gone; this command goes on by itself")
        try:
            async with controlling(now) as held:
                return await _tick_until(now, held, done, told, deadline, check=check, resume=resume, stop=stop)
        except Conflict:
            if not lease_is_live(now.store, time.time()):
                raise


async def _watch(
    now: Session,
    done: Callable[[FleetView], bool],
    told: "_Teller",
    deadline: float,
    *,
    check: Callable[[FleetView], None],
    resume: str,
    stop: asyncio.Event,
) -> FleetView | None:
    """Look on while another controller works until `done`. None: it is gone and nobody goes on with it, or `stop`."""
    live_at = time.monotonic()
    while not stop.is_set():
        view = now.view()
        told.tell(now.store.events(since=told.since))
        if done(view):
            return view
        check(view)
        if time.monotonic() > deadline:
            raise TimedOut("not done in that time; the controller goes on with it", hint=f"watch on with: {resume}")
        if lease_is_live(now.store, time.time()):
            live_at = time.monotonic()
        elif time.monotonic() - live_at > GONE_S:
            return None
        await asyncio.sleep(WATCH_S)
    return None


async def _tick_until(
    now: Session,
    held: Controller,
    done: Callable[[FleetView], bool],
    told: "_Teller",
    deadline: float,
    *,
    check: Callable[[FleetView], None],
    resume: str,
    stop: asyncio.Event,
) -> FleetView | None:
    found: list[FleetView] = []

    def look(ticked: Ticked) -> bool:
        told.tell(ticked.plan.events)
        view = now.view()
        # Nothing in flight: what was ordered has been answered, and leaving now abandons nothing.
        if done(view) and not held.in_flight:
            found.append(view)
            return True
        check(view)
        if time.monotonic() > deadline:
            raise TimedOut(
                "not done in that time; what was launched stays, and no controller goes on with it",
                hint=f"go on with: {resume}; or let a controller do it: fleetctl daemon start",
            )
        return False

    from fleetctl.controller.clock import SystemClock

    period_s = min(1.0, now.config.period_s)
    await run(held, SystemClock(), period_s=period_s, until=look, on_trouble=_trouble, stop=stop)
    return found[0] if found else None


def _trouble(error: Exception) -> None:
    say(f"warning: {error}; trying again")


class _Teller:
    """Says each event once, on stderr."""

    def __init__(self) -> None:
        self.since = time.time()
        self._said: set[tuple[float, str, str]] = set()

    def tell(self, events: Sequence[Event]) -> None:
        for event in events:
            key = (event.at, event.subject, event.message)
            if key not in self._said:
                self._said.add(key)
                say(f"  {event_line(event)}")


def on_signals(stop: asyncio.Event) -> list[signal.Signals]:
    """SIGINT and SIGTERM set `stop`; a second one ends the process at once. What came is added to the list."""
    loop = asyncio.get_running_loop()
    came: list[signal.Signals] = []

    def asked(number: signal.Signals) -> None:
        if stop.is_set():
            sys.exit(128 + number)
        came.append(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked, number)
    return came
