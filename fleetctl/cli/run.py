"""`fleetctl run` (Control): Run the autoscaling loop in the foreground.

Example: fleetctl run --once
"""

import asyncio
import signal
import time
from pathlib import Path
from typing import Annotated

import typer

from fleetctl.cli.changing import Yes
from fleetctl.cli.daemon_loop import notifier, watching
from fleetctl.cli.driving import controlling, on_signals
from fleetctl.cli.idle_gateway import Needed, end_idle_gateway
from fleetctl.cli.output import Format, Output, line, say
from fleetctl.cli.session import Session, event_line, session
from fleetctl.cli.up import up
from fleetctl.controller.clock import SystemClock
from fleetctl.controller.controllers import Ticked
from fleetctl.controller.loop import run as loop
from fleetctl.decide.scaling import notes_of
from fleetctl.errors import UsageError
from fleetctl.host.notify import Notifier
from fleetctl.spec.openness import open_metrics

app = typer.Typer(add_completion=False)

ENDED = "the loop has ended; replicas and gateway go on as they are. Go on with: fleetctl run"
ENDED_IDLE = "the loop has ended; nothing is up, so the gateway has ended too. Begin again with: fleetctl up"
QUIET_S = 30.0
"""A fleet that only holds says so this often."""


@app.command()
def run(
    once: Annotated[bool, typer.Option("--once", help="One tick, then end")] = False,
    file: Annotated[
        list[Path] | None, typer.Option("--file", "-f", help="Declare the services of these files first")
    ] = None,
    yes: Yes = False,
    metrics_listen: Annotated[
        str | None, typer.Option("--metrics-listen", help="host:port of /metrics and /healthz; over the file's own")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Run the loop: observe, decide, act; what happens is told with its reason. Ctrl-C ends the loop, not the fleet."""
    listen = None if metrics_listen is None else _address(metrics_listen)
    spoken = notifier()
    if file:
        up(services=None, file=file, wait=False, timeout="15m", yes=yes, output=Format.NAME)
    with session(create=True) as now:
        came = asyncio.run(_run(now, once=once, output=output, spoken=spoken, listen=listen))
        ended = ENDED_IDLE if end_idle_gateway(now) is Needed.NOTHING else ENDED
    if signal.SIGINT in came:
        raise KeyboardInterrupt(ended)
    if not once:
        say(ended)


def _address(text: str) -> str:
    from fleetctl.spec.problems import Unfit
    from fleetctl.spec.units import listen_address

    try:
        return listen_address(text)
    except Unfit as error:
        raise UsageError(f"--metrics-listen: {error.message}", hint=error.fix) from error


async def _run(
    now: Session, *, once: bool, output: Format, spoken: Notifier, listen: str | None
) -> list[signal.Signals]:
    stop = asyncio.Event()
    came = on_signals(stop)
    listen = listen or now.config.daemon_metrics_listen
    if said := open_metrics(listen):
        say(f"warning: {said}")
    async with controlling(now) as held, watching(now, spoken, listen=listen) as watched:
        say(f"this process is the controller of fleet {now.config.name!r}, a tick every {now.config.period_s:g} s")
        telling = _Telling(output)

        def ended(ticked: Ticked) -> None:
            telling(ticked)
            watched.tick(ticked)

        def failing(error: Exception) -> None:
            say(f"warning: {error}; trying again")
            watched.trouble()

        await loop(
            held,
            SystemClock(),
            period_s=now.config.period_s,
            until=lambda ticked: once,
            on_tick=ended,
            on_trouble=failing,
            stop=stop,
        )
    return came


class _Telling:
    """Tells each tick: events, changed counts, and now and then that nothing changes."""

    def __init__(self, output: Format) -> None:
        self._output = output
        self._quiet_since = time.monotonic()

    def __call__(self, ticked: Ticked) -> None:
        if self._output is Format.JSON:
            for decision in ticked.plan.decisions:
                line(decision)
            return
        for event in ticked.plan.events:
            say(event_line(event))
            self._quiet_since = time.monotonic()
        if time.monotonic() - self._quiet_since >= QUIET_S:
            self._quiet_since = time.monotonic()
            for decision in ticked.plan.decisions:
                say(
                    f"holding {decision.service} at {decision.desired}: {decision.reason} [{notes_of(decision.stages)}]"
                )
