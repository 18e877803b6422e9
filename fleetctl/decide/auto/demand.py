"""What requests cost: tokens turned into replica-seconds, by rates that are learned from the requests in flight.

A busy replica with n requests in its batch lives through each second thus: `prefill_s` for every prompt token that it
reads, and for every answer token that it writes a share of a step, `lone_s / n + shared_s`. Times n, and summed over
the fleet, this is Little's law:

    in flight = lone_s · written + shared_s · written · n + prefill_s · read · n        (tokens per second)

which is linear in the three unknowns, holds for a full batch as for an idle fleet, and needs no latency. They are
fitted to sums over half minutes. Before that one scale for all three is found, as engines differ by factors in speed
and by little in their proportions; the fit is then a ridge around the priors at that scale.
"""

from dataclasses import replace
from math import exp
from typing import NamedTuple

from fleetctl.model.learning import BIN_S, Minute, Pace, Record

PREFILL_PRIOR_S = 1.4e-4
"""Per prompt token: an 8B model on one mid-size GPU, as a large one on four."""
LONE_PRIOR_S = 0.0197
SHARED_PRIOR_S = 0.0003
"""A step of 20 ms, a share of 0.015 longer for each further sequence; measured engines lie between 0.01 and 0.03."""
DOUBTS = (0.4, 0.3, 0.5)
"""Standard deviations of the priors of prefill, lone and shared, as shares of them, once the scale is known."""
PRIOR_ROWS = 10.0
"""Half minutes of evidence that the ridge is worth."""
SCALE_ROWS = 0.1
"""…and that the prior scale is worth: an engine of another speed must be known for what it is within a minute."""
ROW_S = 30.0
FORGET = 0.99
"""Per row: half of what the fit knows is younger than 35 minutes."""
NOISE = 0.15
"""Of a row's mean in flight: answers that straddle its ends, lengths that vary."""
NOISE_FLOOR = 0.3
"""…and requests beside it."""
SPAN = 4.0
"""The fit may move a rate by this factor from the scaled prior."""
SCALE_SPAN = 30.0
"""A scale beyond it is no engine but a mistake in the signals."""
LENGTHS_FORGET_S = 300.0
"""Answers' lengths are averaged over about this long: enough for noise, not too much for a shift of what is asked."""
SURPRISE_S = 150.0
"""Longer answers than usual are seen in flight long before they end; judged over this long."""
SURPRISE_PRIOR = 2.0
"""Requests in flight: below it, chance."""
SURPRISE_SPAN = (0.8, 3.0)
FULL_QUEUE_SHARE = 0.5
"""While so many wait, beside those in flight, every replica takes as many as it can."""
BATCH_PRIOR_S = 60.0
"""Replica-seconds with a queue that the batch limit of the service file is worth."""
BATCH_SPAN = 4.0
"""A replica is not believed to take more than this many times what the service file says."""
LUMP_LOSS = 0.4
"""Replicas lose this share × (size-biased prompt ÷ promised wait): whoever lands behind a long prompt waits, however
idle the others are. Measured on constant fleets: prompts of 0.06–5.2 s against a promise of 5 s."""
USE_LEAST = 0.35
"""Of a replica, however uneven the prompts: beyond what was measured, the straight line would ask for the moon."""
WAIT_LEAST_S = 0.1
"""A promise of less is a promise of no queue at all."""


class Rates(NamedTuple):
    """Seconds per token."""

    prefill_s: float
    lone_s: float
    """Of a written token, what the batch shares among its sequences…"""
    shared_s: float
    """…and what each costs however many there are."""

    def written_s(self, batch: float) -> float:
        """Replica-seconds per written token in a full batch."""
        return self.lone_s / batch + self.shared_s


PRIOR = Rates(PREFILL_PRIOR_S, LONE_PRIOR_S, SHARED_PRIOR_S)


def scale(pace: Pace) -> float:
    """How many times slower than the prior the engine is."""
    found = (pace.found + SCALE_ROWS) / (pace.expected + SCALE_ROWS)
    return min(SCALE_SPAN, max(1 / SCALE_SPAN, found))


