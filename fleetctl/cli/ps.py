"""`fleetctl ps` (Look): Services, replicas, standby and price.

Example: fleetctl ps -r --watch
"""

from typing import Annotated

import typer

from fleetctl.cli import fleet_lists
from fleetctl.cli.output import Format, Output

app = typer.Typer(add_completion=False)


@app.command()
def ps(
    replicas: Annotated[bool, typer.Option("--replicas", "-r", help="List replicas")] = False,
    instances: Annotated[bool, typer.Option("--instances", "-i", help="List instances")] = False,
    every: Annotated[bool, typer.Option("--all", "-a", help="Services that are down, too")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again and again; a pipe gets changes as JSON")] = False,
    interval: Annotated[str, typer.Option("--interval", help="Between two looks with --watch")] = "2s",
    output: Output = Format.TABLE,
) -> None:
    """List services, or replicas (-r), or instances (-i). Reads the store only."""
    fleet_lists.ps(replicas=replicas, instances=instances, every=every, watch=watch, interval=interval, output=output)
