"""Whether a Service's promise is kept, from the times to the first token that its gateway has counted."""

from fleetctl.decide.histograms import percentile_s, requests
from fleetctl.model.records import dataclass
from fleetctl.model.services import Slo
from fleetctl.model.signals import Histogram


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """Since the gateway started."""

    ttft_s: float | None
    """The time to the first token at the promise's percentile, or at 95 where nothing is promised; None: no request."""
    kept: float | None
    """Share of requests whose first token came in time, in [0, 1]; None: nothing is promised, or no request came."""
    percentile: float = 95.0

    @property
    def broken_by(self) -> float:
        """How much of its percentile is missing, in [0, 1]; 0: it is kept, or nothing is known."""
        return 0.0 if self.kept is None else max(0.0, self.percentile / 100.0 - self.kept)


def promise(slo: Slo | None, ttft: Histogram | None) -> Promise:
    """What is known of it. A bucket that the promise's bound cuts in two counts in proportion."""
    percentile = slo.percentile if slo is not None else 95.0
    if ttft is None or requests(ttft) <= 0:
        return Promise(ttft_s=None, kept=None, percentile=percentile)
    kept = None if slo is None else _within(ttft, slo.ttft_s) / requests(ttft)
    return Promise(ttft_s=percentile_s(ttft, percentile), kept=kept, percentile=percentile)


def _within(histogram: Histogram, bound_s: float) -> float:
    total, lower = 0.0, 0.0
    for upper, count in zip(histogram.bounds_s, histogram.counts, strict=False):
        if upper > bound_s:
            return total + count * max(0.0, bound_s - lower) / (upper - lower)
        total += count
        lower = upper
    return total
