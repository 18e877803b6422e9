import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.views.charts import Bar, DemandPoint, WaterfallRow, demand_chart, sparkline, stage_chart, waterfall

ESCAPE = re.compile("\x1b\\[[0-9;]*m")


def plain(lines: list[str]) -> str:
    return "\n" + "\n".join(lines) + "\n"


def steps(*triples: tuple[float | None, float | None, float | None]) -> list[DemandPoint]:
    return [
        DemandPoint(t_s=1000.0 + 10 * at, demand=demand, ready=ready, desired=desired)
        for at, (demand, ready, desired) in enumerate(triples)
    ]


BURST = steps(
    (0.4, 1, 1), (0.5, 1, 1), (2.5, 1, 4), (2.8, 1, 4), (2.5, 4, 4), (2.0, 4, 4), (0.6, 4, 4), (0.4, 1, 1), (0.4, 1, 1)
)

STARTS = [
    WaterfallRow(
        label="chat-1 cold",
        bars=(
            Bar(stage="slot", start_s=0.0, end_s=0.5),
            Bar(stage="boot", start_s=0.5, end_s=4.0),
            Bar(stage="image", start_s=4.0, end_s=6.0),
            Bar(stage="weights", start_s=6.0, end_s=9.0),
            Bar(stage="engine", start_s=9.0, end_s=12.0),
        ),
    ),
    WaterfallRow(
        label="chat-2 asleep",
        bars=(Bar(stage="slot", start_s=0.0, end_s=0.0), Bar(stage="wake", start_s=0, end_s=0.4)),
    ),
    WaterfallRow(
        label="chat-3 cold",
        bars=(Bar(stage="slot", start_s=0.0, end_s=0.5), Bar(stage="boot", start_s=0.5, end_s=None)),
    ),
]


def test_demand_against_capacity() -> None:
    assert (
        plain(demand_chart(BURST, width=60, height=8))
        == """
⠤⠒ demand, in replicas   ░░ ready   ▔▔ desired
4 ┤              ▔▔▔▔▔▔▔▔▔▔▔▔▔▔░░░░░░░░░░░░░░░░░░░░░
  │                            ░░░░░░░░░░░░░░░░░░░░░
3 ┤              ⢀⣀⣀⠤⠤⠤⠒⠒⠢⠤⠤⢄⣀⣀⡀░░░░░░░░░░░░░░░░░░░░
  │            ⢀⠔⠁             ⠈⠉⠑⠒⠤⠤⣀⡀░░░░░░░░░░░░░
2 ┤           ⡔⠁               ░░░░░░░⠈⠑⢄░░░░░░░░░░░
  │         ⡠⠊                 ░░░░░░░░░░⠉⠢⡀░░░░░░░░
1 ┤░░░░░░░⢠⠊░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░⠈⠑⢄⣀⣀⣀░░░░░░░░░░░
  │⠉⠉⠉⠉⠉⠉⠉⠁░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉
0 └┬─────────────┬─────────────┬──────────────┬────────────┬
   0s            20s           40s            60s        80s
"""
    )


def test_demand_against_capacity_in_ascii() -> None:
    assert (
        plain(demand_chart(BURST, width=60, height=8, ascii_only=True))
        == """
* demand, in replicas   .. ready   == desired
4 +              ==============.....................
  |                            .....................
3 +              ***************....................
  |            **              .*******.............
2 +           *                ........**...........
  |         **                 ..........***........
1 +.......**................................*****...........
  |*******.......................................***********
0 ++-------------+-------------+--------------+------------+
   0s            20s           40s            60s        80s
"""
    )


def test_cold_starts() -> None:
    assert (
        plain(waterfall(STARTS, width=60))
        == """
·· slot   ░░ boot   ▒▒ image   ▓▓ weights   ██ engine
▚▚ wake
chat-1 cold   │··░░░░░░░░░░▒▒▒▒▒▒▓▓▓▓▓▓▓▓▓█████████   12.0 s
chat-2 asleep │▚                                      0.40 s
chat-3 cold   │··░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░▸ going on
              └┬──────────────┬──────────────┬─────
               0s             5s             10s
"""
    )


def test_cold_starts_in_ascii() -> None:
    assert (
        plain(waterfall(STARTS, width=60, ascii_only=True))
        == """
.. slot   :: boot   ++ image   xx weights   ## engine
~~ wake
chat-1 cold   |..::::::::::++++++xxxxxxxxx#########   12.0 s
chat-2 asleep |~                                      0.40 s
chat-3 cold   |..:::::::::::::::::::::::::::::::::> going on
              ++--------------+--------------+-----
               0s             5s             10s
"""
    )


def test_stages_over_all_starts() -> None:
    assert (
        plain(stage_chart(STARTS, width=60))
        == """
                                                 p50     p95
slot    │·                                    0.50 s  0.50 s
boot    │ ░░░░░░░░░░░                         3.50 s  3.50 s
image   │            ▒▒▒▒▒▒                   2.00 s  2.00 s
weights │                  ▓▓▓▓▓▓▓▓           3.00 s  3.00 s
engine  │                          █████████  3.00 s  3.00 s
wake    │▚                                    0.40 s  0.40 s
        └┬──────────────┬─────────────┬─────
         0s             5s            10s
"""
    )


