"""Labels of the user's own, and rows chosen by them: `-l team=search,tier!=test`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from fleetctl.cli.output import Column, Listing
from fleetctl.errors import UsageError

Row = TypeVar("Row")

HINT = "fleetctl ps -l team=search; or team!=search, team (any value), '!team' (without it), several by commas"


def labels_column(labels: Callable[[Row], Mapping[str, str]]) -> Column[Row]:
    """`team=search,tier=prod`, of a wide table."""
    return Column(
        header="LABELS",
        cell=lambda row: ",".join(f"{name}={value}" for name, value in sorted(labels(row).items())) or "-",
        wide=True,
    )


def chosen_by(labels: str | None, listing: Listing[Any]) -> Listing[Any]:
    """The rows that every one of these fits. Raises `UsageError` for what chooses nothing."""
    if labels is None:
        return listing
    wanted = [_wanted(one.strip()) for one in labels.split(",")]
    rows = [row for row in listing.rows if all(fits(row.labels) for fits in wanted)]
    return replace(listing, rows=rows, empty=f"none has the labels {labels}; see: fleetctl ps -o wide")


def _wanted(text: str) -> Callable[[Mapping[str, str]], bool]:
    name, sign, value = _parts(text)
    if not name or any(mark in name + value for mark in "=! ()"):
        raise UsageError(f"{text!r} chooses nothing by label", hint=HINT)
    match sign:
        case "!=":
            return lambda labels: labels.get(name) != value
        case "=":
            return lambda labels: labels.get(name) == value
        case "!":
            return lambda labels: name not in labels
        case _:
            return lambda labels: name in labels


def _parts(text: str) -> tuple[str, str, str]:
    """Name, sign and value; the sign of one without a value is `!` or empty."""
    for sign in ("!=", "==", "="):
        name, found, value = text.partition(sign)
        if found:
            return name.strip(), "!=" if sign == "!=" else "=", value.strip()
    return (text[1:].strip(), "!", "") if text.startswith("!") else (text, "", "")
