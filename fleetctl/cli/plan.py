"""`fleetctl plan` (Look): What the files will cost, line by line, before anything is done."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from fleetctl.cli.costs import COSTS, Costs, costs_of, told
from fleetctl.cli.output import Format, Output, document, emit, say
from fleetctl.cli.session import session, spec_paths
from fleetctl.cli.up import MaxCost, wanted_of
from fleetctl.cli.weights import weights_told
from fleetctl.errors import NotFound
from fleetctl.model.services import Service
from fleetctl.paths import home
from fleetctl.spec.fleet import Fleet
from fleetctl.views.figures import dollars
from fleetctl.views.fleet import FleetView
from fleetctl.wiring import abilities_of, provider_names

app = typer.Typer(add_completion=False)

CHANGES = 10
"""The exit code of --detailed-exitcode when machines would be added; 2 is for wrong words."""


@app.command()
def plan(
    services: Annotated[list[str] | None, typer.Argument(help="Services to bring up; none: all in the files")] = None,
    file: Annotated[list[Path] | None, typer.Option("--file", "-f", help="A file or folder; default fleet/")] = None,
    max_cost_per_hour: MaxCost = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit code 10 when machines would be added")
    ] = False,
    output: Output = Format.TABLE,
) -> int:
    """Show what `fleetctl up` would cost: each billable line now, then, and with every service at its max.

    Asks the providers that are set up for their offers, and changes nothing.
    """
    from fleetctl.spec.load import load

    fleet = load(spec_paths(file), providers=provider_names(), abilities=abilities_of)
    if max_cost_per_hour is not None:
        fleet = replace(fleet, config=replace(fleet.config, max_cost_per_hour=max_cost_per_hour))
    wanted = wanted_of(fleet, services or ())
    costs = _costs(fleet, wanted)
    if output in (Format.JSON, Format.YAML):
        document(costs, output)
    else:
        emit(
            costs.rows,
            COSTS,
            output,
            name=lambda row: f"pool/{row.pool}/{row.type or 'no-offer'}",
            empty="no machines, now or later",
        )
    for warning in costs.warnings:
        say(f"warning: {warning}")
    if output is Format.TABLE:
        for line in weights_told(wanted):
            say(line)
        say(told(costs))
        _remark(costs)
    return CHANGES if detailed_exitcode and any(row.then > row.now for row in costs.rows) else 0


def _costs(fleet: Fleet, wanted: list[Service]) -> Costs:
    where = home()
    view: FleetView | None = None
    with contextlib.suppress(NotFound), session(config=fleet.config) as now:
        view = now.view()
    return costs_of(fleet, wanted, view, where)


def _remark(costs: Costs) -> None:
    if costs.limit is not None and sum(row.most_per_hour or 0.0 for row in costs.rows) > costs.limit:
        say(f"nothing is launched above {dollars(costs.limit)}/h, so not everything can be at its max at once")
    if any(row.price_per_hour is None and row.most for row in costs.rows):
        say("? is a price that nobody has told; ask the clouds: fleetctl catalog refresh")
    if any(row.price_stale for row in costs.rows):
        say("(old) prices are of more than 7 days ago; ask anew: fleetctl catalog refresh")