def test_two_stages_we_do_not_know_are_told_apart() -> None:
    bars = (Bar(stage="fetch", start_s=0, end_s=1), Bar(stage="compile", start_s=1, end_s=2))

    lines = waterfall([WaterfallRow(label="x", bars=bars)], width=60)

    assert lines[0] == "◇◇ fetch   ◆◆ compile"


def test_demand_above_ready_is_drawn_above_the_shade_and_below_it_within() -> None:
    below_then_above = steps((0.5, 2, 2), (0.5, 2, 2), (2.5, 2, 2), (2.5, 2, 2))

    lines = demand_chart(below_then_above, width=60, height=3, ascii_only=True)

    assert [line[3:8] for line in lines[1:4]] == ["     ", ".....", "*****"]
    assert [line[-5:] for line in lines[1:4]] == ["*****", ".....", "....."]


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("height", [4, 8, 12, 20])
@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize(
    ("points", "why"),
    [
        (BURST, "a burst"),
        ([], "nothing yet"),
        (steps((1.5, 2, 2)), "one point"),
        (steps((0, 0, 0), (0, 0, 0), (0, 0, 0)), "all zero: a fleet scaled to zero"),
        (steps((None, None, None), (None, None, None)), "nothing known"),
        (steps((1, 1, 1), (None, 1, 1), (float("nan"), None, 2), (2, 2, 2)), "gaps"),
        (steps((130.0, 90, 200), (20.5, 180, 180)), "more replicas than rows"),
        (steps((1, 0, 1), (1e6, 3, 7)), "a demand beyond all measure"),
    ],
)
def test_every_chart_keeps_to_its_size(
    points: list[DemandPoint], why: str, width: int, height: int, ascii_only: bool
) -> None:
    lines = demand_chart(points, width=width, height=height, ascii_only=ascii_only)

    assert max(map(len, lines)) <= width, why
    assert 3 + 1 <= len(lines) <= height + 3, why
    assert all(line.isascii() for line in lines) or not ascii_only


FIGURES = st.none() | st.floats(0, 500) | st.just(float("nan"))


@given(
    st.lists(
        st.builds(DemandPoint, t_s=st.floats(0, 1e5), demand=FIGURES, ready=FIGURES, desired=FIGURES), max_size=30
    ),
    st.integers(40, 130),
    st.integers(1, 30),
    st.booleans(),
)
def test_whatever_is_known_can_be_drawn(points: list[DemandPoint], width: int, height: int, ascii_only: bool) -> None:
    lines = demand_chart(points, width=width, height=height, ascii_only=ascii_only)

    assert max(map(len, lines[1:])) <= width
    assert len(lines) <= height + 3


def test_unknown_demand_is_a_gap_and_not_a_zero() -> None:
    known = steps((1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1))
    gap = steps((1, 1, 1), (None, 1, 1), (None, 1, 1), (1, 1, 1))

    stars = ["".join(demand_chart(points, width=60, ascii_only=True)[1:]).count("*") for points in (known, gap)]

    assert stars[0] == 57
    assert stars[1] == 2


def test_no_points_say_so() -> None:
    assert any("no data yet" in line for line in demand_chart([]))
    assert waterfall([]) == stage_chart([]) == ["no starts yet"]
    assert waterfall([WaterfallRow(label="x", bars=())]) == ["no starts yet"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda colour: demand_chart(BURST, width=80, colour=colour),
        lambda colour: waterfall(STARTS, width=80, colour=colour),
        lambda colour: stage_chart(STARTS, width=80, colour=colour),
    ],
)
def test_colour_adds_nothing_but_colour(draw: Callable[[bool], list[str]]) -> None:
    coloured = draw(True)

    assert any("\x1b[38;5;" in line for line in coloured)
    assert [ESCAPE.sub("", line).rstrip() for line in coloured] == [line.rstrip() for line in draw(False)]
    assert all(line.count("\x1b[38") == line.count("\x1b[0m") for line in coloured), "every colour is ended on its line"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_cold_start_charts_keep_to_their_width(width: int) -> None:
    long = WaterfallRow(label="a-replica-with-quite-a-long-name-that-nobody-would-type", bars=STARTS[0].bars)

    for lines in (waterfall([*STARTS, long], width=width), stage_chart([*STARTS, long], width=width)):
        assert max(map(len, lines)) <= width


@pytest.mark.parametrize(
    ("values", "unicode", "plain_text", "why"),
    [
        ([0, 1, 2, 4, 7], "▁▂▃▅█", "_.-*@", "from zero to the largest"),
        ([], "", "", "nothing"),
        ([0, 0], "▁▁", "__", "all zero"),
        ([7, None, float("nan"), 7], "█  █", "@  @", "gaps"),
    ],
)
def test_sparkline(values: list[float | None], unicode: str, plain_text: str, why: str) -> None:
    assert sparkline(values) == unicode, why
    assert sparkline(values, ascii_only=True) == plain_text, why


def test_sparkline_on_a_given_scale_is_cut_at_its_top() -> None:
    assert sparkline([1, 5, 50], top=10) == "▂▅█"
