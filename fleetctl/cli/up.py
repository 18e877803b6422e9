"""`fleetctl up` (Change): Bring services up and wait until they answer; prints their endpoints.

Example: fleetctl up -f fleet/chat.yaml --yes --timeout 15m
"""

import sys
import time
from typing import Annotated

import typer

from fleetctl.cli.changing import DryRun, Timeout, Yes, told_dry
from fleetctl.cli.declaring import Files, MaxCost, agree, declare, read_declaration, told_keys
from fleetctl.cli.driving import drive
from fleetctl.cli.following import given_up_or_paused
from fleetctl.cli.output import Format, Output, items, say
from fleetctl.cli.planning import told_changes
from fleetctl.cli.session import Session, duration_s, session
from fleetctl.errors import FleetError
from fleetctl.views.fleet import FleetView, ServiceRow, service_rows
from fleetctl.views.settled import settled
from fleetctl.wiring import lease_is_live

app = typer.Typer(add_completion=False)


@app.command()
def up(
    services: Annotated[list[str] | None, typer.Argument(help="Services to bring up; none: all in the files")] = None,
    file: Files = None,
    wait: Annotated[bool, typer.Option(help="Wait until they answer")] = True,
    timeout: Timeout = "15m",
    yes: Yes = False,
    dry_run: DryRun = False,
    max_cost_per_hour: MaxCost = None,
    output: Output = Format.TABLE,
) -> None:
    """Bring services up and wait until they answer. Prints their endpoints.

    Asks before more machines may be rented than before, now or later. Runs the fleet itself, or hands over to the
    controller that runs it. Ctrl-C is harmless: what was begun is remembered, and the same command goes on.
    """
    timeout_s = duration_s(timeout)
    declared = read_declaration(file, services, max_cost_per_hour=max_cost_per_hour)
    again = declared.line("fleetctl up")
    if dry_run:
        told_changes(declared, output)
        told_dry()
        return
    with session(config=declared.fleet.config, create=True) as now:
        agree(declared, now, yes=yes, again=again)
        at = declare(declared, now, command=declared.line("up"))
        names = {str(service.name) for service in declared.wanted}
        if not wait and not lease_is_live(now.store, time.time()):
            say("stored, but no controller is running to act on it: fleetctl daemon start")
        if wait:
            _wait(now, names, timeout_s, resume=again)
        rows = [row for row in service_rows(now.view()) if row.name in names]
        if output is Format.JSON or output is Format.YAML:
            items(rows, output)
        elif output is Format.NAME:
            sys.stdout.writelines(f"service/{row.name}\n" for row in rows)
        else:
            sys.stdout.writelines(f"{row.endpoint}\n" for row in rows)
        told_keys(declared, now, at)
        if wait and not lease_is_live(now.store, time.time()):
            say("up. Nothing scales until a controller runs: fleetctl daemon start (or: fleetctl run)")


def _wait(now: Session, names: set[str], timeout_s: float, *, resume: str) -> None:
    since = time.time()

    def done(view: FleetView) -> bool:
        fresh = {name for name in names if (at := view.decisions.get(name)) is not None and at.at >= since}
        return fresh == names and all(settled(view, row.name) for row in service_rows(view) if row.name in names)

    def check(view: FleetView) -> None:
        mine = [row for row in service_rows(view) if row.name in names]
        for row in mine:
            given_up_or_paused(row.rollout, since)
        failing = [row for row in mine if row.state == "failing"]
        # Those that are well come up first: one broken file shall not keep the others from answering.
        if not failing or not all(settled(view, row.name) for row in mine if row.state != "failing"):
            return
        broken = " ".join(row.name for row in failing)
        raise FleetError(
            "\n".join(_failure(now, row, since) for row in failing),
            hint=f"mend the file and run: {resume}; or give up with: fleetctl down {broken}",
        )

    drive(now, done, timeout_s=timeout_s, check=check, resume=resume)


def _failure(now: Session, row: ServiceRow, since: float) -> str:
    """Why a Service does not come up: what its last Replica that failed left behind."""
    said = [
        event.message
        for event in now.store.events(since=since)
        # Replicas are called after their Service, the store's epoch and a number.
        if event.kind == "warning" and event.subject.rsplit("-", 2)[0] == f"replica/{row.name}"
    ]
    return f"{row.name} does not come up: {said[-1] if said else row.reason}"
