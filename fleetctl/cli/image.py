"""`fleetctl image` (Files): The script that makes a machine, or an image of one, ready for a fleet.

Example: fleetctl image script > install.sh
"""

import sys
from typing import Annotated

import typer

from fleetctl.cli.output import Format, Output, document

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Machine images with all that a fleet's nodes need.")


@app.callback()
def group() -> None:
    """Machine images with all that a fleet's nodes need."""


@app.command()
def script(
    image: Annotated[
        list[str] | None, typer.Option("--image", help="A container image to hold; may be repeated")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Print the script that prepares a machine: run it as root on one, make an image of that, and name the image in
    the provider's settings. It is the script that a rented machine runs at its first boot, too."""
    from fleetctl.node.launches import first_boot

    text = first_boot(tuple(image or ()))
    if output in (Format.JSON, Format.YAML):
        document({"script": text}, output)
    else:
        sys.stdout.write(text)
