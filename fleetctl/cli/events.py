"""`fleetctl events` (Look): What happened, and why.

Example: fleetctl events chat --since 2h --watch
"""

import sys
import time
from collections.abc import Iterator
from typing import Annotated

import typer

from fleetctl.cli.output import Format, Output, items, line, say
from fleetctl.cli.session import WATCH_S, Session, duration_s, event_line, session
from fleetctl.cli.streams import pause
from fleetctl.cli.subjects import subject_of
from fleetctl.model.decisions import Event

app = typer.Typer(add_completion=False)

PAST_LIMIT = 10_000
"""Events looked through for the name of something that is gone: a day of a busy fleet."""


@app.command()
def events(
    subject: Annotated[
        str | None, typer.Argument(help="Only of this: service/chat, replica/…, instance/…, pool/…, or its name alone")
    ] = None,
    since: Annotated[str, typer.Option(help="How far back")] = "1h",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, the newest")] = 200,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on, as they happen")] = False,
    output: Output = Format.TABLE,
) -> None:
    """List events, oldest first."""
    with session() as now:
        start = time.time() - duration_s(since)
        if subject is not None:
            subject = subject_of(subject, now.view(), past=lambda: _past(now))
        found = list(now.store.events(since=start, limit=limit, subject=subject))
        if output in (Format.JSON, Format.YAML) and not watch:
            items(found, output)
        else:
            _print(found, output)
        if not found and output is Format.TABLE:
            say(f"nothing happened{f' to {subject}' if subject else ''} in the last {since}")
        told = {(event.at, event.subject, event.message) for event in found}
        while watch:
            pause(WATCH_S)
            newer = [
                event
                for event in now.store.events(since=time.time() - 60, subject=subject)
                if (event.at, event.subject, event.message) not in told
            ]
            _print(newer, output, more=True)
            told = {item for item in told if item[0] > time.time() - 120}
            told.update((event.at, event.subject, event.message) for event in newer)


def _past(now: Session) -> Iterator[str]:
    """What there were events of, gone or not."""
    return (event.subject for event in now.store.events(limit=PAST_LIMIT))


def _print(found: list[Event], output: Format, *, more: bool = False) -> None:
    for index, event in enumerate(found):
        if output is Format.JSON:
            line(event, first=not index and not more)
        elif output is Format.NAME:
            sys.stdout.write(f"{event.subject}\n")
        else:
            sys.stdout.write(event_line(event) + "\n")
    sys.stdout.flush()
