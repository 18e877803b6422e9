"""`fleetctl rollout` (Change): A new revision coming in: status, history, pause, resume, undo.

Example: fleetctl rollout status chat --watch
Example: fleetctl rollout history chat
Example: fleetctl rollout pause chat
Example: fleetctl rollout resume chat
Example: fleetctl rollout undo chat --dry-run
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec
import typer

from fleetctl.cli.changing import DryRun, Timeout, Yes, keep, told_dry
from fleetctl.cli.going_back import ToRevision, go_back
from fleetctl.cli.looking import EVERY, Interval
from fleetctl.cli.output import Column, Format, Listing, Output, document, emit, say, write
from fleetctl.cli.session import Session, duration_s, known_service, session
from fleetctl.cli.watching import follow
from fleetctl.decide.trial import given_up, remedy
from fleetctl.errors import FleetError
from fleetctl.model.rollouts import Rollout, RolloutState
from fleetctl.model.snapshots import Intent
from fleetctl.views.figures import ago
from fleetctl.views.fleet import FleetView
from fleetctl.wiring import lease_is_live

app = typer.Typer(add_completion=False, no_args_is_help=True, help="A new revision coming in.")

Name = Annotated[str, typer.Argument(help="The service")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionRow:
    """One revision of a Service that is kept whole."""

    name: str
    service: str
    state: str
    """in force, declared (it was given up, or is about to come in), or empty."""
    declared_at: float
    age_s: float
    image: str | None
    model: str


REVISIONS: tuple[Column[RevisionRow], ...] = (
    Column(header="REVISION", cell=lambda row: row.name),
    Column(header="STATE", cell=lambda row: row.state or "-"),
    Column(header="DECLARED", cell=lambda row: f"{ago(row.age_s)} ago", right=True),
    Column(header="IMAGE", cell=lambda row: row.image or "-", drop=1),
    Column(header="MODEL", cell=lambda row: row.model),
)


@app.command()
def status(
    service: Name,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", "-w", help="Until it is over; a pipe gets changes as JSON; exit code 1 if it is given up"
        ),
    ] = False,
    interval: Interval = EVERY,
    output: Output = Format.TABLE,
) -> None:
    """Show how far the newest rollout of a service is, and the revisions that are kept. Reads the store only."""
    interval_s = duration_s(interval)
    with session() as now:
        name = known_service(now, service)
        stand = _stand(now, name)
        if not watch or output is Format.NAME:
            _show(stand, output)
            return

        def look() -> Listing[Mapping[str, object]]:
            nonlocal stand
            stand = _stand(now, name)
            return Listing(rows=[_body(stand.intent, stand.row)], columns=(), name=lambda row: f"rollout/{name}")

        follow(look, output, interval_s, draw=lambda: _show(stand, output), over=lambda: not stand.open)
        if (row := stand.row) is not None and _current(stand.intent, row).state is RolloutState.ABORTED:
            raise FleetError(given_up(row), hint=remedy(row))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stand:
    """One look at a Service's Rollout."""

    intent: Intent
    row: Rollout | None
    at: float

    @property
    def open(self) -> bool:
        return self.row is not None and _current(self.intent, self.row).open


def _stand(now: Session, name: str) -> _Stand:
    view = now.view()
    return _Stand(intent=_intent(view, name), row=view.rollouts.get(name), at=view.at)


def _show(stand: _Stand, output: Format) -> None:
    if output is Format.NAME:
        sys.stdout.write(f"rollout/{stand.intent.service.name}\n")
    elif output is Format.TABLE:
        write(_text(stand.intent, stand.row, stand.at))
    else:
        document(_body(stand.intent, stand.row), output)


@app.command()
def pause(service: Name, dry_run: DryRun = False, output: Output = Format.TABLE) -> None:
    """Hold a rollout where it is; scaling goes on, in a revision that is known to work."""
    _set_paused(service, True, output, dry_run=dry_run)


@app.command()
def resume(service: Name, dry_run: DryRun = False, output: Output = Format.TABLE) -> None:
    """Let a rollout that was paused go on."""
    _set_paused(service, False, output, dry_run=dry_run)


