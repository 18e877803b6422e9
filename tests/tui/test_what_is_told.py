"""What the lines and tables of the dashboard say: the same as the commands do, and whole in a narrow terminal."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fleet_of_eight import eight
from pictures import NOW, Fixed, Stored, a_look, screen_text
from test_top import SMALL, found, settled, shown

from fleetctl.model.names import ServiceName
from fleetctl.model.rollouts import Rollout, RolloutState
from fleetctl.store import open_store
from fleetctl.tui.crumbs import crumb_line
from fleetctl.tui.history_tables import rollouts
from fleetctl.tui.keys import keys_line
from fleetctl.views.charts import Bar, DemandPoint, WaterfallRow, demand_chart, waterfall
from fleetctl.views.live import Live
from fleetctl.views.promise import Promise
from fleetctl.views.xray import branches


@pytest.mark.parametrize("width", [60, 66, 72, 80, 90, 100, 120, 200])
@pytest.mark.parametrize("age", [0.4, 40.0, 4000.0])
def test_the_line_at_the_top_fits_and_keeps_where_one_is_and_whether_it_is_alive(width: int, age: float) -> None:
    look = replace(eight(), at=NOW + age)
    line = crumb_line(
        look, ["services", "replicas(vision-11b)"], context="prod", read_only=False, width=width
    ).plain  # fmt: skip

    assert len(line) <= width and "…" not in line.rstrip("…")[-1:]
    assert "prod" in line and " RW" in line
    assert ("✗ stale" if age > 15 else "● live") in line
    if width >= 72:
        assert "replicas(vision-11b)" in line
    if age > 15 and width >= 90:
        assert "fleetctl daemon status" in line


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("read_only", [True, False])
def test_the_footer_always_names_help_and_the_way_out(width: int, read_only: bool) -> None:
    line = keys_line(read_only=read_only, past=False, width=width).plain

    assert len(line) <= width and line.endswith(" ? help  q quit ")


async def test_the_limit_is_what_the_replicas_serve_at_once_and_not_their_target() -> None:
    """`concurrency` of the file, which `target` is a share of: 3 replicas of 64 at a target of 10."""
    look = a_look()
    intents = tuple(replace(one, service=replace(one.service, concurrency=64)) for one in look.view.intents)
    async with shown(replace(look, view=replace(look.view, intents=intents))) as (app, _):
        line = next(line for line in screen_text(app) if line[2:].startswith("chat-8b "))
        assert "24/192" in line


def a_rollout(name: str, **changed: object) -> Rollout:
    made = Rollout(service=ServiceName(name), to_revision="r-2", started_at=NOW - 100.0, state=RolloutState.DONE)
    return replace(made, **changed)


def test_rollouts_are_those_that_get_lists_the_first_of_each_service_too() -> None:
    look = eight()
    held = {
        "first": a_rollout("first", ended_at=NOW - 50.0),
        "later": a_rollout("later", from_revision="r-1", ended_at=NOW - 60.0),
        "open": a_rollout("open", from_revision="r-1", state=RolloutState.GOING),
    }
    listing = rollouts(lambda: NOW)
    rows = listing.rows(replace(look, view=replace(look.view, rollouts=held)), "")
    said = {str(row.service): listing.columns[-1].cell(row).text for row in rows}

    assert rows[0].service == "open" and set(said) == set(held)
    assert said["first"] == "its first revision" and said["later"] == "done 60s ago in 40s"
    assert "count" in said["open"] and "r-1" not in said["open"]


@pytest.mark.parametrize(
    ("key", "said"),
    [("t", "no service has a schedule"), ("r", "begin one: fleetctl deploy"), ("p", "fleetctl scale SERVICE=1")],
)
async def test_the_words_of_an_empty_page_are_whole_in_eighty_columns(key: str, said: str) -> None:
    look = a_look()
    empty = replace(look, view=replace(look.view, replicas=(), rollouts={}))
    async with shown(empty, size=SMALL) as (app, pilot):
        await pilot.press(key)
        await settled(pilot)
        text = " ".join(" ".join(line.strip("│ ") for line in screen_text(app)).split())
        assert said in text and "…" not in text


async def test_a_column_that_is_sorted_by_is_marked_with_its_direction() -> None:
    async with shown(size=SMALL) as (app, pilot):
        await pilot.press("Q")
        await settled(pilot)
        assert found(app, "QUEUE▼")
        await pilot.press("Q")
        await settled(pilot)
        assert found(app, "QUEUE▲")


async def test_machines_older_than_the_age_at_the_top_say_so() -> None:
    look = a_look()
    old = replace(look, machines_at=look.at - 5.0)
    async with shown(old) as (app, pilot):
        assert isinstance(app._source, Fixed)
        await pilot.press("p")
        await settled(pilot)
        assert found(app, "replicas 24 · read 5s ago")
        app._source.next = replace(look, services=list(look.services))
        app.look_again()
        await settled(pilot)
        assert found(app, "replicas 24") and not found(app, "read 5s ago")


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Stored]:
    store = open_store(str(tmp_path / "fleet.db"))
    made = Stored(store, eight(time.time()))
    made.begin()
    made.tick(at=time.time() - 2.0)
    yield made
    store.close()


def test_the_store_tells_when_machines_were_read_until_they_are_read_again(fleet: Stored, tmp_path: Path) -> None:
    source = Live(open_store(str(tmp_path / "fleet.db"), read_only=True), listen="x", max_cost_per_hour=None)
    first = source.look()
    assert first.machines_at is None and first.machines_age_s == 0.0
    source._due_at = time.monotonic() + 1000.0  # as after a read of so many machines
    fleet.tick(at=time.time())
    second = source.look()
    source._due_at = 0.0
    third = source.look()

    assert second.machines_at == first.at and second.machines_age_s == second.at - first.at
    assert third.machines_at is None


def test_ready_is_told_from_desired_in_a_picture_of_seven_lines() -> None:
    points = [DemandPoint(t_s=float(at), demand=18.0, ready=18.0, desired=22.0) for at in range(0, 600, 10)]
    lines = demand_chart(points, width=76, height=7, back=True)

    plot = lines[1:-2]
    assert any("▔" in line for line in plot) and not any("▔" in line and "░" in line for line in plot)
    assert lines[-1].rstrip().endswith("now") and "-4m" in lines[-1]


def test_a_start_that_goes_on_is_drawn_as_long_as_it_has_lasted() -> None:
    bars = (Bar(stage="boot", start_s=0.0, end_s=10.0), Bar(stage="weights", start_s=10.0, end_s=None))
    rows = [
        WaterfallRow(label="older", bars=bars, elapsed_s=100.0),
        WaterfallRow(label="newer", bars=bars, elapsed_s=50.0),
    ]
    _, older, newer, *_ = waterfall(rows, width=80)

    assert older.endswith("100.0 s so far") and newer.endswith("50.0 s so far")
    assert 1.7 < older.count("▓") / newer.count("▓") < 2.6


@pytest.mark.parametrize(("playing", "said"), [(True, "▶ playing 2"), (False, "= stands still 2")])
def test_of_the_past_it_is_told_whether_it_plays(playing: bool, said: str) -> None:
    look = replace(eight(), now=False)
    for width in (80, 120):
        line = crumb_line(look, ["services"], context="prod", read_only=True, width=width, playing=playing).plain
        assert said in line


async def test_of_the_past_nothing_is_said_that_is_not_in_the_record() -> None:
    look = eight()
    view = replace(look.view, instances=(), replicas=())
    # Nor is the tally of what was promised: rows without a share.
    rows = [replace(row, promise=Promise(ttft_s=None, kept=None, percentile=99.0)) for row in look.services]
    past = replace(look, now=False, view=view, services=rows)
    async with shown(past) as (app, pilot):
        assert found(app, "not in the record") and not found(app, "nothing is promised")
        await pilot.press("x")
        await settled(pilot)
        assert found(app, "machines are not in the record") and not found(app, "0 machines")


def test_the_tree_has_the_machines_that_stand_by_each_once() -> None:
    look = eight()
    lines = [one.name for one in branches(look) if one.kind == "instance"]
    empty = [one.id for one in look.view.instances if not one.over and not look.view.by_instance.get(one.id)]

    assert empty and all(lines.count(one) == 1 for one in empty)
