"""A world of one Service: nobody is lost, every second is billed once, and the same seed gives the same bytes."""

from array import array
from collections.abc import Sequence
from dataclasses import replace
from math import ceil, isfinite
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetctl.decide.lines import ServiceLine, Signals, Starting
from fleetctl.errors import UsageError
from fleetctl.rehearsal.batching import Pace
from fleetctl.sim.scalers import Constant, Wish
from fleetctl.sim.service_world import ServiceRun, play
from fleetctl.sim.traces import Trace
from fleetctl.sim.worlds import Stage, World

EXACT = (Stage(name="boot", median_s=100.0, spread=0.0),)
WAKE = Stage(name="wake", median_s=8.0, spread=0.0)


def a_trace(seed: int, *, requests: int = 300, duration_s: float = 300.0, output_tokens: int = 60) -> Trace:
    random = Random(seed)
    arrivals_s = sorted(random.uniform(0.0, duration_s) for _ in range(requests))
    return Trace(
        arrivals_s=array("d", arrivals_s),
        input_tokens=array("I", [random.randint(1, 3000) for _ in arrivals_s]),
        output_tokens=array("I", [random.randint(1, 2 * output_tokens) for _ in arrivals_s]),
        duration_s=duration_s,
        note="chat",
    )


def quiet(duration_s: float) -> Trace:
    """One request in the first second and then nothing."""
    return Trace(
        arrivals_s=array("d", [0.5]),
        input_tokens=array("I", [100]),
        output_tokens=array("I", [10]),
        duration_s=duration_s,
        note="chat",
    )


class Script:
    """A scaler that wants what is written for each time, and keeps what it was shown."""

    def __init__(self, wishes: Sequence[tuple[float, int]], standby: int | None = None) -> None:
        self._wishes = wishes
        self._standby = standby
        self.shown: list[tuple[float, ServiceLine]] = []

    def observe(self, now: float, seen: ServiceLine) -> Wish:
        self.shown.append((now, seen))
        desired = [desired for at, desired in self._wishes if at <= now][-1]
        return Wish(desired=desired, standby=self._standby)

    def ready_at(self, count: int) -> float:
        return next(now for now, seen in self.shown if seen.ready >= count)