@app.command()
def undo(
    service: Name,
    to: ToRevision = None,
    wait: Annotated[bool, typer.Option(help="Wait until it serves alone")] = True,
    timeout: Timeout = "15m",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Go back to the revision before, exactly as it was declared: what still drains or stands by of it serves first."""
    timeout_s = duration_s(timeout)
    with session(change=not dry_run) as now:
        name = known_service(now, service)
        go_back(now, name, to, wait_s=timeout_s if wait else None, yes=yes, dry_run=dry_run, output=output)
        if not dry_run:
            report(now, name, output, acting=wait)


@app.command()
def history(service: Name, output: Output = Format.TABLE) -> None:
    """List the revisions of a service that are kept, the newest first; each can be gone back to."""
    with session() as now:
        name = known_service(now, service)
        view = now.view()
        intent = _intent(view, name)
        holds = intent.in_force(view.rollouts.get(name)).revision
        emit(
            [
                RevisionRow(
                    name=one.name,
                    service=name,
                    state="in force" if one.name == holds else "declared" if one.name == intent.revision else "",
                    declared_at=one.declared_at,
                    age_s=view.at - one.declared_at,
                    image=one.service.image,
                    model=one.service.model,
                )
                for one in reversed(intent.revisions)
            ],
            REVISIONS,
            output,
            name=lambda row: f"revision/{row.name}",
            empty="no revisions are kept",
        )


def _set_paused(service: str, paused: bool, output: Format, *, dry_run: bool) -> None:
    with session(change=not dry_run) as now:
        name = known_service(now, service)
        intent = _intent(now.view(), name)
        if intent.paused != paused and not dry_run:
            keep(now, f"rollout {'pause' if paused else 'resume'} {name}", [name])
            now.store.set_paused(name, paused)
        said = f"rollouts wait until: fleetctl rollout resume {name}" if paused else "rollouts go on"
        say(f"{name}: {said}")
        report(now, name, output, acting=dry_run)
        if dry_run:
            told_dry()


def report(now: Session, name: str, output: Format, *, acting: bool) -> None:
    """What a command that changed something prints: the Rollout as it stands; and who acts on it."""
    view = now.view()
    intent = _intent(view, name)
    if output is Format.NAME:
        sys.stdout.write(f"rollout/{name}\n")
    elif output is not Format.TABLE:
        document(_body(intent, view.rollouts.get(name)), output)
    if not acting and not lease_is_live(now.store, time.time()):
        say("stored; no controller is running to act on it: fleetctl daemon start")


def _intent(view: FleetView, name: str) -> Intent:
    return next(intent for intent in view.intents if intent.service.name == name)


def _current(intent: Intent, row: Rollout) -> Rollout:
    """The Rollout as the user's word makes it, which the controller is about to take in."""
    again = row.state is RolloutState.ABORTED and intent.in_force(row) is intent
    return (
        Rollout(
            service=row.service, to_revision=intent.revision, from_revision=row.to_revision, started_at=row.started_at
        )
        if row.to_revision != intent.revision or again
        else row
    )


def _body(intent: Intent, row: Rollout | None) -> Mapping[str, object]:
    return {
        "service": intent.service.name,
        "revision": intent.revision,
        "in_force": intent.in_force(row).revision,
        "paused": intent.paused,
        "rollout": None if row is None else msgspec.to_builtins(_current(intent, row)),
        "revisions": [
            {
                "name": one.name,
                "declared_at": one.declared_at,
                "image": one.service.image,
                "model": one.service.model,
            }
            for one in reversed(intent.revisions)
        ],
    }


def _text(intent: Intent, row: Rollout | None, at: float) -> str:
    name = intent.service.name
    lines = []
    if row is None:
        lines.append(f"rollout/{name}  not looked at by a controller yet")
    else:
        row = _current(intent, row)
        stand = row.counts
        begun = ago((row.ended_at or at) - row.started_at)
        way = f"{row.from_revision} → {row.to_revision}" if row.from_revision else row.to_revision
        lines.append(f"rollout/{name}  {row.state}  {way}  {'took' if row.ended_at else 'for'} {begun}")
        lines.append(
            f"  {stand.passed} of {stand.wanted} count, {stand.new - stand.passed} on their way,"
            f" {stand.old} of other revisions serve, {stand.draining} drain"
        )
        if row.reason:
            lines.append(f"  {row.reason}; {remedy(row)}")
    holds = intent.in_force(row).revision
    lines += ["", "  REVISION      DECLARED  RUNS"]
    for one in reversed(intent.revisions):
        given_up_on = one.name == intent.revision and one.name != holds
        mark = " (declared, given up)" if given_up_on else " (in force)" if one.name == holds else ""
        what = " ".join(part for part in (one.service.image or "", one.service.model) if part)
        lines.append(f"  {one.name:<12}  {ago(at - one.declared_at) + ' ago':<8}  {what}{mark}")
    return "\n".join(lines) + "\n"
