"""What came in, in bins of five seconds, for the last two hours: all that the brain knows of the past."""

from dataclasses import replace

from fleetctl.model.learning import BIN_S, Record

BINS_LIMIT = 1440
"""Two hours: several cold starts of a large model; longer memory costs more state than it saves hours."""
SPAN_LIMIT_S = 120.0
"""An interval longer than this says too little of its bins: only as much of it as this is filled in."""
FILL_BINS = 12
"""Bins of which nothing is known are taken to be like the minute before them: a gap must not look like calm."""


def extended(
    record: Record, *, since: float, until: float, arrivals: float, input_tokens: float, output_tokens: float
) -> Record:
    """The record with one more interval, spread evenly over the bins that it covers."""
    if until <= since:
        return record
    begin = max(since, until - SPAN_LIMIT_S)
    known = (until - begin) / (until - since)
    first_bin, last_bin = int(begin // BIN_S), int(until // BIN_S)
    if not record.bins or first_bin > record.first + record.bins + BINS_LIMIT:
        record = Record(first=first_bin)
    columns = [list(record.arrivals), list(record.input_tokens), list(record.output_tokens)]
    amounts = (arrivals * known, input_tokens * known, output_tokens * known)
    gap = max(0, first_bin - record.first - record.bins)
    missing = last_bin + 1 - record.first - record.bins - gap
    for column in columns:
        newest = column[-FILL_BINS:]
        column.extend([round(sum(newest) / max(1, len(newest)), 1)] * gap)
        column.extend([0.0] * missing)
    for number in range(max(record.first, first_bin), last_bin + 1):
        covered_s = min(until, (number + 1) * BIN_S) - max(begin, number * BIN_S)
        if covered_s <= 0:
            continue
        share = covered_s / (until - begin)
        for column, amount in zip(columns, amounts, strict=True):
            # One decimal is finer than any count that was spread, and keeps the state small.
            column[number - record.first] = round(column[number - record.first] + amount * share, 1)
    surplus = max(0, len(columns[0]) - BINS_LIMIT)
    return replace(
        record,
        first=record.first + surplus,
        arrivals=tuple(columns[0][surplus:]),
        input_tokens=tuple(columns[1][surplus:]),
        output_tokens=tuple(columns[2][surplus:]),
    )
