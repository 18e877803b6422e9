"""The dashboard when things go wrong around it, and in terminals that can little."""

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fleet_of_eight import eight
from pictures import NOW, Stored, a_look, screen_text
from test_top import LARGE, found, settled, shown

from fleetctl.errors import Conflict, NotFound, StoreFailure, UsageError
from fleetctl.model.decisions import Event
from fleetctl.store import SqlStore, open_store
from fleetctl.tui.acting import Setting
from fleetctl.tui.app import Top
from fleetctl.tui.plainness import ascii_of
from fleetctl.tui.web import is_own
from fleetctl.views.fleet import worst_first
from fleetctl.views.live import Live
from fleetctl.views.past import Past
from fleetctl.views.spending import spend_lines
from fleetctl.views.traces import Traces


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Stored]:
    """A store with a fleet whose last tick was just now."""
    store = open_store(str(tmp_path / "fleet.db"))
    made = Stored(store, eight(time.time()))
    made.begin()
    made.tick(at=time.time() - 2.0)
    yield made
    store.close()


def live(path: Path) -> Live:
    return Live(open_store(str(path / "fleet.db"), read_only=True), listen="127.0.0.1:1", max_cost_per_hour=None)


async def test_a_store_of_a_newer_fleetctl_is_named_while_it_runs(fleet: Stored, tmp_path: Path) -> None:
    source = live(tmp_path)
    app = Top(source, Setting())
    async with app.run_test(size=LARGE) as pilot:
        await settled(pilot)
        assert found(app, "Services 8")
        with sqlite3.connect(tmp_path / "fleet.db") as database:
            database.execute("UPDATE schema_version SET version = 99")
        app.look_again()
        await settled(pilot)
        assert "upgraded by a newer fleetctl" in " ".join(" ".join(screen_text(app)).split()) and found(
            app, "Services 8"
        )


def test_a_row_that_cannot_be_read_is_a_failure_of_that_look_only(fleet: Stored, tmp_path: Path) -> None:
    source = live(tmp_path)
    source.look()
    with sqlite3.connect(tmp_path / "fleet.db") as database:
        (kept,) = database.execute("SELECT doc FROM decisions WHERE service = 'rerank'").fetchone()
        database.execute("UPDATE decisions SET doc = '{' WHERE service = 'rerank'")
        database.execute("UPDATE fleet SET intents_version = intents_version + 1")
    with pytest.raises(StoreFailure, match="cannot be read"):
        source.look()
    with sqlite3.connect(tmp_path / "fleet.db") as database:
        database.execute("UPDATE decisions SET doc = ? WHERE service = 'rerank'", (kept,))

    assert len(source.look().services) == 8


async def test_a_controller_that_died_turns_the_age_red_and_the_light_off(fleet: Stored) -> None:
    look = eight()
    async with shown(replace(look, at=look.at + 40.0)) as (app, _):
        (line,) = screen_text(app)[:1]
        assert "data 40.4s old: no controller decides?" in line and "✗ stale" in line
        styles = [one for one in strips(app)[0] if "no controller" in one.text]
        assert styles[0].style is not None and styles[0].style.color is not None
        assert styles[0].style.color.name == "#d55e00"


def test_no_decision_yet_names_what_makes_one(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "fleet.db"))
    look = live(tmp_path).look()
    store.close()

    assert look.data_age_s is None and not look.services


def test_a_clock_that_was_set_back_is_no_negative_age_and_no_line_backwards() -> None:
    look = eight()
    assert replace(look, at=look.at - 3600.0).data_age_s == 0.0
    traces, before = Traces(), look.view.decisions["chat-8b"]
    for at in (100.0, 102.0, 50.0, 52.0):
        traces.add([replace(before, at=at)])
    assert [point.t_s for point in traces.points["chat-8b"]] == [50.0, 52.0]
    assert traces.stands["chat-8b"] == 50.0


def test_a_long_watch_keeps_the_whole_span_in_few_points() -> None:
    traces, decision = Traces(), eight().view.decisions["chat-8b"]
    for tick in range(3600):
        traces.add([replace(decision, at=1000.0 + 2.0 * tick, concurrency=float(tick % 700))])
    points = traces.points["chat-8b"]
    assert len(points) <= 960 and points[0].t_s < 1040.0 and points[-1].t_s == 8198.0
    assert max(point.demand or 0.0 for point in points) == 699.0 / decision.target


def test_what_has_not_changed_is_not_read_again(fleet: Stored, tmp_path: Path) -> None:
    source = live(tmp_path)
    first, second = source.look(), source.look()
    assert second.view is first.view and second.whole and not first.whole
    fleet.store.add_events([Event(at=time.time(), kind="warning", subject="pool/x", message="something")])
    third = source.look()
    assert third.events[0].message == "something" and third.events[1:] == second.events
    assert third.view.by_service is first.view.by_service


