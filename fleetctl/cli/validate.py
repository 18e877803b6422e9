"""`fleetctl validate` (Files): Check fleet files without touching anything.

Example: fleetctl validate fleet/
"""

from pathlib import Path
from typing import Annotated

import typer

from fleetctl.cli.output import Column, Format, Output, emit, say
from fleetctl.cli.session import spec_paths
from fleetctl.model.services import Service
from fleetctl.wiring import abilities_of, provider_names

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
    """Check fleet files: every problem at once, each with its file, line and mend. Exit code 2 if there is any.

    What is allowed and hardly meant is warned of, on stderr and with exit code 0.
    """
    from fleetctl.spec.load import load
    from fleetctl.spec.problems import PROBLEMS_SHOWN_MAX

    paths = spec_paths([*(files or ()), *(file or ())])
    fleet = load(paths, providers=provider_names(), abilities=abilities_of, warnings=True)
    emit(
        fleet.services,
        SERVICES,
        output,
        name=lambda row: f"service/{row.name}",
        empty="valid, and no service is declared",
    )
    for warning in fleet.warnings[:PROBLEMS_SHOWN_MAX]:
        say(f"warning: {warning} - {warning.fix}")
    if len(fleet.warnings) > PROBLEMS_SHOWN_MAX:
        say(f"… and {len(fleet.warnings) - PROBLEMS_SHOWN_MAX} more warnings")
