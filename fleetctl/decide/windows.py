"""Histories that policies remember, as step functions: each entry holds until the next one."""

from collections.abc import Callable, Sequence
from typing import TypeVar

_Value = TypeVar("_Value", bound=float)

HISTORY_LIMIT = 600
"""Entries kept of one history: 20 minutes at a change on every tick of 2 s, far more when the load is calm."""


def push(
    history: tuple[tuple[float, _Value], ...], now: float, value: _Value, *, keep_s: float
) -> tuple[tuple[float, _Value], ...]:
    """The history with `value` from `now` on. Entries that ended more than `keep_s` ago are dropped.

    A value equal to the last adds nothing; a time before the last entry (a clock set back) restarts the history.
    """
    if history and now < history[-1][0]:
        return ((now, value),)
    grown = history if history and history[-1][1] == value else (*history, (now, value))
    first = 0
    while first + 1 < len(grown) and grown[first + 1][0] <= now - keep_s:
        first += 1
    first = max(first, len(grown) - HISTORY_LIMIT)
    return grown[first:] if first else grown


def average(history: Sequence[tuple[float, float]], now: float, window_s: float) -> float | None:
    """Time-weighted mean over the last `window_s` seconds, or over what there is of them. None: no entry.

    A history shorter than the window is averaged over its own length (as Knative's autoscaler does), so that a new
    Service is not held back by a past it does not have.
    """
    if not history:
        return None
    start = max(now - window_s, history[0][0])
    if now <= start:
        return history[-1][1]
    area = 0.0
    until = now
    for at, value in reversed(history):
        begin = max(at, start)
        if until > begin:
            area += value * (until - begin)
            until = begin
        if at <= start:
            break
    return area / (now - start)


def extreme(
    history: Sequence[tuple[float, int]], now: float, window_s: float, choose: Callable[..., int]
) -> int | None:
    """The largest (`choose=max`) or smallest (`min`) value that held at any time of the last `window_s` seconds."""
    values: list[int] = []
    for at, value in reversed(history):
        values.append(value)
        if at <= now - window_s:
            break
    return choose(values) if values else None


def lets_go_at(
    history: Sequence[tuple[float, _Value]], window_s: float, holds: Callable[[_Value], bool]
) -> float | None:
    """When the last value that `holds` leaves a window of so many seconds; None: the newest holds, or none does."""
    ended: float | None = None
    for at, value in reversed(history):
        if holds(value):
            return None if ended is None else ended + window_s
        ended = at
    return None


def total(history: Sequence[tuple[float, int]], now: float, window_s: float, *, sign: int) -> int:
    """Sum of the moves of one direction (`sign` +1 or −1) in the last `window_s` seconds, as a positive number."""
    return sum(abs(value) for at, value in history if at > now - window_s and value * sign > 0)
