"""`fleetctl validate` (Files): Check fleet files without touching anything."""

from pathlib import Path
from typing import Annotated

import typer

from fleetctl.cli.output import Column, Format, Output, emit
from fleetctl.cli.session import spec_paths
from fleetctl.model.services import Service
from fleetctl.wiring import provider_names

app = typer.Typer(add_completion=False)

SERVICES: tuple[Column[Service], ...] = (
    Column(header="SERVICE", cell=lambda row: row.name),
    Column(header="ENGINE", cell=lambda row: row.engine),
    Column(header="GPU", cell=lambda row: ", ".join(map(str, row.gpu))),
    Column(header="CONC", cell=lambda row: str(row.concurrency), right=True),
    Column(header="MIN-MAX", cell=lambda row: f"{row.scaling.min}-{row.scaling.max}"),
    Column(header="POLICY", cell=lambda row: row.scaling.preset),
    Column(header="POOL", cell=lambda row: row.pool_name),
)


@app.command()
def validate(
    files: Annotated[list[Path] | None, typer.Argument(help="Files or folders; default fleet/")] = None,
    file: Annotated[list[Path] | None, typer.Option("--file", "-f", help="The same")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Check fleet files: every problem at once, each with its file, line and mend. Exit code 2 if there is any."""
    from fleetctl.spec.load import load

    fleet = load(spec_paths([*(files or ()), *(file or ())]), providers=provider_names())
    emit(
        fleet.services,
        SERVICES,
        output,
        name=lambda row: f"service/{row.name}",
        empty="valid, and no service is declared",
    )
