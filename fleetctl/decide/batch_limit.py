"""Whether `concurrency` is the engine's batch limit: a policy that is told another is blind to what waits inside."""

from dataclasses import replace

from fleetctl.engines import engine
from fleetctl.engines.batch_limit import stated_limit
from fleetctl.errors import UsageError
from fleetctl.model.decisions import BatchSeen
from fleetctl.model.services import Service

SIGHTINGS_MIN = 30
"""Of a full engine, in a row, before its limit is believed: a minute of ticks. One that has just got a request shows it
as waiting for a moment, with fewer running; that breaks the row."""
ALIKE = 0.95
"""Within this share of the most ever seen, an engine is at its limit."""


def seen(before: BatchSeen | None, fullest: float | None, *, changed_at: float, now: float) -> BatchSeen | None:
    """What is known of the limit after this tick; a Service that was changed is looked at anew."""
    if before is not None and before.since < changed_at:
        before = None
    if fullest is None or fullest < 1:
        return before
    if before is None or fullest > before.limit:
        return BatchSeen(limit=fullest, sightings=1, since=now)
    if fullest < ALIKE * before.limit:
        return replace(before, sightings=0)
    return replace(before, sightings=min(SIGHTINGS_MIN, before.sightings + 1))


def mismatch(service: Service, observed: BatchSeen | None) -> str:
    """What is wrong between `concurrency` and the engine, and what to write; empty: nothing is known to be."""
    try:
        kind = engine(service.engine)
    except UsageError:
        return ""
    stated = stated_limit(kind, service)
    if stated is not None and stated.limit != service.concurrency:
        other = f"remove {stated.words} from {stated.place}"
        if stated.place == "command":
            other = f"write {stated.words.split()[0]} {{concurrency}} in command"
        return (
            f"concurrency is {service.concurrency}, and its engine is started with {stated.words}:"
            f" write concurrency: {stated.limit}, or {other}"
        )
    if observed is None or observed.sightings < SIGHTINGS_MIN:
        return ""
    limit = round(observed.limit)
    if limit == service.concurrency:
        return ""
    fix = f"write concurrency: {limit}"
    if kind.concurrency_argument is not None and limit < service.concurrency:
        told = (
            f"raise {kind.concurrency_argument}" if stated is None else "give the engine more memory for its KV cache"
        )
        fix += f", or {told}"
    now = f"concurrency is {service.concurrency}, and its engines run {limit} at once while others wait inside them"
    return f"{now}: {fix}"
