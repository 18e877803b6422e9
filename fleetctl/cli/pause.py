"""`fleetctl pause` (Change): Hold a service at the count it has, until fleetctl resume.

Example: fleetctl pause chat
"""

from typing import Annotated

import typer

from fleetctl.cli.changing import DryRun
from fleetctl.cli.holding import hold
from fleetctl.cli.output import Format, Output
from fleetctl.cli.session import session

app = typer.Typer(add_completion=False)


@app.command()
def pause(
    service: Annotated[str, typer.Argument(help="The service")],
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Hold the count that a service has now: its policy and its schedules are not heard until `fleetctl resume`.

    A rollout goes on; it is held with `fleetctl rollout pause`.
    """
    with session(change=not dry_run) as now:
        hold(now, service, dry_run=dry_run, output=output)
