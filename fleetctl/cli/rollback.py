"""`fleetctl rollback` (Change): Go back to an earlier revision of a service, exactly as it was declared.

Example: fleetctl rollback chat --dry-run
"""

from typing import Annotated

import typer

from fleetctl.cli.changing import DryRun, Timeout, Yes
from fleetctl.cli.going_back import ToRevision
from fleetctl.cli.output import Format, Output
from fleetctl.cli.rollout import undo

app = typer.Typer(add_completion=False)


@app.command()
def rollback(
    service: Annotated[str, typer.Argument(help="The service")],
    to: ToRevision = None,
    wait: Annotated[bool, typer.Option(help="Wait until it serves alone")] = True,
    timeout: Timeout = "15m",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Go back to the revision before, or the one that is named, exactly as it was declared: `rollout undo` as one word.

    The revisions that are kept: fleetctl rollout history NAME.
    """
    undo(service, to=to, wait=wait, timeout=timeout, yes=yes, dry_run=dry_run, output=output)
