"""The schedule known afterwards keeps the promise, and in worlds small enough to try all plans, none is cheaper."""

from array import array
from dataclasses import replace
from itertools import product
from random import Random

import pytest

from fleetctl.rehearsal.batching import Pace
from fleetctl.sim.clairvoyant import BIN_S, Plan, best_constant, clairvoyant, work_floor_hours
from fleetctl.sim.scalers import Constant
from fleetctl.sim.service_world import play
from fleetctl.sim.traces import Trace
from fleetctl.sim.worlds import Stage, World

SIZES, BINS = 3, 6


def tiny_world(lead_s: float) -> World:
    """A replica that serves two requests of three seconds at once."""
    return World(
        pace=Pace(token_s=0.1, growth=0.0, prefill_s_per_token=1e-4, concurrency=2),
        cold_start=(Stage(name="boot", median_s=lead_s, spread=0.0),),
        promised_share=0.95,
    )


def tiny_trace(seed: int) -> Trace:
    """A burst or two within a minute."""
    random = Random(seed)
    arrivals_s = sorted(
        min(59.9, max(0.0, random.gauss(centre, 3.0)))
        for centre in random.sample([8.0, 20.0, 33.0, 47.0], 2)
        for _ in range(random.randint(3, 9))
    )
    count = len(arrivals_s)
    return Trace(
        arrivals_s=array("d", [round(at, 3) for at in arrivals_s]),
        input_tokens=array("I", [100] * count),
        output_tokens=array("I", [random.randint(20, 40) for _ in range(count)]),
        duration_s=BINS * BIN_S,
    )


def cheapest_of_all(world: World, trace: Trace) -> float:
    """Replica-seconds of the best of every plan there is."""
    played_in = replace(world, cold_start=(), tick_s=BIN_S)
    best_s = float("inf")
    for sizes in product(range(SIZES + 1), repeat=BINS):
        # What it costs at least is known without playing.
        if sum(sizes) * BIN_S >= best_s:
            continue
        report = play(replace(played_in, replicas_start=sizes[0]), trace, Plan(sizes=sizes))
        if report.kept:
            best_s = min(best_s, report.replica_hours * 3600 + world.cold_start_s * report.launches)
    return best_s


@pytest.mark.parametrize("seed", range(8))
def test_no_plan_of_all_is_cheaper(seed: int) -> None:
    world, trace = tiny_world(lead_s=12.0), tiny_trace(seed)
    if best_constant(world, trace) > SIZES:
        trace = trace.thin(8, seed)

    found = clairvoyant(world, trace)

    assert found.report.kept
    assert found.replica_hours * 3600 <= cheapest_of_all(world, trace) + 1e-6


def a_day_in_small() -> Trace:
    """Twenty minutes with a peak of four times the rest."""
    random, arrivals_s, at = Random(1), [], 0.0
    while at < 1200.0:
        at += random.expovariate(4.0 if 480.0 < at < 720.0 else 1.0)
        arrivals_s.append(round(at, 3))
    arrivals_s = [at for at in arrivals_s if at < 1200.0]
    return Trace(
        arrivals_s=array("d", arrivals_s),
        input_tokens=array("I", [500] * len(arrivals_s)),
        output_tokens=array("I", [100] * len(arrivals_s)),
        duration_s=1200.0,
    )


def test_it_keeps_the_promise_between_the_work_alone_and_the_best_constant_fleet() -> None:
    world, trace = World(pace=Pace(concurrency=4), cold_start=(Stage(name="boot", median_s=60.0),)), a_day_in_small()

    found = clairvoyant(world, trace, polish_requests=200_000)

    assert found.report.kept
    assert found.work_floor_hours < found.replica_hours < 0.8 * found.constant_hours
    assert found.work_floor_hours == pytest.approx(work_floor_hours(world, trace))
    again = clairvoyant(world, trace, polish_requests=200_000)
    assert again == found


def test_a_longer_boot_never_makes_it_cheaper() -> None:
    trace = a_day_in_small()
    hours = []
    for boot_s in (10.0, 100.0, 1000.0):
        world = World(pace=Pace(concurrency=4), cold_start=(Stage(name="boot", median_s=boot_s),))
        hours.append(clairvoyant(world, trace, polish_requests=200_000).replica_hours)

    assert hours == sorted(hours)


def test_one_less_than_the_best_constant_fleet_breaks_the_promise() -> None:
    world, trace = World(pace=Pace(concurrency=4)), a_day_in_small()

    size = best_constant(world, trace)

    assert play(replace(world, replicas_start=size), trace, Constant(replicas=size)).kept
    assert not play(replace(world, replicas_start=size - 1), trace, Constant(replicas=size - 1)).kept


@pytest.mark.parametrize("most", [1, 2])
def test_where_no_allowed_fleet_keeps_the_promise_the_largest_is_given_out_as_it_is(most: int) -> None:
    world, trace = World(pace=Pace(concurrency=4)), a_day_in_small()
    assert best_constant(world, trace) > most
    bounded = replace(world, replicas_max=most)

    found = clairvoyant(bounded, trace)

    assert not found.report.kept
    assert (found.constant, found.peak) == (most, most)
    largest = play(replace(bounded, replicas_start=most), trace, Constant(replicas=most))
    assert found.report.share_within == pytest.approx(largest.share_within, abs=0.01)


def test_no_plan_is_larger_than_what_is_allowed() -> None:
    world, trace = World(pace=Pace(concurrency=4), cold_start=(Stage(name="boot", median_s=60.0),)), a_day_in_small()
    least = best_constant(world, trace)

    bounded = clairvoyant(replace(world, replicas_max=least), trace, polish_requests=200_000)
    free = clairvoyant(world, trace, polish_requests=200_000)

    assert bounded.report.kept
    assert bounded.constant == free.constant == least
    assert bounded.peak <= least
    assert bounded.replica_hours >= 0.97 * free.replica_hours, "what is allowed less is not cheaper, by chance apart"
