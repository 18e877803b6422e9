"""`fleetctl ps` (Look): Services, replicas, standby and price.

Example: fleetctl ps -r --watch
"""

from typing import Annotated

import typer

from fleetctl.cli import fleet_lists
from fleetctl.cli.looking import EVERY, Chosen, Interval, Watch
from fleetctl.cli.output import Format, Output

app = typer.Typer(add_completion=False)


@app.command()
def ps(
    replicas: Annotated[bool, typer.Option("--replicas", "-r", help="List replicas")] = False,
    instances: Annotated[bool, typer.Option("--instances", "-i", help="List instances")] = False,
    every: Annotated[bool, typer.Option("--all", "-a", help="Services that are down, too")] = False,
    labels: Chosen = None,
    watch: Watch = False,
    interval: Interval = EVERY,
    output: Output = Format.TABLE,
) -> None:
    """List services, or replicas (-r), or instances (-i). Reads the store only."""
    fleet_lists.ps(
        replicas=replicas,
        instances=instances,
        every=every,
        labels=labels,
        watch=watch,
        interval=interval,
        output=output,
    )
