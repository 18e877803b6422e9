"""Services that share a pool: never more than it has, nobody lost, one standby for all, the same bytes."""

from array import array
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetctl.decide.lines import ServiceLine
from fleetctl.errors import UsageError
from fleetctl.sim.scalers import Constant, Scaler, Wish
from fleetctl.sim.service_world import play
from fleetctl.sim.shared_pool import Member, SharedPool, TogetherReport, play_together
from fleetctl.sim.traces import Trace
from fleetctl.sim.worlds import Stage, World

EXACT = (Stage(name="boot", median_s=100.0, spread=0.0),)
WORLD = World(cold_start=EXACT, standby_start=Stage(name="wake", median_s=8.0, spread=0.0))


def a_trace(seed: int, *, requests: int = 150, duration_s: float = 600.0) -> Trace:
    random = Random(seed)
    arrivals_s = sorted(random.uniform(0.0, duration_s) for _ in range(requests))
    return Trace(
        arrivals_s=array("d", arrivals_s),
        input_tokens=array("I", [random.randint(1, 3000) for _ in arrivals_s]),
        output_tokens=array("I", [random.randint(1, 100) for _ in arrivals_s]),
        duration_s=duration_s,
    )


class Script:
    """Wants what is written for each time, and so many on standby."""

    def __init__(self, wishes: Sequence[tuple[float, int]], standby: int = 0) -> None:
        self._wishes = wishes
        self._standby = standby
        self.shown: list[tuple[float, ServiceLine]] = []

    def observe(self, now: float, seen: ServiceLine) -> Wish:
        self.shown.append((now, seen))
        return Wish(desired=[count for at, count in self._wishes if at <= now][-1], standby=self._standby)


