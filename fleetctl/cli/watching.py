"""A list again and again: drawn in place on a terminal, told as changes to everything else."""

import contextlib
import io
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

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


def follow(look: Callable[[], Listing[Row]], form: Format, interval_s: float) -> NoReturn:
    """Look until Ctrl-C, or until the reader is gone.

    On a terminal a table is drawn over the last one. Otherwise a line tells each row that changed:
    `{"type": "ADDED|MODIFIED|DELETED", "object": {…}}` as JSON, also where a table was asked for; names alone with
    `-o name`, and rows or what the template makes of such a line with `-o csv` and `-o jsonpath=`.
    """
    wait_s = max(LEAST_S, interval_s)
    if form is Format.TABLE and not ASKED.quiet and sys.stdout.isatty():
        _redraw(look, wait_s)
    else:
        _tell(look, form, wait_s)


def _redraw(look: Callable[[], Listing[Row]], wait_s: float) -> NoReturn:
    sys.stdout.write(HOME + REST)
    while True:
        out, notes = io.StringIO(), io.StringIO()
        terminal = sys.stdout
        with contextlib.redirect_stdout(_OnTerminal(out)), contextlib.redirect_stderr(notes):
            show(look(), Format.TABLE)
        high = _lines()
        lines = (out.getvalue() + notes.getvalue()).splitlines()[: high - 1]
        terminal.write(HOME + "".join(f"{one}{REST_OF_LINE}\n" for one in lines) + REST)
        pause(wait_s)


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


def _tell(look: Callable[[], Listing[Row]], form: Format, wait_s: float) -> NoReturn:
    before: dict[str, dict[str, Any]] = {}
    first = True
    while True:
        now = _records(look())
        for kind, name, record in changes(before, now):
            if form is Format.NAME or (ASKED.quiet and form is Format.TABLE):
                sys.stdout.write(f"{name}\n")
            elif form is Format.YAML:
                sys.stdout.write("---\n")
                document({"type": kind, "object": record}, form)
            else:
                line({"type": kind, **record} if ASKED.form == "csv" else {"type": kind, "object": record}, first=first)
            first = False
        before = now
        pause(wait_s)


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


def _records(listing: Listing[Row]) -> dict[str, dict[str, Any]]:
    import msgspec

    ASKED.listed = True
    return {listing.name(row): msgspec.to_builtins(row) for row in listing.rows}