class Restless:
    """A scaler that wants another fleet every tick, zero included."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def observe(self, now: float, seen: ServiceLine) -> Wish:
        # In the end it lets the rest be served.
        if now > 400.0:
            return Wish(desired=2)
        return Wish(desired=self._random.choice([0, 1, 2, 3, 8]), standby=self._random.choice([None, 0, 1, 3]))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), reclaims=st.sampled_from([0.0, 30.0]), limit=st.sampled_from([1, 4, 16]))
def test_every_request_is_served_once_whatever_the_scaler_does(seed: int, reclaims: float, limit: int) -> None:
    trace = a_trace(seed)
    world = World(
        pace=Pace(concurrency=limit),
        cold_start=(Stage(name="boot", median_s=30.0, spread=0.5),),
        reclaims_per_hour=reclaims,
        reclaim_notice_s=1.0,
        stock_outs=((60.0, 120.0),),
    )
    run = ServiceRun(world, trace, Restless(seed), seed)

    run.play()

    report = run.report()
    assert report.completed == report.requests == len(trace)
    assert all(map(isfinite, run.done_at))
    assert all(
        arrival_s < first <= done
        for arrival_s, first, done in zip(trace.arrivals_s, run.first_token_at, run.done_at, strict=True)
    )
    if not reclaims:
        assert set(run.starts) == {1}
    assert min(run.starts) >= 1


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_what_the_scaler_is_shown_adds_up(seed: int) -> None:
    trace = a_trace(seed)
    scaler = Script([(0.0, 2)])
    run = ServiceRun(World(replicas_start=2), trace, scaler, seed)

    run.play()

    shown = [seen.signals for _, seen in scaler.shown]
    assert shown[0] == Signals()  # nothing is known before the first measuring
    until = 3.0 + 5.0 * (len(shown) - 2)  # the last line tells of the time up to two seconds before it
    arrived = [number for number, at in enumerate(trace.arrivals_s) if at <= until]
    assert sum(each.arrivals or 0 for each in shown) == len(arrived)
    assert sum(each.input_tokens or 0 for each in shown) == sum(trace.input_tokens[number] for number in arrived)
    ended = [number for number, at in enumerate(run.done_at) if at <= until]
    assert sum(each.completed or 0 for each in shown) == len(ended)
    assert sum(each.output_tokens or 0 for each in shown) == sum(trace.output_tokens[number] for number in ended)
    # Little's law: the time that requests spend here is the integral of how many are here.
    spent_s = sum(min(run.done_at[number], until) - trace.arrivals_s[number] for number in arrived)
    area_s = 3.0 * (shown[1].concurrency or 0.0) + 5.0 * sum(each.concurrency or 0.0 for each in shown[2:])
    assert area_s == pytest.approx(spent_s, abs=0.01)


def test_generated_tokens_come_to_the_same_in_the_end() -> None:
    trace = a_trace(3, output_tokens=400)
    totals = []
    for counted in ("completed", "generated"):
        scaler = Script([(0.0, 3), (100.0, 1), (200.0, 2)])
        world = World(replicas_start=3, cold_start=EXACT, output_counted=counted)

        play(world, replace(trace, duration_s=600.0), scaler)

        totals.append(sum(seen.signals.output_tokens or 0 for _, seen in scaler.shown))
    assert totals[0] == totals[1] == sum(trace.output_tokens)


def test_a_replica_is_billed_from_its_order_to_its_end() -> None:
    scaler = Script([(0.0, 1), (100.0, 3), (400.0, 1)])

    report = play(World(replicas_start=1, cold_start=EXACT), quiet(1000.0), scaler)

    assert report.replica_hours * 3600 == pytest.approx(1000.0 + 2 * 300.0)
    assert report.launches == 2
    assert scaler.ready_at(3) == 200.0
    assert report.scale_actions == 2
    assert report.reversals == 1
    assert report.peak_ordered == 3


def test_a_replica_that_still_boots_goes_first_and_is_billed_until_then() -> None:
    scaler = Script([(0.0, 2), (50.0, 1)])

    report = play(World(replicas_start=1, cold_start=EXACT), quiet(1000.0), scaler)

    assert report.replica_hours * 3600 == pytest.approx(1000.0 + 50.0)
    assert max(seen.ready for _, seen in scaler.shown) == 1


def test_what_runs_on_a_leaving_replica_ends_there_and_is_billed() -> None:
    long = Trace(
        arrivals_s=array("d", [1.0]),
        input_tokens=array("I", [1]),
        output_tokens=array("I", [1000]),
        duration_s=100.0,
        note="chat",
    )
    scaler = Script([(0.0, 1), (5.0, 0)])
    run = ServiceRun(World(replicas_start=1), long, scaler)

    run.play()

    assert run.done_at[0] == pytest.approx(21.0, abs=0.01)
    assert run.report().replica_hours * 3600 == pytest.approx(21.0, abs=0.01)
    assert [seen.draining for now, seen in scaler.shown if 5.0 < now < 21.0] == [1, 1, 1]


def test_standby_wakes_first_and_takes_a_cold_start_to_refill() -> None:
    scaler = Script([(0.0, 1), (10.0, 4), (300.0, 5)])
    world = World(replicas_start=1, cold_start=EXACT, standby_start=WAKE, standby=2, standby_share=0.5)

    report = play(world, quiet(1000.0), scaler)

    shown = dict(scaler.shown)
    assert (shown[15.0].ready, shown[15.0].standby) == (1, 0)
    assert shown[20.0].ready == 3  # two woke within eight seconds…
    assert shown[105.0].ready == 3
    assert shown[110.0].ready == 4  # …the third started cold
    assert shown[105.0].standby == 0
    assert shown[110.0].standby == 2  # and the stock was filled up cold, too
    assert shown[310.0].ready == 5
    assert (report.wakes, report.launches) == (3, 1 + 2 + 1)
    # Two units for 10 s, two from 110 s to 300 s, one and from 400 s two to the end.
    standing_s = 2 * 10.0 + 2 * 190.0 + 1 * 100.0 + 2 * 600.0
    assert report.standby_hours * 3600 == pytest.approx(standing_s)
    booting_s = 2 * 100.0 + 1 * 100.0
    assert report.replica_hours * 3600 == pytest.approx(1000.0 + 3 * 990.0 + 700.0 + booting_s)
    assert report.gpu_hours == pytest.approx(report.replica_hours + 0.5 * report.standby_hours)


def test_in_a_stock_out_launches_fail_until_it_is_over() -> None:
    scaler = Script([(0.0, 1), (10.0, 2)])
    world = World(replicas_start=1, cold_start=EXACT, stock_outs=((5.0, 50.0),))

    report = play(world, quiet(500.0), scaler)

    assert report.launches_failed == ceil((50 - 10) / 5)
    assert scaler.ready_at(2) == 150.0


def test_a_reclaimed_replica_is_gone_and_what_it_had_starts_anew() -> None:
    trace = a_trace(5, requests=200, output_tokens=500)
    run = ServiceRun(
        World(replicas_start=3, cold_start=EXACT, reclaims_per_hour=60.0, reclaim_notice_s=2.0),
        trace,
        Constant(replicas=3),
    )

    run.play()

    assert run.report().reclaimed > 3
    assert max(run.starts) > 1
    assert run.report().completed == 200


@pytest.mark.parametrize(
    ("tick_s", "delay_s", "first_known"),
    [(5.0, 2.0, 5.0), (10.0, 2.0, 10.0), (5.0, 0.0, 5.0), (5.0, 30.0, 35.0)],
)
def test_signals_are_as_old_as_the_metric_delay_says(tick_s: float, delay_s: float, first_known: float) -> None:
    scaler = Script([(0.0, 1)])

    play(World(tick_s=tick_s, metric_delay_s=delay_s), quiet(100.0), scaler)

    assert next(now for now, seen in scaler.shown if seen.signals.arrivals is not None) == first_known


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    def played(seed: int) -> bytes:
        world = World(reclaims_per_hour=20.0, cold_start=(Stage(name="boot", median_s=40.0, spread=0.5),))
        return msgspec.json.encode(play(world, a_trace(1), Restless(1), seed=seed))

    first, again, other = played(7), played(7), played(8)

    assert first == again
    assert first != other


def test_what_a_scaler_is_shown_is_a_line_of_decide() -> None:
    seen = ServiceLine(
        name="chat",
        ready=3,
        starting=(Starting(age_s=40.0),),
        draining=0,
        standby=2,
        signals=Signals(concurrency=41.0, queue=9.0, arrivals=12, input_tokens=8123, output_tokens=2311, completed=11),
    )

    line = msgspec.json.decode(msgspec.json.encode(seen))

    line["signals"] = {name: value for name, value in line["signals"].items() if value}
    assert line == {
        "name": "chat",
        "ready": 3,
        "starting": [{"age_s": 40.0}],
        "draining": 0,
        "standby": 2,
        "signals": {
            "concurrency": 41.0,
            "queue": 9.0,
            "arrivals": 12,
            "input_tokens": 8123,
            "output_tokens": 2311,
            "completed": 11,
        },
    }


def test_a_wish_below_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="wants -1 replicas"):
        play(World(), quiet(60.0), Constant(replicas=-1))


def test_the_queue_is_first_come_first_served() -> None:
    trace = a_trace(2, requests=60, duration_s=10.0)
    alike = replace(trace, input_tokens=array("I", [100] * 60), output_tokens=array("I", [30] * 60))
    run = ServiceRun(World(pace=Pace(concurrency=2)), alike, Constant(replicas=1))

    run.play()

    assert list(run.first_token_at) == sorted(run.first_token_at)
    assert max(run.waits()) > 5.0
