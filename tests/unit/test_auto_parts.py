"""The parts of `auto`, each on figures that can be worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.decide.auto.backtest import base, least, most, tried
from fleetctl.decide.auto.demand import PRIOR, asked_tokens, batch_limit, learned, rates, use, work
from fleetctl.decide.auto.demand import scale as engine_scale
from fleetctl.decide.auto.doubt import newness, stressed, unevenness, youth
from fleetctl.decide.auto.leads import Lead, lead, watched
from fleetctl.decide.auto.record import extended
from fleetctl.decide.auto.requirement import misses_of_constant, smallest_constant
from fleetctl.decide.auto.trend import Trend, found, lifted
from fleetctl.model.learning import BIN_S, Leads, Pace, Record

GUESS = Lead(cold_s=270.0, standby_s=8.0)


def test_an_interval_is_spread_over_its_bins() -> None:
    record = extended(Record(), since=2.0, until=12.0, arrivals=10, input_tokens=100, output_tokens=50)

    assert record == Record(
        first=0, arrivals=(3.0, 5.0, 2.0), input_tokens=(30.0, 50.0, 20.0), output_tokens=(15.0, 25.0, 10.0)
    )


def test_the_smallest_fleet_lets_wait_what_was_promised() -> None:
    # Ten bins of one replica's work, then a burst: 40 s of work in one bin.
    works, arrivals = [5.0] * 10 + [40.0] + [5.0] * 10, [1.0] * 21

    sizes = [smallest_constant(works, arrivals, allowed, 5.0, 100) for allowed in (0.0, 2.0, 30.0)]

    assert sizes == [4, 3, 1], "40 − 4·5 waits 5 s at 4 replicas; at 3 two bins miss; at 1 all of them may"


@given(
    works=st.lists(st.floats(0, 60), min_size=1, max_size=60),
    allowed=st.integers(0, 5),
    wait_s=st.floats(0, 20),
)
def test_the_smallest_constant_fleet_keeps_the_promise_and_one_less_does_not(
    works: list[float], allowed: int, wait_s: float
) -> None:
    arrivals = [1.0] * len(works)

    size = smallest_constant(works, arrivals, allowed, wait_s, 1000)

    assert misses_of_constant(works, arrivals, size, wait_s) <= allowed
    if size > 1:
        assert misses_of_constant(works, arrivals, size - 1, wait_s) > allowed


@given(values=st.lists(st.floats(-5, 5), max_size=40), bins=st.integers(0, 10))
def test_sliding_extremes_are_those_of_the_window(values: list[float], bins: int) -> None:
    windows = [values[max(0, place - bins) : place + 1] for place in range(len(values))]

    largest, smallest = most(values, bins), least(values, bins)

    assert largest == [max(window) for window in windows]
    assert smallest == [min(window) for window in windows]


def test_a_mean_knows_only_what_was_seen_by_then() -> None:
    wanted = base([5.0, 10.0, 20.0, 0.0, 0.0, 0.0], 10.0, 1.0)

    assert wanted == [0.0, 0.0, 1.0, 1.5, 3.0, 2.0]


def test_standby_makes_a_follower_cheaper_where_it_costs_little() -> None:
    # Long calm at one replica, long peaks at ten: worth following, if one can in time.
    works = ([5.0] * 300 + [50.0] * 60) * 3
    arrivals = list(works)

    def cost(standby: int, share: float) -> float:
        outcome = tried(
            works,
            arrivals,
            window_s=30.0,
            gain=1.0,
            standby=standby,
            standby_share=share,
            hold_s=60.0,
            cold_s=270.0,
            standby_s=8.0,
            allowed=0.02 * sum(arrivals),
            wait_s=5.0,
            limit=12,
        )
        assert outcome is not None
        return outcome.cost

    assert cost(9, 0.1) < cost(0, 0.1)
    assert cost(9, 0.1) < cost(9, 0.9)


def paced(slowness: float, *, minutes: float, serving: float = 6.0, answer: float = 100.0, queue: float = 0.0) -> Pace:
    """What is learned of an engine so much slower than the prior, by Little's law on a busy fleet."""
    prefill_s, lone_s, shared_s = (slowness * rate for rate in PRIOR)
    pace = Pace()
    prompt = 1000.0
    for _ in range(round(minutes * 12)):
        # Each replica has four in its batch.
        sharing = 4.0
        cost_s = lone_s * answer / sharing + shared_s * answer + prefill_s * prompt
        came = 5.0 * serving / cost_s
        pace = learned(
            pace,
            span_s=5.0,
            concurrency=queue + sharing * serving,
            queue=queue,
            serving=serving,
            arrivals=came,
            input_tokens=came * prompt,
            output_tokens=came * answer,
            completed=came,
        )
    return pace


