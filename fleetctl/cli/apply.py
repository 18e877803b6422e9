"""`fleetctl apply` (Change): Declare what the files say, or a saved plan; shows the plan, and does not wait.

Example: fleetctl apply -f fleet/ --yes
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fleetctl.cli.changing import DryRun, Yes, told_dry, told_stored
from fleetctl.cli.costs import Costs, costs_of
from fleetctl.cli.declaring import (
    Declaration,
    Files,
    MaxCost,
    agree_to,
    declare,
    keeps_providers,
    read_declaration,
    told_keys,
)
from fleetctl.cli.output import Format, Output, items
from fleetctl.cli.plan import show_plan
from fleetctl.cli.planning import Standing, service_changes, standing_of
from fleetctl.cli.saved_plan import SavedPlan, read_plan, refuse_dearer, refuse_drift
from fleetctl.cli.session import session
from fleetctl.errors import Conflict, UsageError
from fleetctl.wiring import home, refuse_read_only

app = typer.Typer(add_completion=False)


@app.command()
def apply(
    plan: Annotated[Path | None, typer.Argument(help="What `fleetctl plan --out FILE` saved", metavar="PLAN")] = None,
    file: Files = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    max_cost_per_hour: MaxCost = None,
    output: Output = Format.TABLE,
) -> None:
    """Declare what the files say: shows the plan, asks where more may be rented, and returns without waiting.

    A saved plan is applied as it was looked at: where files, fleet or prices have changed since, it is refused with
    exit code 7. `fleetctl up` does the same as `apply -f`, waits until the services answer and prints their endpoints.
    """
    if plan is not None and file:
        raise UsageError(
            "a saved plan names its files itself", hint=f"fleetctl apply {plan}, or: fleetctl apply -f FILE"
        )
    saved, declared = _meant(plan, file, max_cost_per_hour)
    again = f"fleetctl apply {plan}" if plan is not None else declared.line("fleetctl apply")
    standing = standing_of(declared)
    where = home()
    if saved is not None and plan is not None:
        refuse_drift(plan, saved, declared, standing, root=where.root)
    costs = costs_of(declared.fleet, declared.wanted, standing.view, where)
    if saved is not None and plan is not None:
        refuse_dearer(plan, saved, costs)
    if output is Format.TABLE:
        show_plan(declared, standing, costs, output)
    if dry_run:
        told_dry()
        _report(declared, standing, costs, output)
        return
    # Before there is a store: a plan of a fleet that is none yet holds after a refusal.
    refuse_read_only(where)
    if standing.view is not None:
        keeps_providers(declared.fleet, standing.view)
    agree_to(costs, declared, where, yes=yes, again=again)
    with session(config=declared.fleet.config, create=True) as now:
        if now.store.intents_version() != standing.intents_version and standing.epoch:
            raise Conflict("what is wanted of the fleet was changed meanwhile, so nothing was stored", hint=again)
        at = declare(declared, now, command=again.removeprefix("fleetctl "))
        _report(declared, standing, costs, output)
        one = declared.wanted[0].name if len(declared.wanted) == 1 else "NAME"
        told_stored(now, waiting=f"fleetctl wait {one} --for ready")
        told_keys(declared, now, at)


def _meant(
    plan: Path | None, files: list[Path] | None, max_cost_per_hour: float | None
) -> tuple[SavedPlan | None, Declaration]:
    if plan is None:
        return None, read_declaration(files, max_cost_per_hour=max_cost_per_hour)
    saved = read_plan(plan)
    limit = saved.max_cost_per_hour if max_cost_per_hour is None else max_cost_per_hour
    return saved, read_declaration([Path(path) for path in saved.paths], saved.services, max_cost_per_hour=limit)


def _report(declared: Declaration, standing: Standing, costs: Costs, output: Format) -> None:
    """What is printed when it is done; people have seen the plan."""
    changes = service_changes(declared, standing, costs)
    if output is Format.NAME:
        sys.stdout.writelines(f"service/{one.name}\n" for one in changes)
    elif output is not Format.TABLE:
        items(changes, output)
