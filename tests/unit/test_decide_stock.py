"""Standby that fleetctl sizes itself: the base stock against tables, simulation of chance and brute force."""

from dataclasses import replace
from itertools import product
from math import exp, factorial

import pytest
from fleet_world import a_service, scaled
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.decide.lines import Line, Recollection, ServiceAnswer, ServiceLine, Signals, answer
from fleetctl.decide.stock import (
    AS_IT_WAS_MOVES,
    MOVES_MAX,
    SLOT_SHARE,
    base_stock,
    compound_poisson_quantile,
    hit_rate,
    kept,
)
from fleetctl.model.services import ColdStart, Service, Standby, Tier


def brute(events: float, sizes: list[int], share: float) -> int:
    """By adding up every combination of sizes of up to nine events."""
    chances: dict[int, float] = {}
    for number in range(10):
        poisson = exp(-events) * events**number / factorial(number)
        for together in product(sizes, repeat=number):
            total = sum(together)
            chances[total] = chances.get(total, 0.0) + poisson / len(sizes) ** number
    stock, sum_so_far = 0, chances.get(0, 0.0)
    while sum_so_far < share:
        stock += 1
        sum_so_far += chances.get(stock, 0.0)
    return stock


@given(st.floats(0.01, 0.8), st.lists(st.integers(1, 4), min_size=1, max_size=2), st.floats(0.0, 0.995))
def test_panjers_recursion_is_the_sum_over_all_combinations(events: float, sizes: list[int], share: float) -> None:
    assert compound_poisson_quantile(events, sizes, share, 1000) == brute(events, sizes, share)


@pytest.mark.parametrize(
    ("per_hour", "lead_min", "of_95", "of_99", "of_999"),
    [(0.5, 10, 4, 4, 6), (1, 10, 4, 6, 6), (2, 20, 6, 8, 10), (4, 20, 8, 12, 14), (8, 45, 22, 26, 32)],
)
def test_it_is_the_published_base_stock_of_scale_ups_of_two(
    per_hour: float, lead_min: float, of_95: int, of_99: int, of_999: int
) -> None:
    """The table asks that a scale-up finds all it needs, so its own two come on top of the demand before it."""
    events = per_hour * lead_min / 60

    found = [2 + compound_poisson_quantile(events, [2], share, 1000) for share in (0.95, 0.99, 0.999)]

    assert found == [of_95, of_99, of_999]


def test_many_events_are_normal_and_join_the_recursion_smoothly() -> None:
    below, above = (compound_poisson_quantile(events, [1, 3], 0.95, 10_000) for events in (499.9, 500.1))

    assert abs(above - below) <= 2


@pytest.mark.parametrize(
    ("tier", "cold_s", "standby_s", "hit", "why"),
    [
        (Tier.WARM, 270.0, 60.0, 0.9396, "at a replica's full price"),
        (Tier.STOPPED, 270.0, 120.0, 0.9955, "a disk is cheap"),
        (Tier.WARM, 60.0, 59.0, 0.25, "what hardly helps is hardly worth it"),
        (Tier.HOT, 60.0, 60.0, 0.0, "what does not help is worth nothing"),
    ],
)
def test_the_hit_rate_is_a_newsvendors(tier: Tier, cold_s: float, standby_s: float, hit: float, why: str) -> None:
    assert hit_rate(share=SLOT_SHARE[tier], cold_s=cold_s, standby_s=standby_s) == pytest.approx(hit, abs=5e-5), why


MOVES = st.lists(st.tuples(st.integers(0, 1999), st.integers(1, 3)), max_size=40).map(
    lambda found: tuple(sorted((float(at), size) for at, size in found))
)


@given(MOVES, st.integers(20, 180), st.floats(0.5, 0.99))
def test_demand_as_it_was_is_covered_for_all_but_the_allowed_time(
    ups: tuple[tuple[float, int], ...], lead_s: int, hit: float
) -> None:
    stock = base_stock(ups, since=0.0, until=2000.0, lead_s=float(lead_s), hit=hit, step=1, most=1000)

    over = sum(sum(size for at, size in ups if at <= t < at + lead_s) > stock for t in range(2000)) / 2000
    if len(ups) >= AS_IT_WAS_MOVES:
        assert over <= 1 - hit + 0.01


