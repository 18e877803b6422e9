"""What is swept, and which outcomes nothing beats."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.cli.scatter import Point, scatter
from fleetctl.errors import UsageError
from fleetctl.sim.sweep import COMBINATIONS_LIMIT, combinations, front, shown


def test_every_combination_once_the_last_knob_turning_fastest() -> None:
    found = combinations(["scaling.target=0.5, 0.6", "scaling.window=1m,2m,1m"])

    assert [shown(one) for one in found] == [
        "scaling.target=0.5 scaling.window=1m",
        "scaling.target=0.5 scaling.window=2m",
        "scaling.target=0.6 scaling.window=1m",
        "scaling.target=0.6 scaling.window=2m",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scaling.target"], "sweeps nothing"),
        (["scaling.target="], "sweeps nothing"),
        (["scaling.target=0.5,,0.6"], "sweeps nothing"),
        (["=1,2"], "sweeps nothing"),
        (["a=1", "a=2"], "a is swept twice"),
        (["a=" + ",".join(map(str, range(17))), "b=" + ",".join(map(str, range(16)))], "17 × 16 are 272 combinations"),
    ],
)
def test_what_cannot_be_swept_is_said(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        combinations(words)


def test_as_many_as_the_limit_are_swept() -> None:
    assert len(combinations(["a=" + ",".join(map(str, range(COMBINATIONS_LIMIT)))])) == COMBINATIONS_LIMIT


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_the_front_is_what_none_beats(points: list[tuple[int, int]]) -> None:
    def beaten(cost: int, worth: int) -> bool:
        return any((c <= cost and w > worth) or (c < cost and w >= worth) for c, w in points)

    assert front(points) == [not beaten(cost, worth) for cost, worth in points]


def test_points_are_drawn_where_they_lie_and_the_marked_ones_on_top() -> None:
    points = [
        Point(x=1.0, y=0.9),
        Point(x=3.0, y=1.0, marked=True),
        Point(x=2.0, y=0.95, marked=True),
        Point(x=2.0, y=0.95),
    ]

    lines = scatter(points, x_name="GPU-hours", y_name="Share", y_percent=True, width=40, height=5, ascii_only=True)

    assert lines == [
        "Share (* nothing is both cheaper and better)",
        "100.00% |                              *",
        "        |",
        "        |               *",
        "        |",
        " 90.00% |.",
        "        +-------------------------------",
        "         1.00             3.00 GPU-hours",
    ]


def test_one_point_and_none_are_drawn_too() -> None:
    lines = scatter([Point(x=2.0, y=0.5)], x_name="h", y_name="y")

    assert sum(line.count("·") for line in lines) == 1
    assert scatter([], x_name="h", y_name="y") == ["nothing to draw"]


@given(
    st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(0, 1), st.booleans()), min_size=1, max_size=40),
    st.integers(0, 120),
    st.integers(0, 30),
)
def test_no_line_is_wider_than_asked(points: list[tuple[float, float, bool]], width: int, height: int) -> None:
    drawn = scatter(
        [Point(x=x, y=y, marked=marked) for x, y, marked in points],
        x_name="h",
        y_name="y",
        y_percent=True,
        width=width,
        height=height,
    )

    assert max(map(len, drawn)) <= max(width, 46)
    assert any("●" in line for line in drawn[1:]) == any(marked for _, _, marked in points)
