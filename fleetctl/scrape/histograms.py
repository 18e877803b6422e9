"""How long requests took, out of an engine's exposition."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf, isfinite

from fleetctl.engines.engine import Load
from fleetctl.model.signals import Histogram, Reading
from fleetctl.scrape.exposition import series


def with_latencies(reading: Reading, body: bytes, loads: Sequence[Load], *, now: float) -> Reading:
    """The reading with the histograms of the first Load that has them; without, they are unknown."""
    for load in loads:
        ttft = None if load.ttft is None else read_histogram(body, load.ttft, now=now)
        end_to_end = None if load.end_to_end is None else read_histogram(body, load.end_to_end, now=now)
        if ttft is not None or end_to_end is not None:
            return replace(reading, ttft=ttft, end_to_end=end_to_end)
    return reading


def read_histogram(body: bytes, name: str, *, now: float) -> Histogram | None:
    """A histogram in seconds, all its series added up; None: there is none, or it contradicts itself."""
    below: dict[float, float] = {}
    for labels, value in series(body, f"{name}_bucket", now=now) or ():
        try:
            bound = float(labels.get("le", ""))
        except ValueError:
            return None
        below[bound] = below.get(bound, 0.0) + value
    bounds = sorted(below)
    if not bounds or bounds[-1] != inf:
        return None
    counts = tuple(below[bound] - before for bound, before in _with_before(bounds, below))
    if any(count < 0 for count in counts) or not all(isfinite(bound) for bound in bounds[:-1]):
        return None
    return Histogram(bounds_s=tuple(bounds[:-1]), counts=counts)


def _with_before(bounds: Sequence[float], below: dict[float, float]) -> list[tuple[float, float]]:
    return [(bound, below[bounds[place - 1]] if place else 0.0) for place, bound in enumerate(bounds)]
