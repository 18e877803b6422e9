"""Histograms of how long requests took: what came since, several as one, and a percentile of them."""

from collections.abc import Sequence

from fleetctl.model.signals import Histogram


def grown(now: Histogram | None, before: Histogram | None) -> Histogram | None:
    """What came since `before`; None: not known. One that shows less than before belongs to a process started anew."""
    if now is None or before is None:
        return None
    if now.bounds_s != before.bounds_s or any(new < old for new, old in zip(now.counts, before.counts, strict=True)):
        return now
    counts = tuple(new - old for new, old in zip(now.counts, before.counts, strict=True))
    return Histogram(bounds_s=now.bounds_s, counts=counts)


def together(parts: Sequence[Histogram]) -> Histogram:
    """All of them as one; where bounds differ, a request counts at the upper end of its own bucket."""
    if not parts:
        return Histogram()
    if all(part.bounds_s == parts[0].bounds_s for part in parts):
        counts = tuple(map(sum, zip(*(part.counts for part in parts), strict=True)))
        return Histogram(bounds_s=parts[0].bounds_s, counts=counts)
    bounds = tuple(sorted({bound for part in parts for bound in part.bounds_s}))
    place = {bound: index for index, bound in enumerate(bounds)}
    sums = [0.0] * (len(bounds) + 1)
    for part in parts:
        for bound, count in zip(part.bounds_s, part.counts, strict=False):
            sums[place[bound]] += count
        sums[-1] += part.counts[-1]
    return Histogram(bounds_s=bounds, counts=tuple(sums))


def requests(histogram: Histogram) -> float:
    return sum(histogram.counts)


def within(histogram: Histogram, longest_s: float) -> Histogram:
    """Only the buckets of what cannot have taken longer than `longest_s`."""
    kept = tuple(
        count if bound <= longest_s else 0.0
        for bound, count in zip((*histogram.bounds_s, float("inf")), histogram.counts, strict=True)
    )
    return Histogram(bounds_s=histogram.bounds_s, counts=kept)


def percentile_s(histogram: Histogram, percentile: float) -> float | None:
    """The time that `percentile` per cent took at most, in seconds; None: there are none.

    Within a bucket requests are taken as spread evenly, as Prometheus' `histogram_quantile` does; above the last bound
    nothing is known but the bound.
    """
    everyone = requests(histogram)
    if everyone <= 0:
        return None
    wanted = everyone * percentile / 100
    below, lower = 0.0, 0.0
    for bound, count in zip(histogram.bounds_s, histogram.counts, strict=False):
        if count > 0 and below + count >= wanted:
            return lower + (bound - lower) * max(0.0, wanted - below) / count
        below += count
        lower = bound
    return lower
