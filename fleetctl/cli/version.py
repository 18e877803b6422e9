"""`fleetctl version` (Files): Print the version.

Example: fleetctl version -o json
"""

import platform
import sys

import typer

from fleetctl import __version__
from fleetctl.cli.asked import ASKED
from fleetctl.cli.output import Format, Output, document

app = typer.Typer(add_completion=False)


@app.command()
def version(output: Output = Format.TABLE) -> None:
    """Print the version."""
    if output in (Format.TABLE, Format.NAME):
        sys.stdout.write(f"fleetctl {__version__}\n")
        if ASKED.verbosity > 0:
            from fleetctl.gateway.native import said

            sys.stdout.write(f"gateway: {said()}\n")
        return
    document({"version": __version__, "python": platform.python_version(), "system": platform.system()}, output)