def test_machines_are_read_at_once_when_what_is_wanted_changes(fleet: Stored, tmp_path: Path) -> None:
    source = live(tmp_path)
    assert any(row.name == "rerank" and row.state == "scaling" for row in source.look().services)
    fleet.store.set_up(fleet.look.view.intents[5].service.name, False, at=time.time())
    assert any(row.name == "rerank" and row.state == "draining" for row in source.look().services)


# playing back


def test_an_earlier_time_is_told_by_the_journal(fleet: Stored, tmp_path: Path) -> None:
    at = time.time()
    fleet.tick(at=at - 1.0)
    past = Past(fleet.store, listen="x", since=at - 1.5)
    look = past.look()
    assert not look.now and look.at == at - 1.5 and look.decision("chat-8b") is not None
    assert look.decision("chat-8b").at == pytest.approx(at - 2.0, abs=1.0)  # type: ignore[union-attr]
    assert past.look() is look
    past.seek(-3600.0)
    assert past.look().at < at - 1.5


def test_a_time_before_all_records_or_to_come_is_refused_with_one_that_works(fleet: Stored, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="the journal begins at") as caught:
        Past(fleet.store, listen="x", since=time.time() - 86_400.0)
    assert caught.value.hint.startswith("fleetctl top --at 20")
    begins = fleet.store.journal_begins()
    assert begins is not None
    played = Past(fleet.store, listen="x", since=begins - 3600.0, speed=1.0).look()
    assert begins <= played.at < begins + 60.0
    with pytest.raises(UsageError, match="yet to come"):
        Past(fleet.store, listen="x", since=time.time() + 60.0)
    empty: SqlStore = open_store(str(tmp_path / "empty.db"))
    with pytest.raises(NotFound, match="nothing is recorded yet"):
        Past(empty, listen="x", since=time.time())
    empty.close()


async def test_ages_are_those_of_the_time_that_is_played_back() -> None:
    async with shown(replace(eight(), now=False), setting=Setting(read_only=True)) as (app, pilot):
        assert found(app, "= stands still 20")
        await pilot.press("w")
        await settled(pilot)
        assert any(line.split()[2:3] and ":" in line.split()[2] for line in screen_text(app)[3:6])


# little terminals


async def test_a_terminal_too_small_for_a_table_says_what_to_run_instead() -> None:
    async with shown(size=(59, 20)) as (app, pilot):
        text = " ".join(" ".join(screen_text(app)).split())
        assert "needs 60x16" in text and "59x20" in text and "fleetctl ps --watch" in text
        assert "SERVICE" not in text
        await pilot.resize_terminal(80, 24)
        await settled(pilot)
        assert found(app, "SERVICE") and not found(app, "needs 60x16")


def strips(app: Top) -> list[list["object"]]:
    """What is drawn, with its styles."""
    return [list(strip) for strip in app.screen._compositor.render_strips()]


async def test_without_colours_nothing_has_one_and_the_cursor_is_still_seen() -> None:
    async with shown(eight(), setting=Setting(colours="none")) as (app, _):
        segments = [one for line in strips(app) for one in line if one.style is not None]
        assert all(one.style.color is None or one.style.color.is_default for one in segments)
        assert any(one.style.reverse and "vision-11b" in one.text for one in segments)


async def test_with_sixteen_colours_only_those_are_used_and_the_tones_differ() -> None:
    async with shown(eight(), setting=Setting(colours="few")) as (app, _):
        segments = [
            one for line in strips(app) for one in line if one.style is not None and one.style.color is not None
        ]
        assert {one.style.color.type.name for one in segments} <= {"DEFAULT", "STANDARD"}
        said = {
            word: one.style.color.number
            for one in segments
            for word in ("rolling", "81.0", "ready  ")
            if word in one.text
        }
        assert len(set(said.values())) == 3


async def test_in_ascii_borders_charts_and_bars_are_ascii_too() -> None:
    async with shown(eight(), setting=Setting(ascii_only=True)) as (app, pilot):
        for keys in ((), ("n",), ("question_mark",)):
            await pilot.press(*keys)
            await settled(pilot)
            text = "\n".join(screen_text(app))
            assert text.isascii(), [one for one in text if not one.isascii()]
            assert "+-" in text


@pytest.mark.parametrize("text", ["● ready", "2 → 3", "é ü ß", "漢字", "░▒▓█", "…", "𝟙", ""])
def test_in_ascii_every_text_keeps_its_width(text: str) -> None:
    from rich.cells import cell_len

    assert ascii_of(text).isascii() and len(ascii_of(text)) == cell_len(text)


# the mouse


async def test_a_click_on_a_header_sorts_and_a_second_turns_the_order() -> None:
    async with shown(eight()) as (app, pilot):
        line = screen_text(app)[5]
        at = line.index("READY")
        await pilot.click(offset=(at, 5))
        await settled(pilot)
        first = screen_text(app)[6]
        await pilot.click(offset=(at, 5))
        await settled(pilot)
        assert "chat-70b" in first and "0/0" in screen_text(app)[6]
        assert any("by READY" in one for one in screen_text(app))


