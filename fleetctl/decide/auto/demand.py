"""What requests cost: tokens turned into replica-seconds, by a pace that is learned from the requests in flight.

A replica reads prompts at `prefill_s` per token. It writes a batch of answers at once, and a step takes `token_s`, more
by GROWTH for each further answer. Both times are fitted to Little's law, minute by minute: the mean number in flight is
what came in per second times how long each stays. The fit is a ridge: until there is evidence, and where the traffic
cannot tell reading from writing, the prior stands.
"""

from dataclasses import replace
from math import exp

from fleetctl.model.learning import Minute, Pace, Record

GROWTH = 0.015
"""By what share a step lengthens with each further sequence; measured engines lie between 0.01 and 0.03."""
PREFILL_PRIOR_S = 1.4e-4
"""Per prompt token: an 8B model on one mid-size GPU, as a large one on four."""
TOKEN_PRIOR_S = 0.02
PRIOR_DOUBT = 0.3
"""Standard deviation of both priors, as a share of them."""
PRIOR_MINUTES = 8.0
"""Of evidence that the prior is worth."""
FORGET = 0.98
"""Per minute: half of what the fit knows is younger than 35 minutes."""
FIT_NOISE = 0.15
"""Of a minute's mean in flight: answers that straddle the minute's ends, lengths that vary."""
PACE_SPAN = 2.0
"""The fit may move either time by this factor from its prior: beyond it the signals are wrong, not the engine."""
STEADY_QUEUE_SHARE = 0.2
"""A minute in which more than this share of those in flight queued tells of waiting, not of the engine's pace."""
LENGTHS_FORGET_S = 300.0
"""Answers' lengths are averaged over about this long: enough for noise, not too much for a shift of what is asked."""
CALIBRATION_PRIOR_TOKENS = 3000.0
"""What counts for the estimate of written tokens before there is a count of them: about a minute of one replica."""
CALIBRATION_SPAN = 3.0
LUMP_LOSS = 0.4
"""Replicas lose this share × (size-biased prompt ÷ promised wait): whoever lands behind a long prompt waits, however
idle the others are. Measured on constant fleets: prompts of 0.06–5.2 s against a promise of 5 s."""
USE_LEAST = 0.35
"""Of a replica, however uneven the prompts: beyond what was measured, the straight line would ask for the moon."""
WAIT_LEAST_S = 0.1
"""A promise of less is a promise of no queue at all."""


def times(pace: Pace) -> tuple[float, float]:
    """Seconds per prompt token and per step of a lone answer."""
    # In units of the priors, both unknowns are about one and the ridge is the same for both.
    ridge = PRIOR_MINUTES / PRIOR_DOUBT**2
    p, t = PREFILL_PRIOR_S, TOKEN_PRIOR_S
    aa, ab, bb = pace.aa * p * p + ridge, pace.ab * p * t, pace.bb * t * t + ridge
    an, bn = pace.an * p + ridge, pace.bn * t + ridge
    determinant = aa * bb - ab * ab
    x, y = (an * bb - bn * ab) / determinant, (bn * aa - an * ab) / determinant
    low, high = 1 / PACE_SPAN, PACE_SPAN
    return p * min(high, max(low, x)), t * min(high, max(low, y))


def output_mean(pace: Pace) -> float:
    """Tokens of an answer; 100 with no evidence."""
    return (pace.output_tokens + 100.0) / (pace.requests + 1.0)


def prompt_size_s(pace: Pace) -> float:
    """Size-biased reading time of a prompt: what a newcomer finds in front of it, twice over."""
    if pace.arrivals < 20:
        return 0.0
    mean = pace.input_tokens / pace.arrivals
    return times(pace)[0] * (mean + pace.spread / pace.arrivals / max(mean, 1.0))


def learned(
    pace: Pace,
    *,
    span_s: float,
    concurrency: float,
    queue: float,
    ready: float,
    arrivals: float,
    input_tokens: float,
    output_tokens: float,
    completed: float,
) -> Pace:
    """The pace after one more interval."""
    keep, keep_long = exp(-span_s / LENGTHS_FORGET_S), exp(-span_s / (10 * LENGTHS_FORGET_S))
    mean_input = pace.input_tokens / pace.arrivals if pace.arrivals > 20 else None
    surprise = 0.0 if mean_input is None else (input_tokens - arrivals * mean_input) ** 2
    minute = pace.minute
    minute = Minute(
        span_s=minute.span_s + span_s,
        in_flight_s=minute.in_flight_s + span_s * max(0.0, concurrency - queue),
        queued_s=minute.queued_s + span_s * queue,
        ready_s=minute.ready_s + span_s * ready,
        input_tokens=minute.input_tokens + input_tokens,
        output_tokens=minute.output_tokens + output_tokens,
    )
    pace = replace(
        pace,
        requests=pace.requests * keep + completed,
        output_tokens=pace.output_tokens * keep + output_tokens,
        written=pace.written * keep_long + output_tokens,
        supposed=pace.supposed * keep_long + supposed_tokens(pace, span_s, concurrency - queue, ready, input_tokens),
        arrivals=pace.arrivals * keep_long + arrivals,
        input_tokens=pace.input_tokens * keep_long + input_tokens,
        spread=pace.spread * keep_long + surprise,
        minute=minute,
    )
    return _fitted(pace) if minute.span_s >= 60.0 else pace


