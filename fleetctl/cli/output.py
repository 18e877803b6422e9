"""Results on stdout, in the form the user asked for; everything else goes to stderr.

A command makes one of four things: text, a document (as JSON or YAML), or names. The other forms of `-o` are written
from those here: `wide` is the whole table, `csv` and `jsonpath=` are made of the document.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

from fleetctl.cli.asked import ASKED
from fleetctl.cli.tables import Column as Column
from fleetctl.cli.tables import chosen, folded, in_order, known
from fleetctl.cli.tables import table as table
from fleetctl.errors import UsageError
from fleetctl.model.records import dataclass

Row = TypeVar("Row")

API_VERSION = "fleetctl.dev/v1alpha1"


class Format(StrEnum):
    """What a command makes; `fleetctl help output` has all that `-o` takes."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


if TYPE_CHECKING:
    import typer

    Output = Annotated[Format, typer.Option("--output", "-o")]
    """The option every command has."""


def __getattr__(name: str) -> object:
    """`Output`, once a command declares its options: who only prints does without typer."""
    if name != "Output":
        raise AttributeError(name)
    import typer

    helped = "table, wide, json, yaml, name, csv or jsonpath=TEMPLATE; see: fleetctl help output"
    made = Annotated[Format, typer.Option("--output", "-o", help=helped, metavar="FORM", show_default=False)]
    globals()[name] = made
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Generic[Row]):
    """A list as it stands: what `show` prints, and `watching.follow` again and again."""

    rows: Sequence[Row]
    columns: Sequence[Column[Row]]
    name: Callable[[Row], str]
    """`service/chat`: as other commands take it, and the same each time it is looked at."""
    empty: str = ""
    """What people are told when there is nothing."""
    notes: Sequence[str] = ()
    """What people are told below the table."""
    line: Callable[[Row], str] | None = None
    """Of a list that only grows, such as events, whose names are of what they are about: a row as people read it when
    it comes below the last. None: rows come, change and go, each under its name."""


def emit(
    rows: Sequence[Row],
    columns: Sequence[Column[Row]],
    form: Format,
    *,
    name: Callable[[Row], str],
    empty: str = "",
) -> None:
    """Print a list of records: a table for people, or an envelope `{apiVersion, kind: List, items}` for programs.

    `empty` is what people are told (on stderr) when there is nothing. Raises `UsageError` for `--columns` and
    `--sort-by` that name nothing.
    """
    show(Listing(rows=rows, columns=columns, name=name, empty=empty), form)


def show(listing: Listing[Row], form: Format) -> None:
    """Print a list, in the form and order asked for, with these columns."""
    ASKED.listed = True
    rows = in_order(listing.rows, listing.columns, ASKED.sort_by) if ASKED.sort_by else listing.rows
    if form is Format.NAME or (form is Format.TABLE and ASKED.quiet):
        sys.stdout.writelines(f"{listing.name(row)}\n" for row in rows)
    elif form is Format.TABLE:
        columns = chosen(listing.columns, ASKED.columns, wide=ASKED.form == "wide")
        if rows:
            asked_for_all = ASKED.form == "wide" or ASKED.columns
            sys.stdout.write(table(rows, columns, width=None if asked_for_all else _width()))
        elif listing.empty:
            say(listing.empty)
        for note in listing.notes:
            say(note)
    else:
        items(rows, form)


def items(found: Sequence[object], form: Format) -> None:
    """Print records as one list for programs, in the envelope that all lists have."""
    document({"apiVersion": API_VERSION, "kind": "List", "items": list(found)}, form)


def document(body: object, form: Format) -> None:
    """Print one document as JSON or YAML, or what `-o csv` and `-o jsonpath=` make of it; dataclasses become mappings.

    Raises `UsageError` for a template, or `--columns`, that name what it has not.
    """
    import msgspec

    if ASKED.form == "csv":
        _write_csv(_records(_plain(body)), header=True)
    elif ASKED.form == "jsonpath":
        _write_path(_plain(body))
    elif ASKED.columns:
        raise UsageError(
            f"--columns is for tables and csv, and this is {form}", hint="for parts of a document: -o jsonpath="
        )
    elif form is Format.YAML:
        from fleetctl.spec.rendering import to_yaml

        sys.stdout.write(to_yaml(msgspec.to_builtins(body)))
    else:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(body), indent=2).decode() + "\n")


def line(body: object, *, first: bool = False) -> None:
    """Print one record of many as one line of JSON, at once; or as a row of CSV, with a header before the `first`."""
    import msgspec

    if ASKED.form == "csv":
        _write_csv(_records(_plain(body)), header=first)
    elif ASKED.form == "jsonpath":
        _write_path(_plain(body))
    else:
        sys.stdout.write(msgspec.json.encode(body).decode() + "\n")
    sys.stdout.flush()


def write(text: str) -> None:
    """Print a text for people; a terminal gets its long lines folded between words."""
    sys.stdout.write(folded(text, _width()))


def say(text: str) -> None:
    """Tell people something, beside the results. Whoever asked for quiet is not told."""
    if not ASKED.quiet:
        tell(text)


def tell(text: str) -> None:
    """Tell people what they must know, quiet or not: a question, an error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _plain(body: object) -> object:
    """What a reader of the JSON has: mappings, lists and scalars, no tuples."""
    import msgspec

    return msgspec.json.decode(msgspec.json.encode(body))


def _write_path(body: object) -> None:
    from fleetctl.cli.jsonpath import rendered

    text = rendered(ASKED.template, body)
    sys.stdout.write(text if text.endswith("\n") or not text else text + "\n")


def _records(body: object) -> list[Mapping[str, Any]]:
    """The rows of a document: its items, or itself."""
    items = body.get("items") if isinstance(body, dict) else body
    found = items if isinstance(items, list) else [body]
    return [one if isinstance(one, dict) else {"value": one} for one in found]


def _write_csv(records: Sequence[Mapping[str, Any]], *, header: bool) -> None:
    import csv

    fields: list[str] = list(dict.fromkeys(field for one in records for field in one))
    if ASKED.columns and records:
        fields = [known(name, fields, what="field") for name in ASKED.columns]
    if not fields:
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if header:
        writer.writerow(fields)
    writer.writerows([_cell(one.get(field)) for field in fields] for one in records)


def _cell(value: object) -> object:
    """Nothing for null, JSON for what has parts."""
    if isinstance(value, dict | list | bool):
        import json

        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return "" if value is None else value


PICTURE_LEAST = 60
PICTURE_MOST = 140
"""Columns of a picture: narrower it shows nothing, wider it is not taken in at one look."""


def picture_width() -> int:
    """Columns for a chart: the terminal's, or 100 where there is none."""
    return max(PICTURE_LEAST, min(PICTURE_MOST, _columns(100)))


def coloured() -> bool:
    """Whether what goes to stdout may have colours."""
    return ASKED.coloured(sys.stdout)


def _width() -> int | None:
    return _columns(80) if sys.stdout.isatty() else None


def _columns(otherwise: int) -> int:
    """Of the terminal. Not `shutil`, whose import takes as long as a look at the store."""
    if wide := int(os.environ.get("COLUMNS", 0)):
        return wide
    try:
        return os.get_terminal_size().columns or otherwise
    except OSError:
        return otherwise