def rates(pace: Pace) -> Rates:
    """What tokens cost, by all evidence."""
    centre = scale(pace)
    units = [centre * prior for prior in PRIOR]
    aa, ab, ac, bb, bc, cc, ar, br, cr = pace.moments
    # In units of the scaled priors all unknowns are about one.
    u, v, w = units
    ridge = [PRIOR_ROWS * (NOISE / doubt) ** 2 / NOISE**2 for doubt in DOUBTS]
    rows = [
        [aa * u * u + ridge[0], ab * u * v, ac * u * w, ar * u + ridge[0]],
        [ab * u * v, bb * v * v + ridge[1], bc * v * w, br * v + ridge[1]],
        [ac * u * w, bc * v * w, cc * w * w + ridge[2], cr * w + ridge[2]],
    ]
    solved = [min(SPAN, max(1 / SPAN, value)) for value in _solved(rows)]
    return Rates(*[unit * value for unit, value in zip(units, solved, strict=True)])


def _solved(rows: list[list[float]]) -> list[float]:
    """The unknowns of a positive definite system, by elimination."""
    size = len(rows)
    for place in range(size):
        for other in range(place + 1, size):
            share = rows[other][place] / rows[place][place]
            rows[other] = [one - share * two for one, two in zip(rows[other], rows[place], strict=True)]
    found = [0.0] * size
    for place in reversed(range(size)):
        rest = sum([rows[place][other] * found[other] for other in range(place + 1, size)])
        found[place] = (rows[place][size] - rest) / rows[place][place]
    return found


def output_mean(pace: Pace) -> float:
    """Tokens of an answer; 100 with no evidence."""
    return (pace.output_tokens + 100.0) / (pace.requests + 1.0)


def input_mean(pace: Pace) -> float:
    return pace.input_tokens / pace.arrivals if pace.arrivals else 0.0


def prompt_size_s(pace: Pace) -> float:
    """Size-biased reading time of a prompt: what a newcomer finds in front of it, twice over."""
    if pace.arrivals < 20:
        return 0.0
    mean = pace.input_tokens / pace.arrivals
    return rates(pace).prefill_s * (mean + pace.spread / pace.arrivals / max(mean, 1.0))


def neighbours(in_flight: float, serving: float) -> float:
    """How many share a busy replica: at least the one that makes it busy."""
    each = in_flight / serving
    if each < 0.01:
        return 1.0
    # One replica is idle by chance while another request comes; many are filled one by one.
    if serving < 2:
        return each / (1 - exp(-each))
    power = 1.6 if serving < 4 else 2.5
    return float((1 + each**power) ** (1 / power))


def learned(
    pace: Pace,
    *,
    span_s: float,
    concurrency: float,
    queue: float,
    serving: float,
    arrivals: float,
    input_tokens: float,
    output_tokens: float | None,
    completed: float | None,
) -> Pace:
    """The pace after one more interval in which so many replicas served."""
    keep, keep_long = exp(-span_s / LENGTHS_FORGET_S), exp(-span_s / (10 * LENGTHS_FORGET_S))
    mean_input = pace.input_tokens / pace.arrivals if pace.arrivals > 20 else None
    surprise = 0.0 if mean_input is None else (input_tokens - arrivals * mean_input) ** 2
    in_flight = max(0.0, concurrency - queue)
    if output_tokens is not None and completed is not None:
        pace = replace(
            pace,
            requests=pace.requests * keep + completed,
            output_tokens=pace.output_tokens * keep + output_tokens,
        )
    # What came but still waits is not being read yet.
    grown = queue - pace.queued
    read = max(0.0, input_tokens - grown * (mean_input or 0.0))
    written = output_tokens if output_tokens is not None else max(0.0, arrivals - grown) * output_mean(pace)
    pace = _widened(pace, span_s=span_s, in_flight=in_flight, queue=queue, serving=serving, keep=keep_long)
    pace = replace(
        pace,
        queued=queue,
        serving=serving,
        arrivals=pace.arrivals * keep_long + arrivals,
        input_tokens=pace.input_tokens * keep_long + input_tokens,
        spread=pace.spread * keep_long + surprise,
    )
    if serving < 0.5:
        return pace
    sharing = neighbours(in_flight, serving)
    keep = exp(-span_s / SURPRISE_S)
    usual = max(0.0, arrivals - grown) * output_mean(pace)
    now = rates(pace)
    per_token = now.lone_s + now.shared_s * sharing
    supposed = usual * per_token + read * now.prefill_s * sharing
    minute = pace.minute
    pace = replace(
        pace,
        in_flight=pace.in_flight * keep + in_flight * span_s,
        supposed=pace.supposed * keep + supposed,
        minute=Minute(
            span_s=minute.span_s + span_s,
            in_flight_s=minute.in_flight_s + span_s * in_flight,
            read=minute.read + read * sharing,
            written=minute.written + written,
            written_shared=minute.written_shared + written * sharing,
        ),
    )
    return _fitted(pace) if pace.minute.span_s >= ROW_S else pace


