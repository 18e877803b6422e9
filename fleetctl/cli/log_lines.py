"""A log that is followed, for programs: a record for each line."""

from collections.abc import Callable

from fleetctl.cli.output import line


def records(**of: str) -> Callable[[str], object]:
    """Takes text as it comes and prints a record of each whole line, `{…of, "line"}`; the rest waits for its end."""
    held, first = "", True

    def write(text: str) -> None:
        nonlocal held, first
        *whole, held = (held + text).split("\n")
        for one in whole:
            line({**of, "line": one}, first=first)
            first = False

    return write
