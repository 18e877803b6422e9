"""`fleetctl import` (Files): A service of SkyServe, dstack, Knative, KEDA or an HPA as a file of ours.

Example: fleetctl import sky task.yaml
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fleetctl.cli.changing import DryRun, told_dry
from fleetctl.cli.output import Format, Output, document, say
from fleetctl.errors import Conflict, NotFound, UsageError
from fleetctl.views.figures import several

app = typer.Typer(add_completion=False)

FILE_BYTES_MAX = 4 * 1024 * 1024
"""A service's file has some kilobytes; what is larger was given by mistake."""


@app.command("import")
def import_file(
    source: Annotated[str, typer.Argument(help="sky, dstack, knative, keda or hpa")],
    file: Annotated[Path, typer.Argument(help="Their file; - reads it from the standard input")],
    to: Annotated[
        Path | None, typer.Option("--to", help="A folder to write NAME.yaml into, instead of printing it")
    ] = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Print another tool's service as a document of ours. Each field is carried over, or named with why it is not."""
    from fleetctl.spec.imports import convert, known_source

    made = convert(known_source(source), _text(file), str(file))
    name = str(made.document["name"])
    text = made.text(f"{source} {file.name}")
    path = None if to is None else to / f"{name}.yaml"
    if path is not None:
        if path.exists():
            raise Conflict(
                f"{path} exists already; nothing was written", hint="move it away, or print it: leave out --to"
            )
        try:
            if not dry_run:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror}", hint="give another folder") from error
    if output in (Format.JSON, Format.YAML):
        body = {
            "document": made.document,
            "left": [{"field": field, "why": why} for field, why in made.left],
            "to_check": made.notes,
            "file": None if path is None else str(path),
        }
        document(body, output)
    elif output is Format.NAME:
        sys.stdout.write(f"service/{name}\n")
    elif path is None:
        sys.stdout.write(text)
    else:
        sys.stdout.write(f"{path}\n")
    for note in made.notes:
        say(f"to check: {note}")
    if made.left:
        are = "is" if len(made.left) == 1 else "are"
        say(f"{several(len(made.left), 'field')} {are} not carried over; each is named above the document with why")
    if dry_run:
        told_dry()
    elif path is not None:
        say(f"next: fleetctl validate {path}")


def _text(file: Path) -> str:
    try:
        if str(file) == "-":
            return sys.stdin.read(FILE_BYTES_MAX)
        with file.open(encoding="utf-8") as opened:
            return opened.read(FILE_BYTES_MAX)
    except OSError as error:
        raise NotFound(f"{file}: cannot be read: {error.strerror}", hint="give the file to import") from error
    except UnicodeDecodeError:
        raise UsageError(f"{file}: this is no text", hint="give a YAML file") from None
