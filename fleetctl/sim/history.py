"""The fleet's own record as a Trace: counts by interval become requests, so that last week can be played again.

What is recorded are counts (arrivals and tokens of each tick), not requests. Within an interval arrivals are spread
evenly at random, by seed: at ticks of seconds no autoscaler could tell. Lengths are drawn log-normal around the mean
that the record had around that time, and as widely spread as in published traces: standard deviation ÷ mean is 0.6 to
1.5 for prompts (middle 1.2) and 1.2 to 2.2 for answers (middle 1.3) in the Azure code trace of 2023, two services of
ServeGen, Mooncake's synthetic trace and AIBrix's. Answers are counted when they end, later than their requests came, so
means are taken over `AROUND_S` rather than over one interval; the tokens of a long record come to about what was
counted.
"""

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from random import Random

from fleetctl.errors import UsageError
from fleetctl.model.history import Interval
from fleetctl.sim.traces import REQUESTS_LIMIT, TOKENS_LIMIT, Trace

AROUND_S = 600.0
"""Means of lengths are taken over so long before and after: longer than most answers, shorter than a shift's change."""
INPUT_SPREAD, OUTPUT_SPREAD = 0.95, 1.0
"""Standard deviations of the logarithms of lengths: a log-normal of these has 1.2 and 1.3 times its mean as its own."""
INPUT_TOKENS_GUESS, OUTPUT_TOKENS_GUESS = 512.0, 128.0
"""Of a request, where the record has no tokens around it: a short chat turn."""


def whole(rows: Sequence[Interval], begin: float, end: float) -> list[Interval]:
    """The intervals with those between them, in which nothing came: quiet ones are not stored."""
    found: list[Interval] = []
    at = begin
    for row in rows:
        since = max(row.t_from, at)  # clocks are set; no moment counts twice
        if row.t_to <= since:
            continue
        if since - at > 1e-3:
            found.append(Interval(t_from=at, t_to=since, arrivals=0.0, input_tokens=0.0, output_tokens=0.0))
        found.append(replace(row, t_from=since))
        at = row.t_to
    if end - at > 1e-3:
        found.append(Interval(t_from=at, t_to=end, arrivals=0.0, input_tokens=0.0, output_tokens=0.0))
    return found


def from_history(rows: Iterable[Interval], *, seed: int = 0, note: str = "") -> Trace:
    """Requests that would have counted so. The same rows and seed give the same bytes.

    Time begins at the first interval's `t_from`. Where nothing was recorded, or arrivals are unknown, none come; the
    note says how long that was. Raises `UsageError` for rows that overlap, run backwards, or count less than nothing,
    and for none at all.
    """
    intervals = list(rows)
    if not intervals:
        raise UsageError("the history has no rows", hint="let the fleet run for a while first, or look further back")
    last = intervals[0].t_from
    unknown_s = total = 0.0
    for row in intervals:
        _check(row, last)
        unknown_s += row.t_from - last + (row.t_to - row.t_from if row.arrivals is None else 0.0)
        total += row.arrivals or 0.0
        last = row.t_to
    if total > REQUESTS_LIMIT:
        raise UsageError(
            f"the history counts {total:,.0f} requests, more than {REQUESTS_LIMIT:,}", hint="play a shorter stretch"
        )
    begin_s = intervals[0].t_from
    arrivals_s, input_tokens, output_tokens = array("d"), array("I"), array("I")
    inputs = _means(intervals, [row.input_tokens for row in intervals], INPUT_TOKENS_GUESS)
    outputs = _means(intervals, [row.output_tokens for row in intervals], OUTPUT_TOKENS_GUESS)
    random = Random(f"history {seed}")
    owed = 0.0
    for row, input_mean, output_mean in zip(intervals, inputs, outputs, strict=True):
        # Counts may be fractions where they were shared out over ticks; what is left over comes later.
        owed += row.arrivals or 0.0
        count = math.floor(owed + 1e-9)
        owed -= count
        for offset_s in sorted([random.random() * (row.t_to - row.t_from) for _ in range(count)]):
            arrivals_s.append(round(row.t_from - begin_s + offset_s, 3))
            input_tokens.append(_length(random, input_mean, INPUT_SPREAD))
            output_tokens.append(_length(random, output_mean, OUTPUT_SPREAD))
    gaps = f"; {unknown_s / 3600:.1f} h of it not recorded" if unknown_s >= 60 else ""
    return Trace(
        arrivals_s=arrivals_s,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        duration_s=last - begin_s,
        note=(note or "recorded history") + gaps,
    )


def _check(row: Interval, last: float) -> None:
    if not (math.isfinite(row.t_from) and math.isfinite(row.t_to) and row.t_from < row.t_to):
        raise UsageError(
            f"the history has an interval from {row.t_from:.3f} to {row.t_to:.3f}, which is none",
            hint="give rows that end after they begin",
        )
    if row.t_from < last:
        raise UsageError(
            f"the history's interval from {row.t_from:.3f} begins before the one above it ends ({last:.3f})",
            hint="sort the rows by time, and leave out what is there twice",
        )
    for name, value in (
        ("arrivals", row.arrivals),
        ("input_tokens", row.input_tokens),
        ("output_tokens", row.output_tokens),
    ):
        # `not (… >= …)`, so that NaN is refused too.
        if value is not None and not 0 <= value < math.inf:
            raise UsageError(
                f"the history counts {value:g} {name} in the interval from {row.t_from:.3f}",
                hint="write null where a count is not known",
            )


def _means(intervals: Sequence[Interval], counted: Sequence[float | None], guess: float) -> list[float]:
    """Tokens per request around each interval, over those that know both."""
    known = [
        (0.0, 0.0) if tokens is None or row.arrivals is None else (tokens, row.arrivals)
        for row, tokens in zip(intervals, counted, strict=True)
    ]
    tokens_to = [0.0, *accumulate([tokens for tokens, _ in known])]
    requests_to = [0.0, *accumulate([requests for _, requests in known])]
    overall = tokens_to[-1] / requests_to[-1] if requests_to[-1] > 0 and tokens_to[-1] > 0 else guess
    begins = [row.t_from for row in intervals]
    found = []
    for row in intervals:
        first = bisect_left(begins, row.t_from - AROUND_S)
        past = bisect_right(begins, row.t_from + AROUND_S)
        tokens, requests = tokens_to[past] - tokens_to[first], requests_to[past] - requests_to[first]
        found.append(tokens / requests if requests > 0 and tokens > 0 else overall)
    return found


def _length(random: Random, mean: float, spread: float) -> int:
    drawn = mean * math.exp(random.gauss(0.0, spread) - spread * spread / 2)
    return min(TOKENS_LIMIT - 1, max(1, round(drawn)))
