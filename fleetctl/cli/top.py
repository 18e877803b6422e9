"""`fleetctl top` (Look): The live dashboard: services, demand, pools, decisions and prices; keys: ?."""

import os
import sys
from typing import Annotated

import typer

from fleetctl.cli.moments import moment
from fleetctl.cli.output import Format, Output
from fleetctl.cli.session import duration_s, session
from fleetctl.errors import UsageError

app = typer.Typer(add_completion=False)


@app.command()
def top(
    read_only: Annotated[bool, typer.Option("--read-only", help="Keys that change something are off")] = False,
    interval: Annotated[str, typer.Option("--interval", help="Between two looks at the store, as in 1s")] = "1s",
    at: Annotated[str | None, typer.Option("--at", help="As it was then: 10m (ago), or 2026-11-21T08:30:00Z")] = None,
    replay: Annotated[str | None, typer.Option("--replay", help="Play from then on, ten times as fast")] = None,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="No characters beyond ASCII")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Watch the fleet, and go into it. Reads the store only, and shows how old its data is."""
    if output is not Format.TABLE:
        raise UsageError("top draws on a terminal", hint="for programs: fleetctl ps -o json, fleetctl events -o json")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("top needs a terminal", hint="fleetctl ps --watch writes to a pipe")
    if at is not None and replay is not None:
        raise UsageError("--at stands still and --replay plays: give one of them", hint="fleetctl top --replay 1h")
    try:
        from fleetctl.tui.app import Setting, Top
    except ImportError as error:
        raise UsageError(f"the dashboard needs textual: {error}", hint="pip install 'fleetctl[tui]'") from error
    from fleetctl.views.looks import Live, Past, Source

    with session() as now:
        since = at if at is not None else replay
        listen = now.config.gateway_listen
        source: Source
        if since is not None:
            source = Past(now.store, listen=listen, since=moment(since), speed=10.0 if replay else 0.0)
        else:
            source = Live(now.store, listen=listen, max_cost_per_hour=now.config.max_cost_per_hour)
        setting = Setting(
            context=now.config.name,
            read_only=read_only or since is not None,
            ascii_only=ascii_only or not _speaks_unicode(),
            interval_s=max(0.1, duration_s(interval)),
        )
        Top(source, setting).run()


def _speaks_unicode() -> bool:
    return "utf" in (sys.stdout.encoding or "").lower() and os.environ.get("TERM") != "linux"