def _fitted(pace: Pace) -> Pace:
    """With the gathered minute in the fit, if it tells anything of the engine."""
    minute = pace.minute
    pace = replace(pace, minute=Minute())
    in_flight = minute.in_flight_s / minute.span_s
    ready = minute.ready_s / minute.span_s
    if ready < 0.5 or in_flight <= 0.0 or minute.queued_s > STEADY_QUEUE_SHARE * minute.in_flight_s:
        return pace
    prefill_s, _ = times(pace)
    reading = minute.input_tokens / minute.span_s
    # Answers stand still while their replica reads; beyond this share the linear picture does not hold.
    busy_reading = min(0.8, reading * prefill_s / ready)
    writing = minute.output_tokens / minute.span_s * (1 + GROWTH * max(0.0, in_flight / ready - 1)) / (1 - busy_reading)
    reading /= 1 - 0.5 * busy_reading
    weight = 1.0 / (FIT_NOISE * in_flight + 0.3) ** 2
    return replace(
        pace,
        aa=pace.aa * FORGET + weight * reading * reading,
        ab=pace.ab * FORGET + weight * reading * writing,
        bb=pace.bb * FORGET + weight * writing * writing,
        an=pace.an * FORGET + weight * reading * in_flight,
        bn=pace.bn * FORGET + weight * writing * in_flight,
    )


def use(pace: Pace, wait_s: float) -> float:
    """The share of a replica that can be counted on, given how uneven prompts are."""
    return max(USE_LEAST, 1.0 - LUMP_LOSS * prompt_size_s(pace) / max(WAIT_LEAST_S, wait_s))


def output_token_s(pace: Pace, batch: int) -> float:
    """Replica-seconds per output token in a full batch."""
    return times(pace)[1] * (1 + GROWTH * (batch - 1)) / batch


def work_per_request_s(pace: Pace, batch: int) -> float:
    """Replica-seconds that a mean request costs."""
    mean_input = pace.input_tokens / pace.arrivals if pace.arrivals else 0.0
    return times(pace)[0] * mean_input + output_token_s(pace, batch) * output_mean(pace)


def work(record: Record, pace: Pace, batch: int, wait_s: float, last_bins: int | None = None) -> list[float]:
    """Replica-seconds asked for in each bin (the newest `last_bins`), as if prompts were even."""
    begin = 0 if last_bins is None else max(0, record.bins - last_bins)
    counted = use(pace, wait_s)
    prefill_s = times(pace)[0] / counted
    token_s = output_token_s(pace, batch) / counted
    return [
        prefill_s * inputs + token_s * outputs
        for inputs, outputs in zip(record.input_tokens[begin:], record.output_tokens[begin:], strict=True)
    ]


def supposed_tokens(pace: Pace, span_s: float, running: float, ready: float, input_tokens: float) -> float:
    """Output tokens that so many running requests should write in the interval, while prompts are read beside them."""
    if ready < 0.5 or running <= 0:
        return 0.0
    prefill_s, token_s = times(pace)
    reading = min(ready, prefill_s * input_tokens / span_s)
    writing = max(0.3 * running, running - reading)
    step_s = token_s * (1 + GROWTH * max(0.0, running / ready - 1))
    return span_s * writing / step_s * (1 - min(0.8, reading / ready))


def asked_tokens(
    pace: Pace, *, span_s: float, running: float, queue: float, ready: float, arrivals: float, input_tokens: float
) -> float:
    """Output tokens that the interval's load asks for.

    The requests in flight tell of long answers while they are being written; a count of ended ones would be late. But a
    fleet with a queue is full whatever is asked for: then it is the arrivals, at the usual length.
    """
    if queue > STEADY_QUEUE_SHARE * running:
        return arrivals * output_mean(pace)
    prior = CALIBRATION_PRIOR_TOKENS
    share = (pace.written + prior) / (pace.supposed + prior)
    share = min(CALIBRATION_SPAN, max(1 / CALIBRATION_SPAN, share))
    return share * supposed_tokens(pace, span_s, running, ready, input_tokens)
