"""Tables for people: columns that give way to a narrow terminal, and cards where even that is not enough."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from fleetctl.errors import UsageError
from fleetctl.model.records import dataclass

Row = TypeVar("Row")

CARDS_BELOW = 60
"""Columns of a terminal in which a row is not read as one any more."""
ROOM_LEAST = 24
"""Columns in which a sentence is still read as one; the last column of a table has no fewer when it is folded."""
_NUMBER = r"-?\d+(?:\.\d+)?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[Row]):
    """One column of a table. The highest `drop` goes first when the terminal is too narrow; 0 never goes."""

    header: str
    cell: Callable[[Row], str]
    right: bool = False
    drop: int = 0
    wide: bool = False
    """Shown with `-o wide` and by its name only."""


def table(rows: Sequence[Row], columns: Sequence[Column[Row]], *, width: int | None) -> str:
    """Aligned columns, two spaces apart; cards in less than 60 columns. `width=None`: as wide as it comes.

    No cell is ever cut, and no word of one: what is not to be seen is left out whole. Sentences of the last column go
    on below themselves where there is room for them.
    """
    cells = [[column.cell(row) for column in columns] for row in rows]
    widths = [max(len(column.header), *(len(line[index]) for line in cells)) for index, column in enumerate(columns)]
    shown = list(range(len(columns)))

    def too_wide() -> bool:
        return width is not None and sum(widths[index] + 2 for index in shown) - 2 > width

    while too_wide():
        least = max(shown, key=lambda index: columns[index].drop)
        if columns[least].drop == 0:
            break
        shown.remove(least)
    if too_wide() and width is not None and width < CARDS_BELOW:
        return _cards([column.header for column in columns], cells)

    begins = sum(widths[index] + 2 for index in shown[:-1])
    folds = width is not None and not columns[shown[-1]].right and width - begins >= ROOM_LEAST

    def render(texts: Sequence[str]) -> str:
        parts = [
            texts[index].rjust(widths[index]) if columns[index].right else texts[index].ljust(widths[index])
            for index in shown
        ]
        line = "  ".join(parts).rstrip() + "\n"
        return _folded_line(line, width, begins) if folds and width is not None else line

    return render([column.header for column in columns]) + "".join(render(texts) for texts in cells)


def folded(text: str, width: int | None) -> str:
    """The lines of a text in so many columns: what goes on does so below the last column of its line. No word is cut.

    Columns are two spaces apart. `width=None`: as wide as it comes.
    """
    if width is None:
        return text
    return "".join(_folded_line(line, width, _last_column(line, width)) for line in text.splitlines(keepends=True))


def _last_column(line: str, width: int) -> int:
    """Where the last column of the line begins that has room for a sentence."""
    return max((gap.end() for gap in re.finditer(r"^ +| {2,}", line) if width - gap.end() >= ROOM_LEAST), default=0)


def _folded_line(line: str, width: int, begins: int) -> str:
    if len(line.rstrip("\n")) <= width:
        return line
    made, now = [], line[:begins]
    empty = True
    for word in line[begins:].split():
        if not empty and len(now) + 1 + len(word) > width:
            made.append(now)
            now, empty = " " * begins, True
        now += word if empty else f" {word}"
        empty = False
    return "\n".join([*made, now]) + "\n" * line.endswith("\n")


def _cards(headers: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """A block for each row: what it is called, and below it everything else."""
    wide = max(map(len, headers[1:]), default=0)
    blocks = []
    for texts in cells:
        lines = [f"  {header:<{wide}}  {text}".rstrip() for header, text in zip(headers[1:], texts[1:], strict=True)]
        blocks.append("\n".join([texts[0], *lines]) + "\n")
    return "\n".join(blocks)


def chosen(columns: Sequence[Column[Row]], names: Sequence[str], *, wide: bool) -> list[Column[Row]]:
    """The columns of these names, in this order; without names all, with those of `wide` or without.

    Raises `UsageError` with the nearest name.
    """
    if not names:
        return [column for column in columns if wide or not column.wide]
    by_name = {column.header.lower(): column for column in columns}
    return [by_name[known(name, by_name, what="column")] for name in names]


def known(name: str, names: Mapping[str, object] | Sequence[str], *, what: str) -> str:
    """The one of these names that `name` is, whatever its case. Raises `UsageError` with the nearest."""
    for one in names:
        if one.lower() == name.lower():
            return one
    from fleetctl.spec.suggestions import nearest

    near = nearest(name, names)
    hint = f"did you mean {near!r}?" if near else f"there are {', '.join(dict.fromkeys(names))}"
    raise UsageError(f"there is no {what} {name!r}", hint=hint)


def in_order(rows: Sequence[Row], columns: Sequence[Column[Row]], by: str) -> list[Row]:
    """Sorted by a field of the record, or by a column as it is shown; `-NAME` the other way round. None comes last.

    Raises `UsageError` with the nearest name.
    """
    if not rows:
        return []
    name = by.removeprefix("-")
    fields = _fields(rows[0])
    plain = name.lower().replace("-", "_")
    if field := next((one for one in fields if plain in (one, one.removesuffix("_s"))), None):
        values = [getattr(row, field) for row in rows]
    else:
        by_name = {column.header.lower(): column for column in columns}
        cell = by_name[known(name, [*by_name, *fields], what="column or field")].cell
        values = [cell(row) for row in rows]
    pairs = sorted(
        ((value, row) for value, row in zip(values, rows, strict=True) if value is not None),
        key=lambda pair: _key(pair[0]),
        reverse=by.startswith("-"),
    )
    return [row for _, row in pairs] + [row for value, row in zip(values, rows, strict=True) if value is None]


def _fields(row: object) -> list[str]:
    return list(getattr(row, "__dataclass_fields__", {}))


def _key(value: Any) -> tuple[int, float, str]:
    """Numbers by size, texts that begin with a figure (`$1.80`, `3/4`) by it, and the rest by their letters."""
    if isinstance(value, int | float):
        return (0, float(value), "")
    text = str(value)
    found = re.match(_NUMBER, text.lstrip("$").replace(",", ""))
    return (0, float(found[0]), text) if found else (1, 0.0, text.lower())
