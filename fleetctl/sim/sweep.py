"""Every combination of some values of some knobs, and which of the outcomes nothing beats."""

import math
from collections.abc import Mapping, Sequence
from itertools import product

from fleetctl.errors import UsageError

COMBINATIONS_LIMIT = 256
"""Four knobs of four values. A day of traffic takes seconds each, so this is minutes on one core; more is no sweep but
a search, and its front is mostly luck."""


def combinations(words: Sequence[str]) -> list[dict[str, str]]:
    """Every choice of one value for each knob, the last knob turning fastest. `words` are `KNOB=a,b,c`.

    Raises `UsageError` for words of another form, a knob given twice, and more than `COMBINATIONS_LIMIT`.
    """
    knobs: dict[str, list[str]] = {}
    for word in words:
        knob, equals, text = word.partition("=")
        values = [value.strip() for value in text.split(",")]
        if not equals or not knob.strip() or not all(values):
            raise UsageError(f"{word!r} sweeps nothing", hint="write --sweep scaling.target=0.5,0.6,0.7")
        if knob.strip() in knobs:
            raise UsageError(f"{knob.strip()} is swept twice", hint=f"give all its values at once: {knob.strip()}=a,b")
        knobs[knob.strip()] = list(dict.fromkeys(values))
    count = math.prod([len(values) for values in knobs.values()])
    if count > COMBINATIONS_LIMIT:
        raise UsageError(
            f"{' × '.join(str(len(values)) for values in knobs.values())} are {count} combinations, "
            f"more than {COMBINATIONS_LIMIT}",
            hint="sweep fewer knobs at once, or fewer values",
        )
    return [dict(zip(knobs, chosen, strict=True)) for chosen in product(*knobs.values())]


def shown(knobs: Mapping[str, str]) -> str:
    """`scaling.target=0.5 scaling.window=2m`, for people."""
    return " ".join(f"{knob}={value}" for knob, value in knobs.items())


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether each point (cost, worth) is on the Pareto front: none costs at most as much and is worth more, or costs
    less and is worth at least as much. Equal points are on it together."""
    best = -math.inf
    on = [False] * len(points)
    order = sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1]))
    last: tuple[float, float] | None = None
    for index in order:
        cost, worth = points[index]
        if worth > best:
            best, last = worth, (cost, worth)
        on[index] = (cost, worth) == last
    return on
