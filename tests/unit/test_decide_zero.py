"""How long an idle replica is kept: break-even until gaps say otherwise, never far from what foresight would pay."""

from math import inf, nan
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.decide.zero import (
    BELIEF,
    DAY_S,
    GAP_LEAST_S,
    GAPS_LIMIT,
    INDEX_LEAST,
    INDEX_MOST,
    SPAN,
    IdleGap,
    kept_s,
    likeness,
    remember,
    retention_s,
)

DAY_AWAY = 10 * DAY_S
SOME = st.lists(st.floats(0, 1e6), max_size=60)


def pareto(index: float, count: int, least_s: float = 10.0) -> list[float]:
    """Gaps whose tail index is known: quantiles of a Pareto distribution, in a shuffled order."""
    gaps = [least_s / (1 - (place + 0.5) / count) ** (1 / index) for place in range(count)]
    Random(1).shuffle(gaps)
    return gaps


def test_without_gaps_the_break_even_time_is_kept() -> None:
    assert retention_s([], restart_s=270.0, restart_weight=2.0, most_s=1e6) == 540.0


@pytest.mark.parametrize("index", [0.5, 1.0, 2.0])
def test_gaps_of_a_known_tail_index_stretch_break_even_by_it(index: float) -> None:
    kept = retention_s(pareto(index, 2000), restart_s=100.0, restart_weight=1.0, most_s=1e6)

    assert kept == pytest.approx(index * 100.0, rel=0.1)


def test_the_best_fixed_retention_of_a_pareto_is_found() -> None:
    gaps = pareto(0.5, 2000)

    def paid(kept: float) -> float:
        return sum(min(gap, kept) + (300.0 if gap > kept else 0.0) for gap in gaps)

    learned = paid(retention_s(gaps, restart_s=300.0, restart_weight=1.0, most_s=1e6))

    assert learned <= 1.01 * min(paid(10.0 * 1.1**step) for step in range(80))
    assert learned < 0.97 * paid(300.0), "break-even pays more on gaps that rarely end in time"


@given(SOME, st.floats(1, 5000), st.floats(0.1, 50))
def test_never_more_than_five_times_what_foresight_pays(gaps: list[float], restart_s: float, weight: float) -> None:
    price = restart_s * weight

    kept = retention_s(gaps, restart_s=restart_s, restart_weight=weight, most_s=inf)

    assert INDEX_LEAST * price <= kept <= INDEX_MOST * price
    for gap in (kept / 2, kept, kept * 1.001, 1e9):
        paid = min(gap, kept) + (price if gap > kept else 0.0)
        assert paid <= (1 + INDEX_MOST) * min(gap, price) * 1.001


@given(SOME, st.floats(1, 5000), st.floats(1, 1e5))
def test_it_is_kept_no_longer_than_the_most(gaps: list[float], restart_s: float, most_s: float) -> None:
    assert retention_s(gaps, restart_s=restart_s, restart_weight=3.0, most_s=most_s) <= most_s


@pytest.mark.parametrize("wrong", [nan, inf, -inf, -5.0])
def test_gaps_and_weights_that_are_no_numbers_count_for_nothing(wrong: float) -> None:
    gaps = pareto(2.0, 50)
    clean = retention_s(gaps, restart_s=100.0, restart_weight=1.0, most_s=1e6)

    assert retention_s([wrong, *gaps], restart_s=100.0, restart_weight=1.0, most_s=1e6) == clean
    weighed = retention_s(
        [500.0, *gaps], restart_s=100.0, restart_weight=1.0, most_s=1e6, weights=[wrong, *[1.0] * len(gaps)]
    )
    assert weighed == clean


@pytest.mark.parametrize(("restart_s", "weight", "most_s", "kept"), [(0, 1, 9, 0), (9, 0, 9, 0), (9, 1, 0, 0)])
def test_what_costs_nothing_to_restart_is_not_kept(restart_s: float, weight: float, most_s: float, kept: float) -> None:
    assert retention_s([50.0], restart_s=restart_s, restart_weight=weight, most_s=most_s) == kept


