"""`fleetctl resume` (Change): Let the policy of a service that was paused rule again.

Example: fleetctl resume chat
"""

from typing import Annotated

import typer

from fleetctl.cli.changing import DryRun
from fleetctl.cli.holding import let_go
from fleetctl.cli.output import Format, Output
from fleetctl.cli.session import session

app = typer.Typer(add_completion=False)


@app.command()
def resume(
    service: Annotated[str, typer.Argument(help="The service")],
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Let the policy of a service that `fleetctl pause` holds rule again."""
    with session(change=not dry_run) as now:
        let_go(now, service, dry_run=dry_run, output=output)
