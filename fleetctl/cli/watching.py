"""A list again and again: drawn in place on a terminal, told as changes to everything else."""

import contextlib
import io
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from fleetctl.cli.asked import ASKED
from fleetctl.cli.output import Format, Listing, document, line, show
from fleetctl.cli.streams import pause

Row = TypeVar("Row")

LEAST_S = 0.2
"""Between two looks: nobody reads faster, and each is a read of the whole store."""
PASSING = frozenset({"age_s", "decided_at", "oldest_wait_s"})
"""Fields that change because time passes: alone they are no news."""
HOME, REST_OF_LINE, REST = "\x1b[H", "\x1b[K", "\x1b[J"
"""To the upper left corner; clear what is to the right; clear what is below. Nothing is cleared before it is drawn
over, so nothing flickers."""


def follow(
    look: Callable[[], Listing[Row]],
    form: Format,
    interval_s: float,
    *,
    draw: Callable[[], None] | None = None,
    over: Callable[[], bool] = lambda: False,
) -> None:
    """Look until Ctrl-C, until the reader is gone, or until what was looked at last is `over`.

    On a terminal a table is drawn over the last one, or what `draw` prints instead; a list that only grows goes on
    below. Otherwise a line tells each row that changed: `{"type": "ADDED|MODIFIED|DELETED", "object": {…}}` as JSON,
    also where a table was asked for; names alone with `-o name`, and rows or what the template makes of such a line
    with `-o csv` and `-o jsonpath=`.
    """
    wait_s = max(LEAST_S, interval_s)
    on_terminal = form is Format.TABLE and not ASKED.quiet and sys.stdout.isatty()
    before: dict[str, dict[str, Any]] = {}
    first = True
    while True:
        listing = look()
        if on_terminal and listing.line is None:
            _redraw(draw or partial(show, listing, Format.TABLE), first=first)
            first = False
        elif listing.line is None:
            now = _records(listing)
            for kind, name, record in changes(before, now):
                _tell(kind, name, record, form, first=first)
                first = False
            before = now
        else:
            new = _grown(listing, before)
            for row, record in new:
                if on_terminal:
                    sys.stdout.write(f"{listing.line(row)}\n")
                else:
                    _tell("ADDED", listing.name(row), record, form, first=first)
                first = False
        if over():
            sys.stdout.flush()
            return
        pause(wait_s)


def _redraw(draw: Callable[[], None], *, first: bool) -> None:
    out, notes = io.StringIO(), io.StringIO()
    terminal = sys.stdout
    with contextlib.redirect_stdout(_OnTerminal(out)), contextlib.redirect_stderr(notes):
        draw()
    lines = (out.getvalue() + notes.getvalue()).splitlines()[: _lines() - 1]
    begun = HOME + REST if first else ""
    terminal.write(begun + HOME + "".join(f"{one}{REST_OF_LINE}\n" for one in lines) + REST)


def _lines() -> int:
    try:
        return os.get_terminal_size().lines
    except OSError:
        return 24


class _OnTerminal(io.TextIOBase):
    """Gathers what goes to a terminal, and says that it is one: the table keeps to its width."""

    def __init__(self, gathered: io.StringIO) -> None:
        self._gathered = gathered

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return self._gathered.write(text)


def _tell(kind: str, name: str, record: dict[str, Any], form: Format, *, first: bool) -> None:
    if form is Format.NAME or (ASKED.quiet and form is Format.TABLE):
        sys.stdout.write(f"{name}\n")
    elif form is Format.YAML:
        sys.stdout.write("---\n")
        document({"type": kind, "object": record}, form)
    else:
        line({"type": kind, **record} if ASKED.form == "csv" else {"type": kind, "object": record}, first=first)


def changes(before: dict[str, dict[str, Any]], now: dict[str, dict[str, Any]]) -> list[tuple[str, str, dict[str, Any]]]:
    """(ADDED, MODIFIED or DELETED, name, record) of each row with news, the gone last."""
    found = [
        ("MODIFIED" if name in before else "ADDED", name, record)
        for name, record in now.items()
        if _news(before.get(name)) != _news(record)
    ]
    return found + [("DELETED", name, record) for name, record in before.items() if name not in now]


def _news(record: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if record is None else {field: value for field, value in record.items() if field not in PASSING}


def _grown(listing: Listing[Row], before: dict[str, dict[str, Any]]) -> list[tuple[Row, dict[str, Any]]]:
    """The rows that were not looked at before, with their records; afterwards `before` holds those of this look."""
    import msgspec

    ASKED.listed = True
    found = {repr(row): row for row in listing.rows}
    new = [(row, msgspec.to_builtins(row)) for key, row in found.items() if key not in before]
    before.clear()
    before.update({key: {} for key in found})
    return new


def _records(listing: Listing[Row]) -> dict[str, dict[str, Any]]:
    import msgspec

    ASKED.listed = True
    return {listing.name(row): msgspec.to_builtins(row) for row in listing.rows}
