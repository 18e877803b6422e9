"""`fleetctl diff` (Look): What the files would change, field by field.

Example: fleetctl diff -f fleet/
"""

from typing import Annotated

import typer

from fleetctl.cli.declaring import Files, read_declaration
from fleetctl.cli.output import Format, Output
from fleetctl.cli.plan import CHANGED, DetailedExitcode
from fleetctl.cli.planning import all_differences, standing_of, write_differences

app = typer.Typer(add_completion=False)


@app.command()
def diff(
    services: Annotated[list[str] | None, typer.Argument(help="Services to compare; none: all in the files")] = None,
    file: Files = None,
    detailed_exitcode: DetailedExitcode = False,
    output: Output = Format.TABLE,
) -> int:
    """Show what `fleetctl apply` would change, field by field. Values of env and of secrets are never shown.

    Reads the store only; what it costs is told by `fleetctl plan`.
    """
    declared = read_declaration(file, services)
    found = all_differences(declared, standing_of(declared))
    write_differences(found, output)
    return CHANGED if detailed_exitcode and found else 0