@pytest.mark.parametrize("slowness", [1 / 8, 1 / 2, 1.0, 3.0, 10.0])
def test_an_engine_of_any_speed_is_known_within_two_minutes(slowness: float) -> None:
    pace = paced(slowness, minutes=2.0)

    assert engine_scale(pace) == pytest.approx(slowness, rel=0.2)
    for one, prior in zip(rates(pace), PRIOR, strict=True):
        assert one == pytest.approx(slowness * prior, rel=0.25)


def test_a_full_fleet_with_a_queue_tells_the_same_of_the_engine() -> None:
    without, full = paced(4.0, minutes=10.0), paced(4.0, minutes=10.0, queue=40.0)

    assert rates(full).prefill_s == pytest.approx(rates(without).prefill_s, rel=0.1)
    assert rates(full).written_s(16) == pytest.approx(rates(without).written_s(16), rel=0.1)


def test_without_evidence_the_priors_stand() -> None:
    assert rates(Pace()) == pytest.approx(PRIOR)
    assert use(Pace(), 5.0) == 1.0


def test_unknown_answers_are_not_taken_for_empty_ones() -> None:
    known = paced(1.0, minutes=5.0)
    pace = known
    for _ in range(24):
        pace = learned(
            pace,
            span_s=5.0,
            concurrency=24.0,
            queue=0.0,
            serving=6.0,
            arrivals=50.0,
            input_tokens=50_000.0,
            output_tokens=None,
            completed=None,
        )

    assert asked_tokens(pace, 1.0) > 0.5 * asked_tokens(known, 1.0)


def told(said: int, each: float, queue: float) -> float:
    """The batch limit believed after ten minutes of so many in flight on each of five replicas, beside a queue."""
    pace = Pace()
    for _ in range(120):
        pace = learned(
            pace,
            span_s=5.0,
            concurrency=5 * each + queue,
            queue=queue,
            serving=5.0,
            arrivals=10.0,
            input_tokens=10_000.0,
            output_tokens=1000.0,
            completed=10.0,
        )
    return batch_limit(pace, said)


def test_a_wrong_batch_limit_is_corrected_by_what_is_seen() -> None:
    assert told(32, 16.0, queue=100.0) == pytest.approx(16.0, rel=0.05), "twice too high, seen under a queue"
    assert told(8, 16.0, queue=0.0) == pytest.approx(16.0), "twice too low, seen at once"
    assert told(32, 16.0, queue=0.0) == 32.0, "half full without a queue says nothing"


def test_longer_answers_are_seen_before_they_end() -> None:
    pace = paced(1.0, minutes=10.0)
    usual = asked_tokens(pace, 1.0)

    # For a minute nobody ends, and those in flight are twice as many.
    for _ in range(12):
        pace = learned(
            pace,
            span_s=5.0,
            concurrency=60.0,
            queue=0.0,
            serving=6.0,
            arrivals=40.0,
            input_tokens=40_000.0,
            output_tokens=0.0,
            completed=0.0,
        )

    assert asked_tokens(pace, 1.0) > 1.1 * usual


