"""`fleetctl init` (Start here): Write a commented, working example into fleet/.

Example: fleetctl init
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fleetctl.cli.changing import DryRun, told_dry
from fleetctl.cli.output import Format, Output, items, say
from fleetctl.errors import Conflict

app = typer.Typer(add_completion=False)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to write; the files go into its folder fleet/")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there")] = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Write an example that works at once on this machine, with comments on what to change for real GPUs."""
    from fleetctl.spec.example import example_files

    files = [(folder / path, text) for path, text in example_files()]
    there = [path for path, _ in files if path.exists()]
    if there and not force:
        raise Conflict(f"{there[0]} exists already; nothing was written", hint="use it: fleetctl up, or give --force")
    for path, text in () if dry_run else files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if output in (Format.JSON, Format.YAML):
        items([str(path) for path, _ in files], output)
    else:
        sys.stdout.writelines(f"{path}\n" for path, _ in files)
    if dry_run:
        told_dry()
        return
    say("next: fleetctl up" if folder == Path() else f"next: cd {folder} && fleetctl up")