@given(MOVES, st.integers(20, 180), st.floats(0.0, 0.99), st.integers(0, 12))
def test_a_stock_is_bounded_and_grows_with_demand_lead_and_hit_rate(
    ups: tuple[tuple[float, int], ...], lead_s: int, hit: float, most: int
) -> None:
    def stock(
        ups: tuple[tuple[float, int], ...] = ups, lead_s: float = float(lead_s), hit: float = hit, most: int = most
    ) -> int:
        return base_stock(ups, since=0.0, until=2000.0, lead_s=lead_s, hit=hit, step=1, most=most)

    assert 0 <= stock() <= most
    assert stock() <= stock(most=most + 1)
    assert stock() <= stock(hit=min(0.995, hit + 0.1))
    assert stock() <= stock(lead_s=2.0 * lead_s)
    assert stock() <= stock(ups=tuple((at, size + 1) for at, size in ups))


def test_bursts_need_more_than_their_mean_says() -> None:
    """As many starts, once spread out and once twelve at a time."""
    spread = tuple((300.0 * index, 1) for index in range(96))
    bursts = tuple((3600.0 * (index // 12) + 20.0 * (index % 12), 1) for index in range(96))

    one, other = (
        base_stock(ups, since=0.0, until=28_800.0, lead_s=270.0, hit=0.95, step=1, most=100) for ups in (spread, bursts)
    )

    assert (one, other) == (3, 8), "more than eight are out for 170 s of each hour, which is less than a twentieth"


def test_moves_are_bounded_unless_rates_need_them() -> None:
    moves = tuple((float(at), 1) for at in range(MOVES_MAX + 100))

    assert kept(moves, needed_since=1e9) == moves[100:]
    assert kept(moves, needed_since=40.0) == moves[40:]


# in a service


def auto_standby(policy: str = "target_concurrency", **changes: object) -> Service:
    service = scaled(a_service(), policy=policy, min=1, max=10, window_s=2.0, panic_window_s=1.0)
    service = scaled(service, scale_down_delay_s=0.0, idle_s=0.0, tolerance=0.0)
    return replace(service, cold_start=ColdStart(cold_s=120.0, standby_s=10.0), standby=Standby(auto=True), **changes)  # type: ignore[arg-type]


def played(service: Service, load: list[float], period_s: float = 10.0) -> list[ServiceAnswer]:
    """The answers to a load of so many requests at each tick, each followed at once."""
    known, ready, answers = Recollection(), 1, []
    for tick, requests in enumerate(load):
        signals = Signals(concurrency=requests, queue=0.0, arrivals=requests, input_tokens=requests, completed=requests)
        line = ServiceLine(name=service.name, ready=ready, signals=signals)
        made, known = answer(Line(t=period_s * tick, services=(line,)), [service], known)
        answers.append(made.decisions[0])
        ready = made.decisions[0].desired
    return answers


BUSY = [10.0, 30.0, 10.0, 20.0, 40.0, 10.0, 10.0, 10.0, 10.0, 10.0] * 40
"""Replicas for ten ticks each: two scale-ups of two, one of one, every hundred seconds."""


@pytest.mark.parametrize("policy", ["target_concurrency", "queue_depth", "auto"])
def test_until_it_has_learned_one_step_stands_by(policy: str) -> None:
    service = auto_standby(policy)

    answers = played(service, BUSY)

    learns_from = 36 if policy == "auto" else 120
    assert [one.standby for one in answers[:learns_from]] == [1] * learns_from


def test_then_as_many_as_its_moves_ask_for() -> None:
    answers = played(auto_standby(), BUSY)

    assert answers[-1].standby == base_stock(
        tuple((100.0 * (index // 3) + (10.0, 30.0, 40.0)[index % 3], (2, 1, 2)[index % 3]) for index in range(120)),
        since=0.0,
        until=4020.0,
        lead_s=120.0,
        hit=hit_rate(share=1.0, cold_s=120.0, standby_s=10.0),
        step=1,
        most=9,
    )
    assert answers[-1].standby >= 5, "a lead long there is always more than one hundred seconds' worth of starts"


def test_a_quiet_service_needs_none_at_full_price_and_one_that_costs_a_disk() -> None:
    quiet = [5.0] * 700

    warm = played(auto_standby(), quiet)
    stopped = played(replace(auto_standby(), standby=Standby(auto=True, tier=Tier.STOPPED)), quiet)

    assert (warm[0].standby, warm[-1].standby) == (1, 0)
    assert stopped[-1].standby == 1


@given(st.lists(st.floats(0, 150), min_size=1, max_size=60))
def test_it_never_takes_more_than_max_leaves(load: list[float]) -> None:
    for one in played(auto_standby(), load, period_s=60.0):
        assert 0 <= one.standby <= 10 - one.desired


def test_what_the_file_says_is_what_stands_by() -> None:
    answers = played(replace(auto_standby(), standby=Standby(slots=2)), BUSY)

    assert {one.standby for one in answers if one.desired <= 8} == {2}
