"""`fleetctl events` (Look): What happened, and why.

Example: fleetctl events chat --since 2h --watch
"""

from collections.abc import Iterator
from typing import Annotated

import typer

from fleetctl.cli.event_lists import events_since
from fleetctl.cli.looking import EVERY, Interval, Watch
from fleetctl.cli.output import Format, Output, show
from fleetctl.cli.session import Session, duration_s, session
from fleetctl.cli.subjects import subject_of
from fleetctl.cli.watching import follow

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
    watch: Watch = False,
    interval: Interval = EVERY,
    output: Output = Format.TABLE,
) -> None:
    """List events, oldest first."""
    since_s, interval_s = duration_s(since), duration_s(interval)
    with session() as now:
        if subject is not None:
            subject = subject_of(subject, now.view(), past=lambda: _past(now))
        empty = f"nothing happened{f' to {subject}' if subject else ''} in the last {since}"
        look = events_since(now.store, since_s, limit=limit, subject=subject, empty=empty)
        if watch:
            follow(look, output, interval_s)
        show(look(), output)


def _past(now: Session) -> Iterator[str]:
    """What there were events of, gone or not."""
    return (event.subject for event in now.store.events(limit=PAST_LIMIT))
