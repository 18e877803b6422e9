"""Numbers out of what sources answer."""

import json
from collections.abc import Sequence
from math import isfinite

from fleetctl.scrape.outside.unread import Unread


def number(value: object, what: str) -> float:
    """A finite amount that is not negative, written as a number or as text. Raises `Unread`."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Unread(f"{what} is no number")
    try:
        found = float(value)
    except (ValueError, OverflowError):
        raise Unread(f"{what} is no number") from None
    if not isfinite(found):
        raise Unread(f"{what} is {found}")
    if found < 0:
        raise Unread(f"{what} is {found:g}, which is no amount")
    return found


def document(body: bytes) -> object:
    """The JSON document. Raises `Unread`."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Unread("the answer is no JSON") from None


def at(value: object, steps: Sequence[str | int]) -> object:
    """What stands in a document at the end of a path. Raises `Unread`."""
    for step in steps:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and str(step).isascii() and str(step).isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise Unread(f"there is no {step!r} in the answer")
    return value
