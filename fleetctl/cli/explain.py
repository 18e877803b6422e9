"""`fleetctl explain` (Look): Why a service has the count it has, and where its machines were asked for.

Example: fleetctl explain chat --at 10m
"""

import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from math import ceil
from typing import Annotated

import msgspec
import typer

from fleetctl.cli.moments import moment
from fleetctl.cli.output import Column, Format, Output, document, picture_width, table, write
from fleetctl.cli.session import Session, known_service, session
from fleetctl.decide.attempts import Attempt, attempts
from fleetctl.errors import NotFound
from fleetctl.model.names import ServiceName
from fleetctl.store import SqlStore
from fleetctl.views.explanation import explained, explanation
from fleetctl.views.figures import ago
from fleetctl.views.holds import hold_of

app = typer.Typer(add_completion=False)


@app.command()
def explain(
    service: Annotated[str, typer.Argument(help="The service")],
    at: Annotated[str | None, typer.Option("--at", help="At this time: 10m (ago), or 2026-11-21T08:30:00Z")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Show a decision stage by stage: what was measured, what was wanted, what limited it."""
    with session() as now:
        name = known_service(now, service)
        found = explanation(now.store, name, None if at is None else moment(at))
        if found is None:
            raise unrecorded(now.store, name, at)
        if output is Format.NAME:
            sys.stdout.write(f"service/{name}\n")
        elif output is not Format.TABLE:
            document(
                {
                    **msgspec.to_builtins(found.decision),
                    "without": found.without,
                    "hold": hold_of(found.decision),
                    "attempts": _attempts(now, name, time.time()),
                },
                output,
            )
        else:
            write(explained(found.decision, time.time(), without=found.without))
            if at is None and (held := _held(now, name)):
                write(f"\n  {held}\n")
            if at is None and (tried := _attempts(now, name, time.time())):
                sys.stdout.write("\n" + matrix(tried, time.time(), room=_room()))


def _held(now: Session, service: ServiceName) -> str:
    """That its policy is not heard, and what to type for it to be; empty where it is heard."""
    intent = next((one for one in now.store.intents()[0] if one.service.name == service), None)
    if intent is None or intent.override is None or not intent.override.held:
        return ""
    return f"held by hand at {intent.override.replicas}; its policy rules again with: fleetctl resume {service}"


def _attempts(here: Session, service: ServiceName, now: float) -> tuple[Attempt, ...]:
    """Where machines for the Service were asked for, as the rows that are kept tell."""
    view = here.view()
    pools = {view.pool_of(intent).name for intent in view.intents if intent.service.name == service}
    return attempts([row for row in view.instances if row.pool in pools], here.store.load().places, now)


def matrix(tried: Sequence[Attempt], now: float, *, room: int | None) -> str:
    """Attempts at launching as a table of at most `room` columns, a row for each place, and what failed last there."""
    columns: tuple[Column[Attempt], ...] = (
        Column(header="PLACE", cell=lambda one: one.place),
        Column(header="WHEN", cell=lambda one: f"{ago(now - one.at)} ago", right=True),
        Column(header="OUTCOME", cell=lambda one: one.outcome),
        Column(header="FAILED", cell=lambda one: f"{one.failures}/{one.attempts}", right=True, drop=1),
        Column(
            header="RESTS FOR",
            cell=lambda one: ago(one.rests_until - now) if one.rests_until else "-",
            right=True,
            drop=2,
        ),
        Column(header="SHORT", cell=lambda one: f"{one.shortage:.0%}", right=True, drop=3),
    )
    # A sentence has no column that it fits.
    failures = [f"last failure at {one.place}: {one.detail}" for one in tried if one.detail]
    lines = [*table(tried, columns, width=room).splitlines(), *failures]
    return "".join(f"  {line}".rstrip() + "\n" for line in lines)


def _room() -> int | None:
    """Columns beside the indent; None into a pipe, which gets all of them."""
    return picture_width() - 2 if sys.stdout.isatty() or os.environ.get("COLUMNS") else None


def unrecorded(store: SqlStore, service: ServiceName, at: str | None) -> NotFound:
    """The error for a time of which nothing is kept: since when something is, and what to type for that."""
    begins = store.journal_begins()
    if at is None or begins is None:
        return NotFound(f"no decision about {service} is recorded{f' at {at}' if at else ' yet'}", hint="fleetctl run")
    # The next whole second: what is typed must not lie before the entry.
    since = datetime.fromtimestamp(ceil(begins), UTC).isoformat().replace("+00:00", "Z")
    if moment(at) >= begins:
        return NotFound(
            f"no decision about {service} is recorded at {at}: the fleet did not have it then",
            hint=f"fleetctl explain {service}",
        )
    first = explanation(store, service, ceil(begins))
    return NotFound(
        f"no decision about {service} is recorded at {at}: the oldest time that is kept is {since}",
        hint=f"fleetctl explain {service}{f' --at {since}' if first else ''}",
    )
