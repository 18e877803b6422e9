"""What a calm stretch shows: a fleet that let nobody wait is large enough for the load that it carried.

The learned pace is least sure where replicas are nearly idle: who serves one request at a time shows little of what it
could. There the estimate of what is needed may grow with the fleet, and the fleet with the estimate. So it may ask for
no more than what was there while nobody waited, as long as no more comes than came then.
"""

from collections.abc import Sequence
from dataclasses import replace

from fleetctl.decide.auto.demand import PRIOR
from fleetctl.model.learning import BIN_S, Calm, Record

WINDOW_BINS = 12
"""A minute: the load that counts is the strongest minute's."""
PROOF_S = 1800.0
"""Calm for less proves little: bursts come some minutes apart."""
RISING_S = 900.0
"""While the load is still reaching new heights, what is needed next has not been shown."""
MORE = 1.05
"""So much above what has been carried is more load."""
SIZE_OF_BATCH = 8.0
"""Sequences that share a step, for a measure of load that needs no more than tokens and never changes."""


def raw_load(record: Record) -> float:
    """Work of the newest minute, by fixed rates: it compares times, and says nothing of replicas."""
    inputs, outputs = _last(record.input_tokens), _last(record.output_tokens)
    return (PRIOR.prefill_s * inputs + PRIOR.written_s(SIZE_OF_BATCH) * outputs) / (WINDOW_BINS * BIN_S)


def _last(counts: Sequence[float]) -> float:
    return float(sum(counts[-WINDOW_BINS:]))


def watched(calm: Calm, *, now: float, load: float, ready: int, waits: bool) -> Calm:
    """With one more step. A wait ends the calm: what it proved then is no longer believed."""
    if waits:
        return Calm(since=now)
    if calm.since is None:
        return Calm(since=now, load=load, ready=ready, risen_at=now)
    if load > calm.load:
        return replace(calm, load=load, ready=ready, risen_at=now)
    if load * MORE >= calm.load and ready < calm.ready:
        return replace(calm, ready=ready)
    return calm


def enough(calm: Calm, *, now: float, load: float) -> int | None:
    """So many replicas have been shown to be enough for the present load; None: nothing has been shown."""
    if calm.since is None or now - calm.since < PROOF_S or now - calm.risen_at < RISING_S:
        return None
    return calm.ready if calm.ready and load <= MORE * calm.load else None
