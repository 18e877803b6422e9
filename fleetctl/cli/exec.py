"""`fleetctl exec` (Look): Run a command where a replica runs.

Example: fleetctl exec chat -- nvidia-smi
"""

from typing import Annotated

import typer

from fleetctl.cli.output import Format, Output, say
from fleetctl.cli.reaching import become, inside, place_of, terminal
from fleetctl.cli.session import session
from fleetctl.wiring import refuse_read_only

app = typer.Typer(add_completion=False)


@app.command("exec")
def run_inside(
    where: Annotated[str, typer.Argument(help="A replica, or a service: its newest", metavar="REPLICA|SVC")],
    words: Annotated[
        list[str] | None, typer.Argument(help="After --: the command; without one, a shell", metavar="-- CMD")
    ] = None,
    output: Output = Format.TABLE,
) -> int:
    """Run a command in a replica's container, or beside its process; its exit code is the command's own."""
    with session() as now:
        refuse_read_only(now.home)
        place = place_of(now, where)
        line = inside(now.home, place, words or (), tty=terminal() and output is Format.TABLE)
    say(place.told)
    return become(line, place.told, output)