class Restless:
    """Wants another fleet every tick."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def observe(self, now: float, seen: ServiceLine) -> Wish:
        if now > 600.0:
            return Wish(desired=1, standby=0)
        return Wish(desired=self._random.choice([0, 1, 2, 5]), standby=self._random.choice([0, 1, 3]))


def member(name: str, scaler: Scaler, *, gpus: int = 1, seed: int = 1, own: bool = False) -> Member:
    return Member(name=name, world=replace(WORLD, gpus=gpus), trace=a_trace(seed), scaler=scaler, standby_own=own)


def peak_gpus(report: TogetherReport, gpus: Sequence[int]) -> int:
    """Most GPUs of replicas ordered at once, from the timelines."""
    moments = sorted(
        (moment.at, which, moment.ordered)
        for which, service in enumerate(report.services)
        for moment in service.timeline
    )
    now, most = [0] * len(gpus), 0
    for place, (at, which, ordered) in enumerate(moments):
        now[which] = ordered
        if place + 1 == len(moments) or moments[place + 1][0] > at:
            most = max(most, sum(count * each for count, each in zip(now, gpus, strict=True)))
    return most


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), most=st.integers(3, 8))
def test_the_pool_never_has_more_than_it_has_and_nobody_is_lost(seed: int, most: int) -> None:
    members = [
        member("chat", Restless(seed), seed=seed),
        member("code", Restless(seed + 1), gpus=2, seed=seed + 1, own=True),
    ]

    report = play_together(members, gpus_most=most, gpus_standby=1, seed=seed)

    assert report.pool.peak_gpus <= most
    assert peak_gpus(report, [1, 2]) <= most
    assert [one.completed for one in report.services] == [150, 150]


def test_alone_and_with_room_a_service_does_as_it_would_without_a_pool() -> None:
    script = [(0.0, 1), (50.0, 4), (300.0, 2)]

    shared = play_together([member("chat", Script(script))], gpus_most=100, seed=7)
    alone = play(WORLD, a_trace(1), Script(script), seed=7)

    assert shared.services[0] == alone
    assert shared.pool.standby_gpu_hours == 0.0


def test_the_last_gpu_goes_to_whom_asks_first_and_comes_back_when_given_up() -> None:
    first, second = Script([(0.0, 1), (10.0, 2), (200.0, 1)]), Script([(0.0, 1), (20.0, 2)])

    report = play_together([member("a", first), member("b", second)], gpus_most=3)

    assert dict(first.shown)[110.0].ready == 2
    assert report.pool.refused == (200 - 20) / 5, (
        "the second asks at every tick, and at 200 s it is asked after the first"
    )
    assert report.services[1].launches_failed == report.pool.refused
    assert dict(second.shown)[295.0].ready == 1
    assert dict(second.shown)[300.0].ready == 2


def test_a_replica_that_drains_still_holds_its_gpus() -> None:
    long = Trace(
        arrivals_s=array("d", [1.0]), input_tokens=array("I", [1]), output_tokens=array("I", [1000]), duration_s=100.0
    )
    leaving = replace(member("a", Script([(0.0, 1), (5.0, 0)])), trace=long)
    waiting = member("b", Script([(0.0, 0), (5.0, 1)]))
    waiting = replace(waiting, world=replace(WORLD, replicas_start=0))

    report = play_together([leaving, waiting], gpus_most=1)

    assert report.pool.refused == 4, "at 5, 10, 15 and 20 s; the request ends at 21 s"
    assert dict(waiting.scaler.shown)[125.0].ready == 1  # type: ignore[attr-defined]


def test_one_standby_serves_whoever_comes_first_and_is_as_large_as_the_largest_wish() -> None:
    small, large = Script([(0.0, 1), (10.0, 2)], standby=2), Script([(0.0, 1), (300.0, 2)], standby=1)

    report = play_together(
        [member("small", small), member("large", large, gpus=2)], gpus_most=20, gpus_standby=2, standby_share=0.5
    )

    seen = dict(small.shown)
    assert seen[10.0].standby == 2
    assert seen[20.0].ready == 2, "woken within eight seconds"
    assert dict(large.shown)[15.0].standby == 0, "one GPU is left, and it takes two"
    assert dict(large.shown)[115.0].standby == 1, "filled up by a cold start"
    assert dict(large.shown)[310.0].ready == 2
    assert (report.services[0].wakes, report.services[1].wakes) == (1, 1)
    # Two GPUs for 10 s, one to 110 s, two to 300 s, none until 400 s, two to the end; three boots of 100 s and a GPU.
    standing_s = 2 * 10.0 + 1 * 100.0 + 2 * 190.0 + 2 * 200.0
    assert report.pool.standby_gpu_hours * 3600 == pytest.approx(3 * 100.0 + 0.5 * standing_s)
    assert report.pool.cost == pytest.approx(report.pool.standby_gpu_hours * 2.0)


def test_standby_of_its_own_is_beside_the_shared_one() -> None:
    def standing(own: bool) -> int:
        script = Script([(0.0, 1)], standby=2)
        play_together([member("a", script), member("b", Script([(0.0, 1)], standby=1), own=own)], gpus_most=20)
        return dict(script.shown)[200.0].standby

    assert (standing(False), standing(True)) == (2, 3)


def test_a_machine_that_boots_for_standby_gives_way_to_a_replica() -> None:
    pool = SharedPool(gpus_most=2, own=[False], cold_start=EXACT, duration_s=1000.0, random=Random(1))
    pool.keep(0.0, 0, 2, 1)

    assert pool.launch(10.0, 1)
    assert pool.launch(20.0, 1)
    assert not pool.launch(30.0, 1)
    assert pool.next_at == float("inf")
    assert pool.gpu_hours(0.5) * 3600 == pytest.approx(10.0 + 20.0)


def test_a_wish_for_less_standby_gives_back_first_what_still_boots() -> None:
    pool = SharedPool(gpus_most=9, own=[False], cold_start=EXACT, duration_s=1000.0, random=Random(1))
    pool.stock(0.0, 1)
    pool.keep(0.0, 0, 3, 1)

    pool.keep(50.0, 0, 1, 1)

    assert (pool.standing(1), pool.next_at) == (1, float("inf"))
    assert pool.gpu_hours(0.0) * 3600 == pytest.approx(2 * 50.0)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    world = replace(WORLD, cold_start=(Stage(name="boot", median_s=40.0, spread=0.5),))

    def played(seed: int) -> bytes:
        members = [replace(member(name, Restless(5)), world=world) for name in ("chat", "code")]
        return msgspec.json.encode(play_together(members, gpus_most=6, gpus_standby=1, seed=seed))

    assert played(7) == played(7)
    assert played(7) != played(8)


def test_a_short_trace_beside_a_long_one_is_billed_to_the_end_of_the_long_one() -> None:
    short = replace(member("a", Constant(replicas=1)), trace=a_trace(1, duration_s=100.0))

    report = play_together([short, member("b", Constant(replicas=1))], gpus_most=2)

    assert [one.replica_hours * 3600 for one in report.services] == pytest.approx([600.0, 600.0])


@pytest.mark.parametrize(("count", "gpus"), [(0, 4), (101, 4), (1, 0)])
def test_pools_that_cannot_be_are_refused(count: int, gpus: int) -> None:
    with pytest.raises(UsageError, match="cannot share"):
        play_together([member(f"s{number}", Constant(replicas=1)) for number in range(count)], gpus_most=gpus)