def _widened(pace: Pace, *, span_s: float, in_flight: float, queue: float, serving: float, keep: float) -> Pace:
    """With what this interval tells of the batch limit. While the fleet changes, it tells nothing."""
    if serving < 0.5 or serving != pace.serving:
        return pace
    pace = replace(pace, widest=max(pace.widest * keep, in_flight / serving))
    if min(queue, pace.queued) < FULL_QUEUE_SHARE * in_flight:
        return pace
    return replace(
        pace,
        full_in_flight_s=pace.full_in_flight_s * keep + in_flight * span_s,
        full_serving_s=pace.full_serving_s * keep + serving * span_s,
    )


def batch_limit(pace: Pace, said: int) -> float:
    """Requests that a replica takes at once: what the service file says, corrected by what was seen."""
    seen = (said * BATCH_PRIOR_S + pace.full_in_flight_s) / (BATCH_PRIOR_S + pace.full_serving_s)
    return max(1.0, seen, min(pace.widest, BATCH_SPAN * said))


def _fitted(pace: Pace) -> Pace:
    """With the gathered row in the fit, if it tells anything of the engine."""
    minute = pace.minute
    pace = replace(pace, minute=Minute())
    found = minute.in_flight_s / minute.span_s
    if found <= 0.0:
        return pace
    a, b, c = (value / minute.span_s for value in (minute.read, minute.written, minute.written_shared))
    weight = 1.0 / (NOISE * found + NOISE_FLOOR) ** 2
    products = (a * a, a * b, a * c, b * b, b * c, c * c, a * found, b * found, c * found)
    expected = a * PRIOR.prefill_s + b * PRIOR.lone_s + c * PRIOR.shared_s
    return replace(
        pace,
        moments=tuple([old * FORGET + weight * new for old, new in zip(pace.moments, products, strict=True)]),
        found=pace.found * FORGET + found / (found + 1.0),
        expected=pace.expected * FORGET + expected / (found + 1.0),
    )


def use(pace: Pace, wait_s: float) -> float:
    """The share of a replica that can be counted on, given how uneven prompts are."""
    return max(USE_LEAST, 1.0 - LUMP_LOSS * prompt_size_s(pace) / max(WAIT_LEAST_S, wait_s))


def work_per_request_s(pace: Pace, batch: int) -> float:
    """Replica-seconds that a mean request costs."""
    now = rates(pace)
    return now.prefill_s * input_mean(pace) + now.written_s(batch_limit(pace, batch)) * output_mean(pace)


def work(record: Record, pace: Pace, batch: int, wait_s: float, last_bins: int | None = None) -> list[float]:
    """Replica-seconds asked for in each bin (the newest `last_bins`), as if prompts were even.

    A prompt is read as soon as it can be, an answer is written beside others for as long as it is long.
    """
    counted = use(pace, wait_s)
    now = rates(pace)
    prefill_s = now.prefill_s / counted
    token_s = now.written_s(batch_limit(pace, batch))
    over = max(1, round(output_mean(pace) * (now.lone_s + now.shared_s * batch / 2) / BIN_S))
    begin = 0 if last_bins is None else max(0, record.bins - last_bins)
    inputs, outputs = record.input_tokens[begin:], record.output_tokens
    if over == 1:
        return [prefill_s * read + token_s * written for read, written in zip(inputs, outputs[begin:], strict=True)]
    running = sum(outputs[max(0, begin - over) : begin])
    token_s /= over
    works = []
    for place, read in enumerate(inputs, start=begin):
        running += outputs[place]
        if place >= over:
            running -= outputs[place - over]
        works.append(prefill_s * read + token_s * max(0.0, running))
    return works


def asked_tokens(pace: Pace, arrivals: float) -> float:
    """Output tokens that so many arrivals ask for.

    At the usual length, times what the requests in flight tell: longer answers are seen there before any has ended.
    """
    prior = SURPRISE_PRIOR * SURPRISE_S
    low, high = SURPRISE_SPAN
    return arrivals * output_mean(pace) * min(high, max(low, (pace.in_flight + prior) / (pace.supposed + prior)))
