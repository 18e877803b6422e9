"""`fleetctl top` (Look): The live dashboard: services, demand, pools, decisions and prices; keys: ?.

Example: fleetctl top --read-only
"""

import os
import sys
from typing import Annotated

import typer

from fleetctl.cli.commands import commands
from fleetctl.cli.moments import moment
from fleetctl.cli.output import Format, Output
from fleetctl.cli.session import duration_s, session
from fleetctl.errors import MissingDependency, UsageError
from fleetctl.paths import Home

app = typer.Typer(add_completion=False)

INTERVAL_LEAST_S = 0.1
"""A person reads no faster."""


@app.command()
def top(
    read_only: Annotated[
        bool | None,
        typer.Option(
            "--read-only/--read-write",
            show_default=False,
            help="Keys that change something are off; the usual thing in a context that is read-only or --typed",
        ),
    ] = None,
    interval: Annotated[str, typer.Option("--interval", help="Between two looks at the store, as in 1s")] = "1s",
    at: Annotated[str | None, typer.Option("--at", help="As it was then: 10m (ago), or 2026-11-21T08:30:00Z")] = None,
    replay: Annotated[str | None, typer.Option("--replay", help="Play from then on, ten times as fast")] = None,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="No characters beyond ASCII")] = False,
    web: Annotated[bool, typer.Option("--web", help="In a browser on this machine instead, read-only")] = False,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Of --web")] = 8090,
    output: Output = Format.TABLE,
) -> None:
    """Watch the fleet, and go into it. Reads the store only, and shows how old its data is."""
    if output is not Format.TABLE:
        raise UsageError("top draws on a terminal", hint="for programs: fleetctl ps -o json, fleetctl events -o json")
    if at is not None and replay is not None:
        raise UsageError("--at stands still and --replay plays: give one of them", hint="fleetctl top --replay 1h")
    if not (web or _served() or all(one.isatty() for one in (sys.stdin, sys.stdout, sys.stderr))):
        # Textual draws on stderr, so that one as well.
        raise UsageError("top needs a terminal", hint="into a pipe: fleetctl ps --watch")
    if os.environ.get("TERM") == "dumb" and not (web or _served()):
        raise UsageError("top cannot draw on this terminal: TERM is dumb", hint="line by line: fleetctl events --watch")
    try:
        from fleetctl.cli.line_ends import ends
        from fleetctl.tui.acting import Setting
        from fleetctl.tui.app import PLAYED_SPEED, Top
        from fleetctl.tui.commands import Vocabulary
        from fleetctl.tui.plainness import colours_here
    except ImportError as error:
        raise MissingDependency(f"the dashboard needs textual: {error}", hint="pip install 'fleetctl[tui]'") from error
    from fleetctl.views.live import Live
    from fleetctl.views.looks import Source
    from fleetctl.views.past import Past

    every_s = max(INTERVAL_LEAST_S, duration_s(interval))
    with session() as now:
        since = at if at is not None else replay
        listen, cap = now.config.gateway_listen, now.config.max_cost_per_hour
        source: Source
        if since is not None:
            speed = PLAYED_SPEED if replay is not None else 0.0
            source = Past(now.store, listen=listen, since=moment(since), speed=speed, max_cost_per_hour=cap)
        else:
            source = Live(now.store, listen=listen, max_cost_per_hour=cap)
        if now.home.context:
            # What the dashboard asks of commands, it asks in this context, however it was chosen.
            os.environ["FLEETCTL_CONTEXT"] = now.home.context
        if web:
            from fleetctl.tui.web import serve

            shown = [f"--at={at}"] if at is not None else [f"--replay={replay}"] if replay is not None else []
            serve([f"--interval={interval}", *shown, *(["--ascii"] if ascii_only else [])], port=port)
            return
        setting = Setting(
            context=now.home.context or now.config.name,
            confirm_name=now.home.context if now.home.typed else "",
            vocabulary=Vocabulary(commands=(*(one.name for one in commands()), "help"), ends=ends),
            read_only=_served() or since is not None or _read_only(now.home, read_only),
            ascii_only=ascii_only or not _speaks_unicode(),
            colours="all" if _served() else colours_here(),
            interval_s=every_s,
        )
        # Textual believes these before the terminal itself, which may be resized.
        for stale in ("COLUMNS", "LINES"):
            os.environ.pop(stale, None)
        Top(source, setting).run()


def _read_only(where: Home, asked: bool | None) -> bool:
    """A context that forbids changes is not overruled; one that asks for its name before them may be."""
    return where.read_only or (where.typed if asked is None else asked)


def _served() -> bool:
    """Whether `--web` of another process draws what this one sends it."""
    return os.environ.get("TEXTUAL_DRIVER", "").endswith("web_driver:WebDriver")


def _speaks_unicode() -> bool:
    """Where a browser draws, there is no terminal to ask."""
    return _served() or ("utf" in (sys.stdout.encoding or "").lower() and os.environ.get("TERM") != "linux")
