"""Traffic made of a seed, as bursty as a recorded service: for demos and tests, where no recorded trace is at hand.

The model was fitted to the code trace that Azure published in 2023 (AzureLLMInferenceTrace_code.csv, CC-BY 4.0;
Patel et al., "Splitwise", ISCA 2024). None of its rows is here, only figures taken from it. Requests come as a Poisson
stream whose rate is off most of the time. Off times and bursts have log-normal lengths; within a burst the logarithm
of the rate is a level of the burst's own plus a wander that forgets itself in some six seconds. Lengths are drawn from
tables of quantiles, each by itself: in the recorded hour they follow neither each other nor the request before.

One hour holds so few bursts that plain draws would make one hour wild and the next one tame. So bursts and off times
are drawn from shuffled decks of equally likely values: every hour gets its share of long and of strong ones.
"""

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from random import Random
from statistics import NormalDist
from typing import NamedTuple

from fleetctl.errors import UsageError
from fleetctl.sim.fluctuation import Fluctuation
from fleetctl.sim.traces import REQUESTS_LIMIT, Trace

AZURE_CODE_2023 = Fluctuation(
    requests=8819,
    mean_per_s=2.57,
    peak_to_mean_1s=26.1,
    peak_to_mean_10s=12.8,
    peak_to_mean_60s=4.2,
    gap_cv=13.15,
)
"""What the recorded 57 minutes measure, and what `generate` aims at."""
AZURE_CODE_2023_INPUT_MEAN, AZURE_CODE_2023_INPUT_P99 = 2048, 7436
AZURE_CODE_2023_OUTPUT_MEAN, AZURE_CODE_2023_OUTPUT_P99 = 28, 251

QUANTILES = (0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1)
INPUT_TOKENS = (3, 75, 147, 385, 770, 1075, 1469, 1909, 2433, 3193, 3923, 5194, 7315, 7436, 7436, 7436, 7437, 7437)
"""At QUANTILES. One in twenty prompts is cut at the service's limit, hence the flat end."""
OUTPUT_TOKENS = (6, 6, 7, 8, 9, 11, 13, 16, 20, 29, 39, 55, 90, 172, 251, 361, 831, 1899)
"""At QUANTILES."""

HOUR_S = 3600
"""The model makes traffic hour by hour, each with the asked mean. About the length of what it was fitted to."""
TRAFFIC_LONGEST_S = 7 * 24 * HOUR_S
"""A week: longer spans have weekdays and seasons, of which one recorded hour knows nothing."""

# Fitted by hand. Forty hours have these medians: 26.3/11.6/4.4 at 1/10/60 s, gap CV 13.3, 74 % of seconds empty.
_OFF_LOG_MEAN, _OFF_LOG_SD, _OFF_LONGEST_S = 2.07, 1.55, 220.0
_BURST_LOG_MEAN, _BURST_LOG_SD, _BURST_SHORTEST_S, _BURST_LONGEST_S = 1.4, 1.3, 0.3, 26.0
_LEVEL_SD = 0.2
_WANDER_SD, _WANDER_KEPT = 0.7, 0.88
"""Of the logarithm of the rate; the share of it that is still there one second later."""
_LOG_RATE_MAX = 2.2
"""The strongest second is nine times the usual busy one, as recorded; without it, one hour in ten would be freakish."""
_DECK = 100
"""About the number of bursts in an hour."""

DEMO_SHORTEST_S, DEMO_LONGEST_S = 60.0, 1200.0
"""Below a minute the burst is all there is; beyond twenty nobody watches."""
DEMO_BURST_S = 20
DEMO_BURST_PER_S = 24.6
"""Mean rate over the strongest twenty seconds: what the recorded hour has in its own."""
DEMO_QUIET_PER_S = 2.0
"""Most that the model's own bursts may add in the first and the last third."""
DEMO_TRICKLE_PER_S = 1.5
"""Added throughout. The recorded hour is silent for three seconds in four, and silence shows nothing."""
DEMO_OUTPUT_LIMIT = 250
"""Longest answer of a demo, in tokens: the recorded p99. The rest would keep the watcher waiting for one stream."""
DEMO_REQUESTS_LIMIT = 1500
"""What a laptop with two cores carries beside fleet, gateway and controller."""

_NORMAL = NormalDist()


class _Stretch(NamedTuple):
    """A stretch of at most a second, within one hour, in which the rate stays the same."""

    start_s: float
    end_s: float
    rate: float


