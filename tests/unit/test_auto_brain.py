"""The policy `auto`: restart-proof, bounded, and right on traffic whose need is known."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetctl.decide.auto.brain import Observation, Parameters, Wish, step
from fleetctl.decide.auto.record import BINS_LIMIT
from fleetctl.model.learning import Learned, Record, Rule

STATE_LIMIT_BYTES = 60_000
PARAMETERS = Parameters(minimum=1, maximum=50, cold_s=60.0, standby_s=8.0)
OBSERVATIONS = st.builds(
    Observation,
    ready=st.integers(0, 20),
    starting_ages_s=st.lists(st.floats(0, 400), max_size=4).map(lambda ages: tuple(sorted(ages, reverse=True))),
    standby=st.integers(0, 3),
    concurrency=st.none() | st.floats(0, 500) | st.just(math.nan),
    queue=st.none() | st.floats(0, 200),
    arrivals=st.none() | st.integers(0, 200) | st.just(-1),
    input_tokens=st.none() | st.integers(0, 400_000),
    output_tokens=st.none() | st.integers(0, 40_000),
    completed=st.none() | st.integers(0, 200),
)
GAPS_S = st.sampled_from([1.0, 5.0, 5.0, 17.0, 30.0, 400.0, 0.0, -5.0])


@dataclass(slots=True)
class Fleet:
    """A fluid service of which the need is known: each request is `work_s` of reading, on `ready` replicas."""

    parameters: Parameters
    cold_s: float = 60.0
    work_s: float = 0.5
    ready: int = 1
    state: Learned = Learned()

    def run(self, rate: Callable[[float], float], duration_s: float, tick_s: float = 5.0) -> list[Wish]:
        backlog_s, wishes = 0.0, []
        ordered_at: list[float] = []
        for number in range(round(duration_s / tick_s)):
            now = number * tick_s
            while ordered_at and now - ordered_at[0] >= self.cold_s:
                ordered_at.pop(0)
                self.ready += 1
            came = rate(now) * tick_s
            served_s = min(backlog_s + came * self.work_s, self.ready * tick_s)
            backlog_s += came * self.work_s - served_s
            # Who reads beside another reads half as fast for half of the time; those who wait fill the batches first.
            busy = served_s / tick_s
            alone = busy / (1 - 0.5 * min(0.8, busy / self.ready)) if self.ready else 0.0
            waiting = backlog_s / self.work_s
            running = min(max(alone, waiting), float(self.ready * self.parameters.batch))
            queue = max(0.0, waiting - running)
            wish, self.state = step(
                self.parameters,
                self.state,
                Observation(
                    ready=self.ready,
                    starting_ages_s=tuple([now - at for at in ordered_at]),
                    concurrency=queue + running,
                    queue=queue,
                    arrivals=came,
                    input_tokens=round(came * self.work_s / 1.4e-4),
                    output_tokens=came,
                    completed=served_s / self.work_s,
                ),
                now,
            )
            more = wish.desired - self.ready - len(ordered_at)
            ordered_at += [now] * max(0, more)
            fewer = max(0, -more)
            cancelled = min(fewer, len(ordered_at))
            ordered_at = ordered_at[: len(ordered_at) - cancelled]
            self.ready -= fewer - cancelled
            wishes.append(wish)
        return wishes


def played(seen: Sequence[tuple[float, Observation]], *, restarts: bool) -> list[Wish]:
    now, state, wishes = 0.0, Learned(), []
    for gap_s, observation in seen:
        now += gap_s
        if restarts:
            state = msgspec.json.decode(msgspec.json.encode(state), type=Learned)
        wish, state = step(PARAMETERS, state, observation, now)
        wishes.append(wish)
    return wishes


@settings(deadline=None, max_examples=60)
@given(seen=st.lists(st.tuples(GAPS_S, OBSERVATIONS), max_size=60))
def test_a_restart_after_any_tick_changes_nothing(seen: list[tuple[float, Observation]]) -> None:
    unbroken = played(seen, restarts=False)

    restarted = played(seen, restarts=True)

    assert restarted == unbroken


@settings(deadline=None, max_examples=60)
@given(seen=st.lists(st.tuples(GAPS_S, OBSERVATIONS), max_size=60))
def test_wishes_stay_within_the_limits_and_say_why(seen: list[tuple[float, Observation]]) -> None:
    wishes = played(seen, restarts=False)

    for wish in wishes:
        assert PARAMETERS.minimum <= wish.desired <= PARAMETERS.maximum
        assert wish.standby == 0
        assert wish.reason
        assert wish.binding in {"signal", "rule", "start", "backlog", "load", "misses", "calm", "idle", "min", "max"}


def test_a_restart_in_the_middle_of_a_long_day_changes_nothing() -> None:
    random = Random(3)
    unbroken, broken = Fleet(PARAMETERS), Fleet(PARAMETERS)
    rates = [random.uniform(2, 14) for _ in range(400)]
    unbroken.run(lambda now: rates[int(now / 30)], 3000)
    broken.run(lambda now: rates[int(now / 30)], 3000)
    broken.state = msgspec.json.decode(msgspec.json.encode(broken.state), type=Learned)
    observation = Observation(ready=5, concurrency=9.0, queue=0.0, arrivals=40, input_tokens=160_000)

    one = step(PARAMETERS, unbroken.state, observation, 3000.0)
    other = step(PARAMETERS, broken.state, observation, 3000.0)

    assert one == other
    assert one[1].rule is not None


@pytest.mark.parametrize(
    ("unknown", "why"),
    [
        pytest.param({"concurrency": None}, "concurrency is unknown", id="no concurrency"),
        pytest.param({"concurrency": math.nan}, "concurrency is unknown", id="not a number"),
        pytest.param({"arrivals": None}, "arrivals is unknown", id="no arrivals"),
        pytest.param({"arrivals": -4}, "arrivals is unknown", id="a counter that went backwards"),
        pytest.param({"input_tokens": None}, "input tokens is unknown", id="no tokens"),
    ],
)
def test_the_unknown_holds_a_fleet_that_would_shrink(unknown: dict[str, float | None], why: str) -> None:
    fleet = Fleet(PARAMETERS, ready=3)
    fleet.run(lambda now: 2.0, 1500)
    known = Observation(ready=20, concurrency=1.0, queue=0.0, arrivals=10, input_tokens=36_000)

    held, _ = step(PARAMETERS, fleet.state, replace(known, **unknown), 1500.0)
    shrunk, _ = step(PARAMETERS, fleet.state, known, 1500.0)

    assert (held.desired, held.binding) == (20, "signal")
    assert why in held.reason
    assert shrunk.desired < 20


def test_time_that_runs_backwards_holds_and_is_not_remembered() -> None:
    fleet = Fleet(PARAMETERS, ready=3)
    fleet.run(lambda now: 2.0, 600)
    observation = Observation(ready=9, concurrency=1.0, queue=0.0, arrivals=10, input_tokens=36_000)

    wish, state = step(PARAMETERS, fleet.state, observation, 300.0)

    assert (wish.desired, wish.binding) == (9, "signal")
    assert state == fleet.state


def test_a_steady_load_gets_what_it_needs_and_little_more() -> None:
    fleet = Fleet(PARAMETERS, ready=10)

    wishes = fleet.run(lambda now: 16.0, 5400)

    assert len({wish.desired for wish in wishes[-100:]}) == 1
    assert 9 <= wishes[-1].desired <= 10, "8 replicas' work, and room for doubt and fluctuation"


def test_the_fleet_it_began_with_is_kept_until_there_is_history() -> None:
    fleet = Fleet(PARAMETERS, ready=20)

    wishes = fleet.run(lambda now: 2.0, 600)

    assert [wish.desired for wish in wishes[:24]] == [20] * 24, "two cold starts of a minute"
    assert wishes[-1].desired < 5


def test_more_load_never_gets_fewer_replicas() -> None:
    settled = [
        Fleet(PARAMETERS, ready=10).run(lambda now, rate=rate: rate, 4000)[-1].desired for rate in (2, 4, 8, 16, 32, 60)
    ]

    assert settled == sorted(settled)
    assert settled[0] < settled[-1]


@pytest.mark.parametrize("cold_s", [20.0, 60.0, 270.0, 480.0])
def test_a_step_is_not_ordered_twice_over(cold_s: float) -> None:
    fleet = Fleet(replace(PARAMETERS, cold_s=cold_s), cold_s=cold_s, ready=6)

    wishes = fleet.run(lambda now: 10.0 if now < 4000 else 24.0, 7000)

    needed = 12
    peak = max([wish.desired for wish in wishes[800:]])
    assert needed <= peak <= 1.3 * needed, "peak ordered after ×2.4"


def test_a_gap_in_the_signals_is_no_calm() -> None:
    fleet = Fleet(PARAMETERS, ready=9)
    fleet.run(lambda now: 16.0, 3000)
    observation = Observation(ready=9, concurrency=8.0, queue=0.0, arrivals=16 * 900, input_tokens=16 * 900 * 3571)

    wish, state = step(PARAMETERS, fleet.state, observation, 3900.0)

    assert wish.desired >= 9
    assert min(state.record.arrivals[-100:-2]) > 60, "sixteen a second, in bins of five seconds"


def test_a_service_that_may_go_to_zero_does_and_comes_back_at_once() -> None:
    fleet = Fleet(replace(PARAMETERS, minimum=0), ready=2)

    wishes = fleet.run(lambda now: 4.0 if now < 1000 or now >= 4000 else 0.0, 4100)

    assert wishes[700].desired == 0
    assert wishes[700].binding == "idle"
    assert wishes[800].desired >= 1


def test_a_queue_that_is_not_measured_is_what_the_batches_have_no_room_for() -> None:
    fleet = Fleet(PARAMETERS, ready=4)
    fleet.run(lambda now: 6.0, 3000)
    flooded = Observation(ready=4, concurrency=264.0, queue=200.0, arrivals=60, input_tokens=60 * 3571)

    told, _ = step(PARAMETERS, fleet.state, flooded, 3000.0)
    untold, _ = step(PARAMETERS, fleet.state, replace(flooded, queue=None), 3000.0)

    assert untold.desired == told.desired > 4


@pytest.mark.parametrize("seed", range(8))
def test_silence_after_load_is_no_load_below_zero(seed: int) -> None:
    # Of some of these the running sum of what came and went ends a hair below zero.
    random = Random(seed)
    loads = tuple([round(random.uniform(0, 50), 1) for _ in range(120)] + [0.0] * 180)
    record = Record(arrivals=loads, input_tokens=tuple([1000.3 * load for load in loads]), output_tokens=loads)
    rule = Rule(window_s=1200.0, gain=1.0, extra=0.5, limit=5)
    learned = Learned(at=1495.0, record=record, rule=rule, tested_at=1495.0)
    silent = Observation(ready=3, concurrency=0.0, queue=0.0, arrivals=0, input_tokens=0, output_tokens=0, completed=0)

    wish, _ = step(PARAMETERS, learned, silent, 1500.0)

    assert wish.desired == 1


def test_the_state_of_a_busy_service_stays_small() -> None:
    parameters = Parameters(minimum=1, maximum=1000, cold_s=620.0)
    state, random = Learned(), Random(1)
    for number in range(BINS_LIMIT + 300):
        arrivals = random.randint(500, 900)
        observation = Observation(
            ready=400,
            starting_ages_s=tuple([float(age) for age in range(50, 0, -1)]),
            concurrency=5000.123,
            queue=12.5,
            arrivals=arrivals,
            input_tokens=arrivals * 1003,
            output_tokens=arrivals * 207,
            completed=arrivals,
        )
        # Back-tests take most of the time, and no room.
        _, state = step(parameters, replace(state, tested_at=number * 5.0), observation, number * 5.0)

    assert state.record.bins == BINS_LIMIT
    assert len(msgspec.json.encode(state)) <= STATE_LIMIT_BYTES
