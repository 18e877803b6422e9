"""How unevenly requests arrive: the few figures by which a service's traffic is compared with another's."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fleetctl.sim.traces import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Fluctuation:
    """The figures of one Trace. A Poisson stream has `gap_cv` 1 and peaks that vanish as the window grows."""

    requests: int
    mean_per_s: float
    peak_to_mean_1s: float
    """Of counts in windows of one second laid end to end."""
    peak_to_mean_10s: float
    peak_to_mean_60s: float
    gap_cv: float
    """Standard deviation of the gaps between arrivals ÷ their mean; NaN below two gaps."""


def fluctuation(trace: Trace) -> Fluctuation:
    return Fluctuation(
        requests=len(trace),
        mean_per_s=len(trace) / trace.duration_s if trace.duration_s else math.nan,
        peak_to_mean_1s=peak_to_mean(trace, 1.0),
        peak_to_mean_10s=peak_to_mean(trace, 10.0),
        peak_to_mean_60s=peak_to_mean(trace, 60.0),
        gap_cv=gap_cv(trace),
    )


def peak_to_mean(trace: Trace, window_s: float) -> float:
    """The fullest window of that length ÷ the mean one, windows laid end to end; NaN without requests."""
    if not len(trace):
        return math.nan
    counts = Counter(int(arrival_s / window_s) for arrival_s in trace.arrivals_s)
    windows = max(math.ceil(trace.duration_s / window_s), max(counts) + 1)
    return max(counts.values()) * windows / len(trace)


def gap_cv(trace: Trace) -> float:
    """Coefficient of variation of the gaps between arrivals; NaN below two gaps."""
    arrivals_s = trace.arrivals_s
    gaps = len(arrivals_s) - 1
    if gaps < 2 or arrivals_s[-1] == arrivals_s[0]:
        return math.nan
    mean_s = (arrivals_s[-1] - arrivals_s[0]) / gaps
    # Plain loops: `statistics` works in exact fractions and takes seconds for a day of traffic.
    squares = sum((arrivals_s[index + 1] - arrivals_s[index] - mean_s) ** 2 for index in range(gaps))
    return math.sqrt(squares / gaps) / mean_s


def percentile(values: Sequence[float], share: float) -> float:
    """The value below or at which that share (0 to 1) of them lie, nearest rank; NaN of none. Sorts a copy."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