def generate(seed: int, duration_s: float, mean_rate: float = AZURE_CODE_2023.mean_per_s) -> Trace:
    """Traffic of the recorded kind. The same seed gives the same bytes; `mean_rate` holds for every whole hour.

    A longer duration only adds to the end. Short ones are as uneven as the recorded traffic: many are empty.
    """
    if not (0 < duration_s <= TRAFFIC_LONGEST_S and mean_rate > 0 and mean_rate * duration_s <= REQUESTS_LIMIT):
        raise UsageError(
            f"no traffic can be made of {mean_rate:g} requests per second for {duration_s:g} s",
            hint=f"ask for at most {TRAFFIC_LONGEST_S} s and {REQUESTS_LIMIT:,} requests",
        )
    arrivals_s: array[float] = array("d")
    input_tokens: array[int] = array("I")
    output_tokens: array[int] = array("I")
    for hour in range(math.ceil(duration_s / HOUR_S)):
        rng = Random(f"traffic/{seed}/{hour}")
        for arrival_s in _arrivals(rng, _hour(rng, mean_rate)):
            arrivals_s.append(round(hour * HOUR_S + arrival_s, 3))
            input_tokens.append(_length(rng, INPUT_TOKENS))
            output_tokens.append(_length(rng, OUTPUT_TOKENS))
    end = bisect_right(arrivals_s, duration_s)
    return Trace(
        arrivals_s=arrivals_s[:end],
        input_tokens=input_tokens[:end],
        output_tokens=output_tokens[:end],
        duration_s=duration_s,
        note=f"made of seed {seed}, shaped by the Azure code trace of 2023 (Patel et al., ISCA 2024)",
    )


def demo_traffic(
    seed: int,
    duration_s: float = 100.0,
    *,
    rate_scale: float = 1.0,
    input_scale: float = 0.1,
    output_scale: float = 2.0,
    requests_limit: int = DEMO_REQUESTS_LIMIT,
) -> Trace:
    """Minutes that show a fleet at work: a quiet start, a strong burst in the middle third, a quiet end.

    It is an hour of the model, turned so that its strongest twenty seconds lie in the middle and scaled so that they
    are as strong as in the recorded hour. Outside the middle third the rate is held low, and a trickle runs throughout.
    `rate_scale` multiplies all of it. Prompts are shortened and answers lengthened by their scales, so that an engine
    is kept busy by writing: at the defaults and 20 ms per token, requests in flight go from about 2 to about 60.
    """
    if not DEMO_SHORTEST_S <= duration_s <= DEMO_LONGEST_S:
        raise UsageError(
            f"a demo cannot last {duration_s:g} s",
            hint=f"give {DEMO_SHORTEST_S:g} to {DEMO_LONGEST_S:g} s",
        )
    rng = Random(f"demo/{seed}")
    rates = _demo_rates(_per_second(_hour(rng, AZURE_CODE_2023.mean_per_s)), math.ceil(duration_s))
    stretches = [
        _Stretch(second, min(second + 1.0, duration_s), rate * rate_scale) for second, rate in enumerate(rates)
    ]
    arrivals_s = array("d", (round(arrival_s, 3) for arrival_s in _arrivals(rng, stretches)))
    trace = Trace(
        arrivals_s=arrivals_s,
        input_tokens=array("I", (_length(rng, INPUT_TOKENS) for _ in arrivals_s)),
        output_tokens=array("I", (_length(rng, OUTPUT_TOKENS) for _ in arrivals_s)),
        duration_s=duration_s,
        note=f"{duration_s:g} s around a burst, made of seed {seed}, shaped by the Azure code trace of 2023",
    )
    return _shortened(trace.thin(requests_limit, seed), input_scale, output_scale)


def for_demo(
    trace: Trace,
    length_s: float = 100.0,
    *,
    seed: int = 0,
    input_scale: float = 1.0,
    output_scale: float = 1.0,
    requests_limit: int = DEMO_REQUESTS_LIMIT,
) -> Trace:
    """The part of a recorded trace worth watching: a busy middle third, with as quiet a third before it as there is.

    Answers are cut at DEMO_OUTPUT_LIMIT, and requests thinned to the limit; the note says what was done.
    """
    part = trace.slice(_rise_s(trace, length_s), length_s).thin(requests_limit, seed)
    return _shortened(part, input_scale, output_scale)


def _rise_s(trace: Trace, length_s: float) -> float:
    """Where the part begins whose middle third has most requests above those of its first third."""
    arrivals_s, third_s = trace.arrivals_s, length_s / 3
    best_s, most = 0.0, -math.inf
    for index, burst_s in enumerate(arrivals_s):
        if third_s <= burst_s <= trace.duration_s - 2 * third_s:
            before = index - bisect_left(arrivals_s, burst_s - third_s, 0, index)
            middle = bisect_left(arrivals_s, burst_s + third_s, index) - index
            if middle - before > most:
                best_s, most = burst_s - third_s, middle - before
    return best_s


