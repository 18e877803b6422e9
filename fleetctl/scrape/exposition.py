"""The load of one engine, read out of its exposition without parsing the rest of it.

Format: Prometheus text 0.0.4 (prometheus/docs `content/docs/instrumenting/exposition_formats.md`). Only lines that
begin with a wanted name are looked at; `bench/loop_scrape.py` says how much faster that is than a full parser.
"""

import math
import re
from collections.abc import Sequence

from fleetctl.engines.engine import Load, Metric
from fleetctl.model.signals import Reading

SERIES_MAX = 2048
"""Mentions of one name looked at in one body. An engine has one series for each of a few ranks; without a bound, a body
made of nothing but the name would hold up the event loop."""

STALE_AFTER_S = 60.0
"""A sample that carries its own time is believed this long: the default window over which load is averaged."""

INDENT_MAX = 256
"""Blanks before a name that are still an indented line."""

_SHOWN = 80
"""Bytes of a malformed line that are shown to people."""

# Possessive within words, and every line is matched in one way only: a hostile one costs one pass, never a search among
# ways to read it. Groups are not: before Python 3.11.5 possessive ones match wrongly (python/cpython#106052).
_LABEL = rb'[a-zA-Z_][a-zA-Z0-9_]*+[ \t]*+=[ \t]*+"(?:[^"\\\n]++|\\[^\n])*"'
_LABELS = rb"(?:" + _LABEL + rb"(?:[ \t]*+,[ \t]*+" + _LABEL + rb")*[ \t]*+,?+[ \t]*+)?"
_NUMBER = rb"[+-]?+(?:[0-9]++\.?+[0-9]*+|\.[0-9]++)(?:[eE][+-]?+[0-9]++)?"
_SAMPLE = re.compile(
    rb"(?:[ \t]*+\{[ \t]*+(" + _LABELS + rb")\}[ \t]*+|[ \t]++)"
    rb"(" + _NUMBER + rb")(?:[ \t]++(-?+[0-9]++))?[ \t]*+\r?+\n"
)
"""What follows a name: labels, value, timestamp."""
_PAIR = re.compile(rb'([a-zA-Z_][a-zA-Z0-9_]*+)[ \t]*+=[ \t]*+"((?:[^"\\\n]++|\\[^\n])*)"')
_NAME_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:")
_BLANKS = b" \t"
_NEWLINE = 0x0A


class _Malformed(Exception):
    """Carries the reason out of the loops below; never leaves this module."""


def read_load(body: bytes, loads: Sequence[Load], *, now: float) -> Reading | str:
    """What the first Load says whose running gauge is there, or why the load is unknown.

    `now` is unix seconds, for samples that carry their own time. A body that does not end with a newline was cut off.
    """
    if not body:
        return "empty: the exposition has no bytes"
    if body[-1] != _NEWLINE:
        return f"partial: the exposition stops within a line, after {len(body)} bytes"
    try:
        for load in loads:
            running = _total(body, load.running, now)
            if running is None:
                continue
            waiting = 0.0 if load.waiting is None else _total(body, load.waiting, now)
            if waiting is None:
                return f"partial: {_shown(load.running)} is there and {_shown(load.waiting or load.running)} is not"
            return Reading(
                at=now,
                running=running,
                waiting=waiting,
                input_tokens=_counter(body, load.input_tokens, now),
                output_tokens=_counter(body, load.output_tokens, now),
                completed=_counter(body, load.completed, now),
            )
    except _Malformed as error:
        return str(error)
    return f"missing: no series of {' or '.join(_shown(load.running) for load in loads)}"


def series(body: bytes, name: str, *, now: float) -> list[tuple[dict[str, str], float]] | None:
    """Every series of a metric with its labels; None: one of them cannot be read, so that no sum of them is right."""
    wanted = name.encode()
    found: list[tuple[dict[str, str], float]] = []
    place = body.find(wanted)
    try:
        for _ in range(SERIES_MAX):
            if place < 0:
                return found
            end = place + len(wanted)
            if body[end] not in _NAME_BYTES and _begins_line(body, place):
                sample = _SAMPLE.match(body, end)
                if sample is None:
                    return None
                labels = {
                    key.decode(): value.decode(errors="replace") for key, value in _PAIR.findall(sample[1] or b"")
                }
                found.append((labels, _value(body, place, sample, now)))
                end = sample.end()
            place = body.find(wanted, end)
    except _Malformed:
        return None
    return None


def _counter(body: bytes, metric: Metric | None, now: float) -> float | None:
    """A counter beside the load; one that cannot be read is unknown by itself and spoils nothing else."""
    if metric is None:
        return None
    try:
        return _total(body, metric, now)
    except _Malformed:
        return None


def _total(body: bytes, metric: Metric, now: float) -> float | None:
    """The sum of a metric's series; None: it has none."""
    name = metric.name.encode()
    total: float | None = None
    seen: set[bytes] = set()
    place = body.find(name)
    for _ in range(SERIES_MAX):
        if place < 0:
            break
        end = place + len(name)
        # The last byte is a newline, so there is always one at `end`.
        if body[end] not in _NAME_BYTES and _begins_line(body, place):
            sample = _SAMPLE.match(body, end)
            if sample is None:
                raise _Malformed(f"malformed: {_line(body, place)}")
            labels = sample[1] or b""
            if labels in seen:
                raise _Malformed(f"malformed: twice the same series: {_line(body, place)}")
            seen.add(labels)
            if not metric.where or _wanted(labels, metric.where):
                total = (total or 0.0) + _value(body, place, sample, now)
            end = sample.end()
        place = body.find(name, end)
    else:
        raise _Malformed(f"malformed: {metric.name} is mentioned more than {SERIES_MAX} times")
    return total


def _begins_line(body: bytes, place: int) -> bool:
    first = place - INDENT_MAX
    while place > 0 and body[place - 1] in _BLANKS:
        place -= 1
        if place < first:
            raise _Malformed(f"malformed: more than {INDENT_MAX} blanks before a name")
    return place == 0 or body[place - 1] == _NEWLINE


def _value(body: bytes, place: int, sample: re.Match[bytes], now: float) -> float:
    value = float(sample[2])
    if value < 0 or not math.isfinite(value):
        raise _Malformed(f"malformed: not a count: {_line(body, place)}")
    if sample[3] is not None:
        age_s = now - int(sample[3][:20]) / 1000
        if abs(age_s) > STALE_AFTER_S:
            raise _Malformed(f"stale: measured {age_s:.0f} s ago: {_line(body, place)}")
    return value


def _wanted(labels: bytes, where: tuple[tuple[str, str], ...]) -> bool:
    values: dict[bytes, bytes] = dict(_PAIR.findall(labels))
    return all(values.get(key.encode(), value.encode()) == value.encode() for key, value in where)


def _shown(metric: Metric) -> str:
    labels = ",".join(f'{key}="{value}"' for key, value in metric.where)
    return f"{metric.name}{{{labels}}}" if labels else metric.name


def _line(body: bytes, place: int) -> str:
    return body[place : min(body.index(b"\n", place), place + _SHOWN)].decode(errors="backslashreplace").rstrip("\r")
