"""Windows over what policies and signals measure, kept by name in the Memory; and the share that a Replica has."""

from dataclasses import replace
from math import ceil

from fleetctl.decide.windows import average, lets_go_at, push
from fleetctl.model.decisions import Memory, Series

SERIES_MAX = 80
"""Of one Service: as many signals as a file may have, and those of the policies."""
_EPSILON = 1e-9
"""Averages of exact values must not round up to one Replica more."""


def measured(memory: Memory, name: str, value: float, *, now: float, span_s: float, keep_s: float) -> Memory:
    """The Memory with `value`, the mean over the last `span_s` seconds, in the series of that name."""
    found = next((one for one in memory.series if one.name == name), Series(name=name))
    since = now - span_s
    if found.values and found.values[-1][0] > since:
        since = now
    grown = replace(found, values=push(found.values, since, value, keep_s=keep_s + span_s))
    others = tuple(one for one in memory.series if one.name != name)
    return replace(memory, series=(*others, grown)[-SERIES_MAX:])


def mean(memory: Memory, name: str, *, now: float, window_s: float) -> float | None:
    """Over the last `window_s` seconds, or what there is of them; None: nothing was measured."""
    found = next((one for one in memory.series if one.name == name), None)
    return average(found.values, now, window_s) if found is not None else None


def most_of(memory: Memory, name: str, *, now: float, window_s: float) -> float:
    """The largest value that held at any time of the last `window_s` seconds; 0: nothing was measured."""
    found = next((one for one in memory.series if one.name == name), None)
    most = 0.0
    for at, value in reversed(found.values if found is not None else ()):
        most = max(most, value)
        if at <= now - window_s:
            break
    return most


def eases_at(memory: Memory, name: str, value: float, *, window_s: float) -> float | None:
    """When the largest of what is above `value` leaves the last `window_s` seconds; None: nothing is."""
    found = next((one for one in memory.series if one.name == name), None)
    values = found.values if found is not None else ()
    most = max((one for _, one in values), default=value)
    return lets_go_at(values, window_s, lambda one: one >= most) if most > value else None


def shared(amount: float, each: float, *, current: int, tolerance: float) -> int:
    """So many Replicas that each has at most `each` of `amount`; `current` where that is within the tolerance.

    The count is a total. What is on its way is part of `current`, so that the same amount is not ordered twice.
    """
    if current and abs(amount / (current * each) - 1.0) <= tolerance:
        return current
    return ceil(amount / each - _EPSILON)