def _hour(rng: Random, mean_rate: float) -> list[_Stretch]:
    """One hour's rates: bursts between off times, scaled so that the hour's mean is as asked."""
    off_draws, burst_draws, level_draws = _deck(rng), _deck(rng), _deck(rng)
    stretches: list[_Stretch] = []
    area = 0.0
    # The hour begins somewhere within an off time, or else every hour would begin with a whole one.
    now_s = -rng.random() * math.exp(_OFF_LOG_MEAN + _OFF_LOG_SD)
    while now_s < HOUR_S:
        now_s += min(_OFF_LONGEST_S, math.exp(_OFF_LOG_MEAN + _OFF_LOG_SD * next(off_draws)))
        length_s = math.exp(_BURST_LOG_MEAN + _BURST_LOG_SD * next(burst_draws))
        end_s = now_s + min(_BURST_LONGEST_S, max(_BURST_SHORTEST_S, length_s))
        level = _LEVEL_SD * next(level_draws)
        wander = rng.gauss(0, _WANDER_SD)
        while now_s < end_s:
            next_s = min(now_s + 1.0, end_s)
            if now_s >= 0 and next_s <= HOUR_S:
                stretches.append(_Stretch(now_s, next_s, math.exp(min(_LOG_RATE_MAX, level + wander))))
                area += (next_s - now_s) * stretches[-1].rate
            wander = _WANDER_KEPT * wander + rng.gauss(0, _WANDER_SD * math.sqrt(1 - _WANDER_KEPT**2))
            now_s = next_s
    scale = mean_rate * HOUR_S / area
    return [_Stretch(start_s, end_s, rate * scale) for start_s, end_s, rate in stretches]


def _deck(rng: Random) -> Iterator[float]:
    """Draws from the standard normal, such that every hundred of them hold one from each hundredth of it."""
    while True:
        shares = [(card + rng.random()) / _DECK for card in range(_DECK)]
        rng.shuffle(shares)
        yield from (_NORMAL.inv_cdf(min(max(share, 1e-9), 1 - 1e-9)) for share in shares)


def _arrivals(rng: Random, stretches: Sequence[_Stretch]) -> Iterator[float]:
    """A Poisson stream of those rates, by stretching a stream of rate one."""
    ahead = rng.expovariate(1.0)
    for start_s, end_s, rate in stretches:
        area = (end_s - start_s) * rate
        while ahead < area:
            yield start_s + ahead / rate
            ahead += rng.expovariate(1.0)
        ahead -= area


def _length(rng: Random, tokens: Sequence[int]) -> int:
    """A length whose quantiles are `tokens` at QUANTILES, straight lines between them."""
    share = rng.random()
    upper = bisect_right(QUANTILES, share)
    low, high = QUANTILES[upper - 1], QUANTILES[upper]
    return round(tokens[upper - 1] + (tokens[upper] - tokens[upper - 1]) * (share - low) / (high - low))


def _per_second(stretches: Sequence[_Stretch]) -> list[float]:
    """The mean rate of each second of the hour."""
    rates = [0.0] * HOUR_S
    for start_s, end_s, rate in stretches:
        for second in range(int(start_s), min(int(end_s) + 1, HOUR_S)):
            rates[second] += rate * max(0.0, min(end_s, second + 1) - max(start_s, second))
    return rates


def _demo_rates(hour: Sequence[float], seconds: int) -> list[float]:
    """The rates of a demo's seconds, out of an hour's, taken as a ring."""
    areas = [0.0, *accumulate([*hour, *hour[:DEMO_BURST_S]])]
    bursts = [areas[second + DEMO_BURST_S] - areas[second] for second in range(HOUR_S)]
    burst_at = max(range(HOUR_S), key=bursts.__getitem__)
    scale = DEMO_BURST_PER_S * DEMO_BURST_S / bursts[burst_at]
    start = burst_at - (seconds - DEMO_BURST_S) // 2
    rates = []
    for second in range(seconds):
        rate = hour[(start + second) % HOUR_S] * scale
        middle = seconds / 3 <= second < seconds * 2 / 3
        rates.append(DEMO_TRICKLE_PER_S + (rate if middle else min(rate, DEMO_QUIET_PER_S)))
    return rates


def _shortened(trace: Trace, input_scale: float, output_scale: float) -> Trace:
    """The same arrivals with lengths scaled, none below one token, no answer beyond DEMO_OUTPUT_LIMIT."""
    return Trace(
        arrivals_s=trace.arrivals_s,
        input_tokens=array("I", (max(1, round(tokens * input_scale)) for tokens in trace.input_tokens)),
        output_tokens=array(
            "I", (min(DEMO_OUTPUT_LIMIT, max(1, round(tokens * output_scale))) for tokens in trace.output_tokens)
        ),
        duration_s=trace.duration_s,
        note=f"{trace.note}; prompts ×{input_scale:g}, answers ×{output_scale:g} up to {DEMO_OUTPUT_LIMIT} tokens",
    )