def test_a_prompt_is_work_at_once_and_an_answer_for_as_long_as_it_is_written() -> None:
    pace = paced(1.0, minutes=30.0, answer=800.0)
    read = Record(arrivals=(0.0,) * 8, input_tokens=(0.0, 8000.0, *(0.0,) * 6), output_tokens=(0.0,) * 8)
    written = Record(arrivals=(0.0,) * 8, input_tokens=(0.0,) * 8, output_tokens=(0.0, 8000.0, *(0.0,) * 6))

    prompt, answer = work(read, pace, 16, 5.0), work(written, pace, 16, 5.0)

    assert [one > 0 for one in prompt] == [False, True, *[False] * 6]
    assert [one > 0 for one in answer] == [False, True, True, True, True, False, False, False]
    assert work(written, pace, 16, 5.0, 5) == answer[3:]


def test_uneven_prompts_leave_less_of_a_replica() -> None:
    pace = Pace()
    for number in range(400):
        # One in ten prompts has 60,000 tokens, the others a thousand.
        tokens = 60_000 if number % 10 == 0 else 1000
        pace = learned(
            pace,
            span_s=1.0,
            concurrency=1.0,
            queue=0.0,
            serving=2,
            arrivals=1,
            input_tokens=tokens,
            output_tokens=1,
            completed=1,
        )

    assert 0.35 <= use(pace, 5.0) < 0.6
    assert use(pace, 60.0) > 0.9


def test_starts_are_told_apart_and_timed() -> None:
    leads = Leads()
    steps = [
        (3, (0.0,)),
        (3, (5.0, 0.0)),
        (4, (5.0,)),  # one started within ten seconds: from standby
        (4, (305.0,)),
        (5, ()),  # one took five minutes: cold
        (5, (0.0,)),
        (5, ()),  # given up: no start at all
    ]
    spans_s = [5.0, 5.0, 5.0, 300.0, 5.0, 5.0, 5.0]
    for span_s, (ready, ages) in zip(spans_s, steps, strict=True):
        leads = watched(leads, span_s=span_s, ready=ready, ages=ages, guess=GUESS)

    assert leads.standby == (7.5,)
    assert leads.cold == (307.5,)
    assert lead(leads, GUESS).cold_s == 307.5


def test_a_start_that_is_overdue_lengthens_the_lead() -> None:
    leads = Leads(ages=(900.0,))

    planned = lead(leads, GUESS)

    assert planned == Lead(cold_s=900.0, standby_s=8.0)


def test_doubt_fades_with_age_and_is_small_where_all_minutes_are_alike() -> None:
    steady, bursty = [5.0, 6.0] * 200, ([1.0] * 90 + [30.0] * 10) * 2 + [1.0] * 200

    assert youth(0.0, 270.0) == newness(0.0, 270.0) == 1.0
    assert youth(10_000.0, 270.0) == newness(10_000.0, 270.0) == 0.0
    assert unevenness(steady) < 0.05 < 0.5 < unevenness(bursty)
    assert stressed(bursty, 0.0) == bursty
    assert max(stressed(bursty, 1.0)) > 1.3 * max(bursty)
    assert max(steady) < max(stressed(steady, 1.0)) < 1.1 * max(steady)


@pytest.mark.parametrize(
    ("load", "rising"),
    [
        pytest.param(lambda place: 5.0 + 0.02 * place, True, id="a ramp"),
        pytest.param(lambda place: 5.0, False, id="steady"),
        pytest.param(lambda place: 20.0 - 0.02 * place, False, id="a fall"),
        pytest.param(lambda place: 5.0 if place < 108 else 12.0, False, id="a step does not go on rising"),
        pytest.param(lambda place: 5.0 + (place * 7919 % 13), False, id="noise"),
    ],
)
def test_only_a_lasting_rise_is_a_trend(load: object, rising: bool) -> None:
    assert callable(load)
    works = [float(load(place)) for place in range(200)]

    trend = found(works, 270.0)

    assert (trend.slope > 0) is rising


def test_what_was_is_lifted_to_what_will_be() -> None:
    works = [5.0 + 0.02 * place for place in range(200)]
    trend = Trend(bins=162, level=9.0, slope=0.02)

    then = lifted(works, trend, 270.0)

    assert then[:38] == works[:38]
    assert then[199] == pytest.approx(works[199] * 10.08 / 8.98, rel=0.01)
    assert max(one / was for one, was in zip(then, works, strict=True)) <= 1.5 + 1e-9
    assert round(270.0 / BIN_S) == 54
