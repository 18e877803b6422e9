"""Results on stdout, in the form the user asked for; everything else goes to stderr."""

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Generic, TypeVar

import typer

Row = TypeVar("Row")

API_VERSION = "fleetctl.dev/v1alpha1"


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


Output = Annotated[Format, typer.Option("--output", "-o", envvar="FLEETCTL_OUTPUT", help="table, json, yaml or name")]
"""The option every command has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[Row]):
    """One column of a table. The highest `drop` goes first when the terminal is too narrow; 0 never goes."""

    header: str
    cell: Callable[[Row], str]
    right: bool = False
    drop: int = 0


def emit(
    rows: Sequence[Row],
    columns: Sequence[Column[Row]],
    form: Format,
    *,
    name: Callable[[Row], str],
    empty: str = "",
) -> None:
    """Print a list of records: a table for people, or an envelope `{apiVersion, kind: List, items}` for programs.

    `empty` is what people are told (on stderr) when there is nothing.
    """
    match form:
        case Format.TABLE:
            if rows:
                sys.stdout.write(table(rows, columns, width=_width()))
            elif empty:
                say(empty)
        case Format.NAME:
            sys.stdout.writelines(f"{name(row)}\n" for row in rows)
        case Format.JSON | Format.YAML:
            document({"apiVersion": API_VERSION, "kind": "List", "items": list(rows)}, form)


def document(body: object, form: Format) -> None:
    """Print one document as JSON or YAML; dataclasses become mappings."""
    import msgspec

    if form is Format.YAML:
        from fleetctl.spec.rendering import to_yaml

        sys.stdout.write(to_yaml(msgspec.to_builtins(body)))
        return
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(body), indent=2).decode() + "\n")


def line(body: object) -> None:
    """Print one record as one line of JSON, at once."""
    import msgspec

    sys.stdout.write(msgspec.json.encode(body).decode() + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Tell people something, beside the results."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def table(rows: Sequence[Row], columns: Sequence[Column[Row]], *, width: int | None) -> str:
    """Aligned columns, two spaces apart. `width=None`: as wide as it comes. No cell is ever cut."""
    cells = [[column.cell(row) for column in columns] for row in rows]
    widths = [max(len(column.header), *(len(line_[index]) for line_ in cells)) for index, column in enumerate(columns)]
    shown = list(range(len(columns)))
    while width is not None and sum(widths[index] + 2 for index in shown) - 2 > width:
        least = max(shown, key=lambda index: columns[index].drop)
        if columns[least].drop == 0:
            break
        shown.remove(least)

    def render(texts: Sequence[str]) -> str:
        parts = [
            texts[index].rjust(widths[index]) if columns[index].right else texts[index].ljust(widths[index])
            for index in shown
        ]
        return "  ".join(parts).rstrip() + "\n"

    return render([column.header for column in columns]) + "".join(render(texts) for texts in cells)


PICTURE_LEAST = 60
PICTURE_MOST = 140
"""Columns of a picture: narrower it shows nothing, wider it is not taken in at one look."""


def picture_width() -> int:
    """Columns for a chart: the terminal's, or 100 where there is none."""
    wide = int(os.environ.get("COLUMNS", 0)) or shutil.get_terminal_size((100, 24)).columns
    return max(PICTURE_LEAST, min(PICTURE_MOST, wide))


def coloured() -> bool:
    """Whether stdout is a terminal whose user has not said NO_COLOR (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _width() -> int | None:
    if not sys.stdout.isatty():
        return None
    return int(os.environ.get("COLUMNS", 0)) or shutil.get_terminal_size().columns