def test_only_the_newest_gaps_count() -> None:
    new = pareto(2.0, GAPS_LIMIT)

    assert retention_s([3600.0] * 500 + new, restart_s=100.0, restart_weight=1.0, most_s=1e6) == retention_s(
        new, restart_s=100.0, restart_weight=1.0, most_s=1e6
    )


def test_what_is_remembered_is_bounded_and_without_what_tells_nothing() -> None:
    gaps: tuple[IdleGap, ...] = ()
    for second in range(GAPS_LIMIT + 7):
        gaps = remember(gaps, IdleGap(began_at=100.0 * second, length_s=50.0))

    assert len(gaps) == GAPS_LIMIT
    assert gaps[0].began_at == 700.0
    for short in (GAP_LEAST_S / 2, nan, inf):
        assert remember(gaps, IdleGap(began_at=1e9, length_s=short)) is gaps
    back = IdleGap(began_at=5.0, length_s=60.0)
    assert remember(gaps, back) == (back,), "a clock that was set back starts anew"


def test_gaps_of_the_same_hour_and_of_as_busy_a_time_are_the_most_alike() -> None:
    now = DAY_AWAY + 9 * 3600.0
    busy = [IdleGap(began_at=now - DAY_S - 3000 + 100.0 * place, length_s=30.0) for place in range(30)]
    at_nine = IdleGap(began_at=now - 2 * DAY_S, length_s=600.0)
    at_night = IdleGap(began_at=now - 2 * DAY_S + 12 * 3600.0, length_s=600.0)

    weights = likeness([at_nine, at_night, *busy], now)

    assert weights[0] == 1.0
    assert weights[1] < 0.01, "twelve hours off"
    assert weights[-1] < weights[0], "thirty gaps came before that one, and none before this"
    assert all(0 <= weight <= 1 for weight in weights)
    assert likeness([at_nine, at_night], now, least_s=600.0) == [0.0, 0.0]


@given(st.lists(st.tuples(st.floats(1, 40_000), st.floats(0, 1e5)), max_size=40), st.sampled_from([0.0, 600.0]))
def test_likeness_counts_what_came_before(steps: list[tuple[float, float]], least_s: float) -> None:
    """Against the counts taken one by one."""
    from math import exp, log1p

    at, gaps = 0.0, []
    for step, length_s in steps:
        at += step
        gaps.append(IdleGap(began_at=at, length_s=length_s))
    now = at + 100.0

    def before(moment: float, span_s: float) -> float:
        return log1p(sum(moment - span_s <= gap.began_at < moment for gap in gaps))

    expected = []
    for gap in gaps:
        off = (now - gap.began_at) % DAY_S
        apart = (min(off, DAY_S - off) / 7200.0) ** 2
        apart += sum((before(now, span) - before(gap.began_at, span)) ** 2 for span in (600.0, 21_600.0))
        expected.append(exp(-apart / 2) if gap.length_s > least_s else 0.0)
    assert likeness(gaps, now, least_s=least_s) == pytest.approx(expected)


def test_nights_end_sooner_than_days() -> None:
    """By day requests come five minutes apart, by night four hours: the night's replica is let go earlier."""
    gaps: list[IdleGap] = []
    at = 0.0
    while at < 10 * DAY_S:
        length_s = 300.0 if 8 <= at % DAY_S / 3600 < 20 else 4 * 3600.0
        gaps.append(IdleGap(began_at=at, length_s=length_s))
        at += length_s + 60.0

    def kept(hour: float) -> float:
        return kept_s(gaps, 11 * DAY_S + hour * 3600, restart_s=270.0, restart_weight=2.0, most_s=7200.0)

    assert kept(1.0) < 540.0 < kept(13.0)


def test_restart_bounds_are_those_the_docstring_promises() -> None:
    assert max(1 + INDEX_MOST, 1 + 1 / INDEX_LEAST) == 5.0
    assert BELIEF > 0
    assert SPAN > 1
