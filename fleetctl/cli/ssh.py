"""`fleetctl ssh` (Look): A shell on a machine of the fleet.

Example: fleetctl ssh gpus-k3xq-2
"""

from typing import Annotated

import typer

from fleetctl.cli.output import Format, Output, say
from fleetctl.cli.reaching import become, on_machine, place_of, terminal
from fleetctl.cli.session import session
from fleetctl.wiring import refuse_read_only

app = typer.Typer(add_completion=False)


@app.command()
def ssh(
    where: Annotated[str, typer.Argument(help="An instance; or a replica: its machine", metavar="INSTANCE|REPLICA")],
    words: Annotated[
        list[str] | None, typer.Argument(help="After --: a command instead of a shell", metavar="-- CMD")
    ] = None,
    output: Output = Format.TABLE,
) -> int:
    """Open a shell on the machine itself, or run one command there. A local machine is a folder: a shell in it."""
    with session() as now:
        refuse_read_only(now.home)
        place = place_of(now, where, machine=True)
        line = on_machine(now.home, place, words or (), tty=terminal() and output is Format.TABLE)
    say(place.told)
    return become(line, place.told, output)
