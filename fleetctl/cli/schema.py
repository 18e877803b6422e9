"""`fleetctl schema` (Files): Print the JSON Schema of the files.

Example: fleetctl schema > fleet.schema.json
"""

from typing import Annotated

import typer

from fleetctl.cli.output import Format, Output, document

app = typer.Typer(add_completion=False)


@app.command()
def schema(
    kind: Annotated[
        str | None, typer.Argument(help="service, pool, fleet, tenant, preset or gateway; none: any of a fleet's")
    ] = None,
    output: Output = Format.JSON,
) -> None:
    """Print the JSON Schema (2020-12) of fleet files."""
    from fleetctl.spec.schema import json_schema

    document(json_schema(kind), Format.YAML if output is Format.YAML else Format.JSON)