async def test_a_click_selects_two_open_and_the_wheel_scrolls() -> None:
    async with shown(a_look(services=10, replicas=40)) as (app, pilot):
        await pilot.click(offset=(4, 8))
        await settled(pilot)
        assert app.page.subject == f"service/{screen_text(app)[8].split()[1]}"
        await pilot.click(offset=(4, 8), times=2)
        await settled(pilot)
        assert found(app, "replicas(")
        table = app.page.query_one("#list")
        before = table.scroll_offset.y
        table._on_mouse_scroll_down(_wheel(table))
        await settled(pilot)
        assert table.scroll_target_y > before


def _wheel(table: object) -> "object":
    from textual.events import MouseScrollDown

    return MouseScrollDown(widget=table, x=2, y=3, delta_x=0, delta_y=1, button=0, shift=False, meta=False, ctrl=False)  # type: ignore[arg-type]


# what is in the tables


def test_worst_first_is_by_who_needs_a_person_first() -> None:
    rows = {row.name: row for row in eight().services}
    made = [
        replace(rows["rerank"], name="rest", state="ready"),
        replace(rows["rerank"], name="queue", state="ready", queued=3, oldest_wait_s=1.0),
        replace(rows["rerank"], name="longer-queue", state="ready", queued=1, oldest_wait_s=9.0),
        replace(rows["vision-11b"], name="broken", state="ready"),
        replace(rows["vision-11b"], name="more-broken", promise=replace(rows["vision-11b"].promise, kept=0.5)),
        replace(rows["rerank"], name="starting", state="starting"),
        replace(rows["rerank"], name="held", state="held"),
        replace(rows["rerank"], name="failing", state="failing"),
        replace(rows["rerank"], name="down", state="down"),
        replace(rows["rerank"], name="moving", state="scaling"),
    ]
    names = [row.name for row in sorted(made, key=worst_first)]
    assert names == [
        "failing", "held", "starting", "more-broken", "broken", "longer-queue", "queue", "moving", "rest", "down",
    ]  # fmt: skip


def test_the_parts_of_the_cost_add_up() -> None:
    look = eight()
    lines = spend_lines(look.view, at=look.at)
    total = lines[0]
    of = {kind: sum(one.per_hour or 0.0 for one in lines if one.of == kind) for kind in ("pool", "service", "instance")}
    (unused,) = (one for one in lines if one.of == "unused")
    assert total.per_hour == pytest.approx(look.view.price_per_hour[0]) == pytest.approx(of["pool"])
    assert of["instance"] == pytest.approx(total.per_hour or 0.0)
    assert of["service"] + (unused.per_hour or 0.0) == pytest.approx(total.per_hour or 0.0)
    assert sum(one.so_far or 0.0 for one in lines if one.of == "pool") == pytest.approx(total.so_far or 0.0)


def test_a_price_that_is_not_known_makes_the_total_unknown_and_not_less() -> None:
    view = eight().view
    first = view.instances[0]
    unpriced = replace(first, offer=replace(first.offer, price_per_hour=None))
    lines = spend_lines(replace(view, instances=(unpriced, *view.instances[1:])), at=NOW)
    assert lines[0].per_hour is None and lines[0].note == "the price of 1 is not known"


@pytest.mark.parametrize(
    ("host", "origin", "own"),
    [
        ("127.0.0.1:8090", None, True),
        ("localhost:8090", "http://localhost:8090", True),
        ("127.0.0.1:8090", "http://127.0.0.1:8090", True),
        ("127.0.0.1:8090", "https://evil.example", False),
        ("evil.example:8090", None, False),
        ("127.0.0.1:8091", None, False),
        ("127.0.0.1:8090", "null", False),
    ],
)
def test_the_web_dashboard_answers_its_own_page_only(host: str, origin: str | None, own: bool) -> None:
    assert is_own(host, origin, port=8090) is own


def test_a_newer_store_is_refused_before_anything_is_drawn(fleet: Stored, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "fleet.db") as database:
        database.execute("UPDATE schema_version SET version = 99")
    with pytest.raises(Conflict, match="newer fleetctl"):
        live(tmp_path)


async def test_what_one_replica_more_costs_is_the_price_of_one_that_has_a_machine() -> None:
    async with shown(eight()) as (app, pilot):
        await pilot.press("plus")
        await settled(pilot)
        assert found(app, "vision-11b: 6 → 7 replicas for 1h, +$1.84/h")
        await pilot.press("n", "down", "minus")
        await settled(pilot)
        assert found(app, "chat-8b: 22 → 21 replicas for 1h, −$0.88/h")


async def test_dialogs_are_drawn_in_sixteen_colours_and_without_any() -> None:
    for colours in ("few", "none"):
        async with shown(eight(), setting=Setting(colours=colours)) as (app, pilot):
            await pilot.press("question_mark")
            await settled(pilot)
            assert found(app, "one replica more")
