"""`fleetctl explain` (Look): Why a service has the count it has, stage by stage."""

import sys
import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from fleetctl.cli.output import Format, Output, ago, document, dollars, figure, several
from fleetctl.cli.session import duration_s, known_service, session
from fleetctl.controller.journal import read
from fleetctl.errors import NotFound, UsageError
from fleetctl.model.decisions import Decision

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
        if at is None:
            decision = now.store.decisions().get(name)
        else:
            body = now.store.journal(at=_moment(at))
            found = read(body).decisions if body is not None else ()
            decision = next((one for one in found if one.service == name), None)
        if decision is None:
            raise NotFound(f"no decision about {name} is recorded{f' at {at}' if at else ' yet'}", hint="fleetctl run")
        if output is Format.NAME:
            sys.stdout.write(f"service/{name}\n")
        elif output is not Format.TABLE:
            document(decision, output)
        else:
            sys.stdout.write(explained(decision, time.time()))


def explained(decision: Decision, now: float) -> str:
    """A Decision in words."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(decision.at))
    change = f"{decision.current} → {decision.desired}" if decision.change else f"hold {decision.desired}"
    lines = [
        f"service/{decision.service}  {change}  at {when} ({ago(now - decision.at)} ago)",
        f"  because   {decision.reason}",
        f"  bound by  {decision.binding}",
        "",
        f"  measured  {_load(decision)}; {decision.ready} of {several(decision.current, 'replica')} ready",
        f"  target    {decision.target:g} requests a replica",
        f"  price     {dollars(decision.price_per_hour)}/h at {decision.desired}",
        "",
    ]
    width = max((len(note.stage) for note in decision.stages), default=0)
    for note in decision.stages:
        value = "" if note.value is None else str(note.value)
        lines.append(f"  {note.stage:<{width}}  {value:>4}  {note.note}".rstrip())
    return "\n".join(lines) + "\n"


def _load(decision: Decision) -> str:
    if decision.concurrency is None:
        return "load unknown"
    text = f"{figure(decision.concurrency)} queued + running"
    if decision.unknown:
        silent = several(decision.unknown, "replica")
        text += f" (at most {figure(decision.concurrency_most)}: the load of {silent} is unknown)"
    return text + f", {figure(decision.queued)} of them queued at the gateway"


def _moment(text: str) -> float:
    if text[-1:] in "smhd" and text[:-1].replace(".", "", 1).isdigit():
        return time.time() - duration_s(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no time", hint="write 10m (ago), or 2026-11-21T08:30:00Z") from None
    return (moment if moment.tzinfo else moment.astimezone(UTC)).timestamp()
