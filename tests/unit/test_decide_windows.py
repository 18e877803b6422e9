"""Histories as step functions: averages, extremes, totals."""

import pytest

from fleetctl.decide.windows import HISTORY_LIMIT, average, extreme, push, total


@pytest.mark.parametrize(
    ("history", "now", "window_s", "expected", "why"),
    [
        ((), 100.0, 60.0, None, "nothing was ever measured"),
        (((100.0, 5.0),), 100.0, 60.0, 5.0, "the first sample speaks for itself"),
        (((0.0, 4.0),), 100.0, 60.0, 4.0, "an entry holds until the next one"),
        (((0.0, 0.0), (70.0, 10.0)), 100.0, 60.0, 5.0, "half the window at 0, half at 10"),
        (((90.0, 8.0),), 100.0, 60.0, 8.0, "a history shorter than the window is averaged over itself"),
        (((0.0, 100.0), (40.0, 2.0)), 100.0, 60.0, 2.0, "what ended where the window begins is outside of it"),
        (((0.0, 6.0), (80.0, 0.0), (100.0, 50.0)), 100.0, 40.0, 3.0, "the sample of this very moment has no width yet"),
    ],
)
def test_average(
    history: tuple[tuple[float, float], ...], now: float, window_s: float, expected: float | None, why: str
) -> None:
    assert average(history, now, window_s) == expected, why


@pytest.mark.parametrize(
    ("history", "window_s", "largest", "smallest", "why"),
    [
        ((), 60.0, None, None, "nothing was ever wanted"),
        (((0.0, 7), (90.0, 3)), 5.0, 3, 3, "7 ended before the window"),
        (((0.0, 7), (90.0, 3)), 20.0, 7, 3, "7 still held when the window began"),
        (((0.0, 7), (40.0, 1), (90.0, 3)), 20.0, 3, 1, "of what is old only what held at the window's start counts"),
    ],
)
def test_extremes(
    history: tuple[tuple[float, int], ...], window_s: float, largest: int | None, smallest: int | None, why: str
) -> None:
    assert extreme(history, 100.0, window_s, max) == largest, why
    assert extreme(history, 100.0, window_s, min) == smallest, why


def test_an_equal_value_adds_no_entry() -> None:
    history = push((), 1.0, 5, keep_s=60.0)

    assert push(history, 2.0, 5, keep_s=60.0) == ((1.0, 5),)


def test_what_ended_before_the_window_is_dropped_and_what_reaches_into_it_is_kept() -> None:
    history = ((0.0, 1), (10.0, 2), (50.0, 3))

    assert push(history, 100.0, 4, keep_s=60.0) == ((10.0, 2), (50.0, 3), (100.0, 4))


def test_a_clock_set_back_restarts_the_history() -> None:
    assert push(((100.0, 1), (200.0, 2)), 50.0, 3, keep_s=60.0) == ((50.0, 3),)


def test_a_history_has_a_most() -> None:
    history: tuple[tuple[float, int], ...] = ()

    for second in range(HISTORY_LIMIT * 2):
        history = push(history, float(second), second, keep_s=1e9)

    assert len(history) == HISTORY_LIMIT
    assert history[-1] == (HISTORY_LIMIT * 2 - 1.0, HISTORY_LIMIT * 2 - 1)


@pytest.mark.parametrize(
    ("sign", "expected", "why"),
    [(1, 5, "additions after second 40"), (-1, 2, "removals count as a positive number")],
)
def test_totals_of_moves(sign: int, expected: int, why: str) -> None:
    moves = ((40.0, 9), (50.0, 3), (60.0, -2), (70.0, 2))

    assert total(moves, 100.0, 60.0, sign=sign) == expected, why
