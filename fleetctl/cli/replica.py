"""`fleetctl replica` (Control): Single replicas: ls, drain, rm.

Example: fleetctl replica rm chat-k3xq-7
Example: fleetctl replica ls
Example: fleetctl replica drain chat-k3xq-7
"""

import sys
import time
from typing import Annotated

import typer

from fleetctl.cli.asking import ask
from fleetctl.cli.changing import DryRun, told_dry, told_stored
from fleetctl.cli.fleet_lists import replica_list
from fleetctl.cli.output import Format, Output, document, say, show
from fleetctl.cli.session import Session, session
from fleetctl.cli.subjects import subject_of
from fleetctl.errors import UsageError
from fleetctl.model.orders import Order, Wish
from fleetctl.model.replicas import Replica, ReplicaPhase, Role
from fleetctl.model.snapshots import Intent
from fleetctl.views.fleet import FleetView

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Single replicas.")

Name = Annotated[str, typer.Argument(help="The replica's id, as ps -r tells it", metavar="REPLICA")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")]


@app.command()
def ls(output: Output = Format.TABLE) -> None:
    """List replicas, as `ps -r` does."""
    with session() as now:
        show(replica_list(now.view()), output)


@app.command()
def drain(replica: Name, dry_run: DryRun = False, output: Output = Format.TABLE) -> None:
    """Put another one in its place, then let it end what it serves and stop it."""
    with session(change=not dry_run) as now:
        view = now.view()
        one = _replica(view, replica)
        _order(now, view, one, Wish.DRAIN, dry_run=dry_run)
        _report(one, Wish.DRAIN, output)


@app.command()
def rm(
    replica: Name,
    at_once: Annotated[bool, typer.Option("--now", help="Without a drain: what it serves is cut off")] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Replace a replica. One that does not serve yet, or is stuck, ends at once; one that serves drains first."""
    with session(change=not dry_run) as now:
        view = now.view()
        one = _replica(view, replica)
        wish = Wish.STOP if at_once else Wish.DRAIN
        if at_once and one.role in (Role.SERVING, Role.DRAINING) and one.phase is ReplicaPhase.READY:
            what = f"stop replica/{one.id} at once: the requests that it serves are cut off"
            if not dry_run:
                ask(what, yes=yes, retry=f"fleetctl replica rm {one.id} --now", home=now.home)
        _order(now, view, one, wish, dry_run=dry_run)
        _report(one, wish, output)


def _replica(view: FleetView, word: str) -> Replica:
    subject = subject_of(word, view)
    kind, _, name = subject.partition("/")
    if kind != "replica":
        raise UsageError(f"{subject} is no replica", hint="see: fleetctl ps -r")
    return next(one for one in view.replicas if one.id == name)


def _order(now: Session, view: FleetView, one: Replica, wish: Wish, *, dry_run: bool) -> None:
    if not dry_run:
        now.store.put_order(Order(subject=f"replica/{one.id}", wish=wish, at=time.time()))
    serves = one.role is Role.SERVING and one.phase is ReplicaPhase.READY
    if wish is Wish.STOP or not serves:
        say(f"replica/{one.id} ends at once and is replaced where its service wants one")
    else:
        say(f"replica/{one.id} drains once another one is ready in its place")
        intent = next((found for found in view.intents if found.service.name == one.service), None)
        if intent is not None and _no_room(view, intent):
            say(
                f"warning: {one.service} has min and max at {intent.service.scaling.max}, so none can take its place"
                f" and it stays; raise scaling.max in its file, or: fleetctl replica rm {one.id} --now"
            )
    if dry_run:
        told_dry()
    else:
        told_stored(now)


def _no_room(view: FleetView, intent: Intent) -> bool:
    scaling = intent.service.scaling
    ready = [
        one
        for one in view.replicas_of(intent.service.name)
        if one.role is Role.SERVING and one.phase is ReplicaPhase.READY
    ]
    return len(ready) >= scaling.max and len(ready) <= max(1, scaling.min)


def _report(one: Replica, wish: Wish, output: Format) -> None:
    if output is Format.NAME:
        sys.stdout.write(f"replica/{one.id}\n")
    elif output is not Format.TABLE:
        document({"replica": one.id, "service": one.service, "ordered": wish.value}, output)
