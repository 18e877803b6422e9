"""`fleetctl plan` (Look): What the files change and what that costs, before anything is done.

Example: fleetctl plan -f fleet/ --detailed-exitcode
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from fleetctl.cli.costs import COSTS, CostRow, Costs, costs_of, told
from fleetctl.cli.declaring import Declaration, Files, MaxCost, read_declaration
from fleetctl.cli.output import Format, Output, document, emit, say
from fleetctl.cli.planning import CHANGES, ServiceChange, Standing, all_differences, service_changes, standing_of
from fleetctl.cli.saved_plan import HOLDS_S, saved_plan, write_plan
from fleetctl.cli.weights import weights_told
from fleetctl.views.differences import Difference
from fleetctl.views.figures import ago, dollars
from fleetctl.wiring import home

app = typer.Typer(add_completion=False)

CHANGED = 10
"""The exit code of --detailed-exitcode when something would change; 2 is for wrong words."""
DECLARED = "declared"
"""The source of prices that the files declare themselves: they have no age."""
DetailedExitcode = Annotated[bool, typer.Option("--detailed-exitcode", help="Exit code 10 when something would change")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The plan, for programs. Prices are US dollars an hour; None: one in it is unknown."""

    changes: tuple[ServiceChange, ...]
    differences: tuple[Difference, ...]
    rows: tuple[CostRow, ...]
    now: float | None
    then: float | None
    most: float | None
    limit: float | None
    month: float | None
    """US dollars, with the least load around the clock."""
    rises: bool
    warnings: tuple[str, ...]


@app.command()
def plan(
    services: Annotated[list[str] | None, typer.Argument(help="Services to bring up; none: all in the files")] = None,
    file: Files = None,
    max_cost_per_hour: MaxCost = None,
    detailed_exitcode: DetailedExitcode = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Save the plan there, for: fleetctl apply PLAN; it holds for 30 min")
    ] = None,
    output: Output = Format.TABLE,
) -> int:
    """Show what `fleetctl up` or `apply` would change, and what it costs: now, then, and with every service at its max.

    Asks the providers that are set up for their offers, and changes nothing.
    """
    declared = read_declaration(file, services, max_cost_per_hour=max_cost_per_hour)
    standing = standing_of(declared)
    where = home()
    costs = costs_of(declared.fleet, declared.wanted, standing.view, where)
    changed = show_plan(declared, standing, costs, output)
    if output is Format.TABLE:
        for line in weights_told(declared.wanted):
            say(line)
    if out is not None:
        write_plan(out, saved_plan(declared, standing, costs, root=where.root))
        say(f"saved; it holds for {ago(HOLDS_S)}: fleetctl apply {out}")
    return CHANGED if detailed_exitcode and changed else 0


def show_plan(declared: Declaration, standing: Standing, costs: Costs, output: Format) -> bool:
    """Print the plan; whether anything changes."""
    changes = service_changes(declared, standing, costs)
    differences = all_differences(declared, standing)
    if output in (Format.JSON, Format.YAML):
        document(
            Planned(
                changes=changes,
                differences=differences,
                rows=costs.rows,
                now=costs.now,
                then=costs.then,
                most=costs.most,
                limit=costs.limit,
                month=costs.per_month,
                rises=costs.rises,
                warnings=costs.warnings,
            ),
            output,
        )
    elif output is Format.NAME:
        sys.stdout.writelines(f"service/{one.name}\n" for one in changes if one.change)
    else:
        emit(changes, CHANGES, output, name=lambda row: f"service/{row.name}", empty="the files declare no service")
        if costs.rows:
            sys.stdout.write("\n")
        emit(costs.rows, COSTS, output, name=lambda row: f"pool/{row.pool}", empty="no machines, now or later")
    for warning in costs.warnings:
        say(f"warning: {warning}")
    if output is Format.TABLE:
        _remark(costs)
        if not differences:
            say("nothing differs from what is declared already")
        elif beside := dict.fromkeys(one.subject for one in differences if not one.subject.startswith("service/")):
            say(f"besides services these differ: {', '.join(beside)}; field by field: fleetctl diff")
    return bool(differences) or any(row.then > row.now for row in costs.rows)


def _remark(costs: Costs) -> None:
    month = "" if costs.per_month is None else f"; {dollars(costs.per_month)} a month at {dollars(costs.then)}/h, 24×7"
    say(told(costs) + month)
    if costs.limit is not None and sum(row.most_per_hour or 0.0 for row in costs.rows) > costs.limit:
        say(f"nothing is launched above {dollars(costs.limit)}/h, so not everything can be at its max at once")
    short = [row for row in costs.rows if row.quota_left is not None and row.most - row.now > row.quota_left]
    for row in short:
        say(f"{row.provider}'s quota allows {row.quota_left} more of {row.type}: pool {row.pool} cannot reach its max")
    _remark_prices(costs.rows)


def _remark_prices(rows: Sequence[CostRow]) -> None:
    ages = [row.price_age_s for row in rows if row.price_age_s is not None and row.price_source != DECLARED]
    if ages:
        say(f"prices are of {ago(max(ages))} ago" + (" or newer" if len(ages) > 1 else ""))
    if any(row.price_per_hour is None and row.most for row in rows):
        say("? is a price that nobody has told; ask the clouds: fleetctl catalog refresh")
    if any(row.price_stale for row in rows):
        say("(old) prices are of more than 7 days ago; ask anew: fleetctl catalog refresh")
