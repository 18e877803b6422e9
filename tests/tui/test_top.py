"""The dashboard as a person uses it: keys in, screens out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from pictures import Fixed, a_look, screen_text
from textual.pilot import Pilot
from textual.widgets import Static

from fleetctl.errors import StoreFailure
from fleetctl.tui.acting import Setting
from fleetctl.tui.app import Top
from fleetctl.views.looks import Look

LARGE, SMALL = (120, 40), (80, 24)


@asynccontextmanager
async def shown(
    look: Look | None = None, *, size: tuple[int, int] = LARGE, setting: Setting | None = None
) -> AsyncIterator[tuple[Top, Pilot[None]]]:
    app = Top(Fixed(look or a_look()), setting or Setting(context="prod"))
    async with app.run_test(size=size, notifications=True) as pilot:
        await settled(pilot)
        yield app, pilot


async def settled(pilot: Pilot[None]) -> None:
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()
    await pilot.pause()


def found(app: Top, text: str) -> bool:
    return any(text in line for line in screen_text(app))


def order(app: Top, *names: str) -> list[str]:
    """These names by where they stand in the first column."""
    lines = screen_text(app)
    at = {name: next((row for row, line in enumerate(lines) if line[2:].startswith(f"{name} ")), 999) for name in names}
    return sorted((name for name in names if at[name] < 999), key=lambda name: at[name])


async def test_the_first_screen_answers_what_it_costs_who_waits_and_whether_the_promise_is_kept() -> None:
    async with shown() as (app, _):
        text = "\n".join(screen_text(app))

    assert "fleetctl › prod › services" in text
    assert "$241.04" in text and "cap $400.00" in text
    assert "23/25" in text and "1 starting" in text
    assert "oldest 6.2s" in text
    assert "least: code-32b" in text
    assert "▲ scaling" in text and "● ready" in text
    assert "demand = concurrency ÷ target a replica" in text
    assert "Pools and standby" in text and "Starts by stage: code-32b" in text


async def test_in_a_small_terminal_the_keys_1_to_4_choose_the_lower_panel() -> None:
    async with shown(size=SMALL) as (app, pilot):
        assert len(screen_text(app)) == 24
        assert found(app, "What was decided, and why") and not found(app, "Pools and standby")
        for key, title in (("2", "Demand and replicas"), ("3", "Pools and standby"), ("4", "Starts by stage")):
            await pilot.press(key)
            await settled(pilot)
            assert found(app, title), "\n".join(screen_text(app))
            assert not found(app, "What was decided")


async def test_a_wide_terminal_shows_what_was_ready_lately() -> None:
    async with shown(size=(200, 60)) as (app, _):
        assert found(app, "READY, 2H")


async def test_no_name_is_cut_however_narrow_the_terminal() -> None:
    async with shown(size=(64, 22)) as (app, _):
        for name in ("chat-70b", "batch-eval", "embed-m3"):
            assert found(app, name)


async def test_capital_letters_sort_and_turn_the_order() -> None:
    async with shown() as (app, pilot):
        await pilot.press("K")  # KEPT%
        await settled(pilot)
        assert order(app, "code-32b", "chat-8b") == ["chat-8b", "code-32b"]
        await pilot.press("K")
        await settled(pilot)
        assert order(app, "code-32b", "chat-8b") == ["code-32b", "chat-8b"]
        await pilot.press("K")
        await settled(pilot)
        assert found(app, "worst first")


async def test_a_filter_keeps_what_matches_and_with_a_bang_what_does_not() -> None:
    async with shown() as (app, pilot):
        await pilot.press("slash", *"chat", "enter")
        await settled(pilot)
        assert found(app, "Services 2") and found(app, "only /chat/")
        await pilot.press("slash", "exclamation_mark", *"chat", "enter")
        await settled(pilot)
        assert found(app, "Services 6")
        await pilot.press("escape")
        await settled(pilot)
        assert found(app, "Services 8")


async def test_a_filter_that_is_no_regular_expression_is_said_and_changes_nothing() -> None:
    async with shown() as (app, pilot):
        await pilot.press("slash", "left_parenthesis", "enter")
        await settled(pilot)
        assert found(app, "no regular expression")
        assert found(app, "Services 8")


async def test_enter_goes_from_a_service_to_its_replicas_and_escape_back() -> None:
    async with shown() as (app, pilot):
        await pilot.press("enter")
        await settled(pilot)
        assert found(app, "services › replicas(code-32b)")
        assert found(app, "code-32b-1") and not found(app, "chat-70b-1")
        await pilot.press("escape")
        await settled(pilot)
        assert found(app, "Services 8")


async def test_the_cursor_stays_with_its_service_when_the_order_changes() -> None:
    look = a_look()
    async with shown(look) as (app, pilot):
        await pilot.press("down")
        before = app.page.subject
        assert isinstance(app._source, Fixed)
        app._source.next = replace(look, services=list(reversed(look.services)))
        app.look_again()
        await settled(pilot)
        assert app.page.subject == before == "service/chat-70b"


@pytest.mark.parametrize(
    ("key", "crumb", "text"),
    [
        ("p", "replicas", "chat-70b-3"),
        ("n", "nodes", "chat-8b-m1"),
        ("c", "cost", "SO FAR"),
        ("v", "events", "▲ 2 → 3"),
        ("w", "starts", "chat-8b-0"),
        ("t", "schedules", "no service has a schedule"),
        ("r", "rollouts", "no rollout yet"),
    ],
)
async def test_each_page_opens_by_its_key(key: str, crumb: str, text: str) -> None:
    async with shown() as (app, pilot):
        await pilot.press(key)
        await settled(pilot)
        assert found(app, f"services › {crumb}"), "\n".join(screen_text(app))
        assert found(app, text), "\n".join(screen_text(app))


async def test_scaling_asks_with_its_price_and_enter_means_no() -> None:
    async with shown() as (app, pilot):
        await pilot.press("down", "plus")
        await settled(pilot)
        assert found(app, "chat-70b: 3 → 4 replicas for 1h") and found(app, "/h")
        assert found(app, "fleetctl scale chat-70b=4 --for 1h")
        await pilot.press("enter")
        await settled(pilot)
        assert not found(app, "fleetctl scale")


@pytest.mark.parametrize("key", ["plus", "minus", "ctrl+d", "s"])
async def test_a_read_only_dashboard_changes_nothing_and_says_so(key: str) -> None:
    async with shown(setting=Setting(context="prod", read_only=True)) as (app, pilot):
        assert found(app, " RO ")
        await pilot.press(key)
        await settled(pilot)
        assert found(app, "read-only")
        assert not found(app, "yes")


async def test_a_store_that_cannot_be_read_is_said_and_the_last_look_stays() -> None:
    class Broken(Fixed):
        def look(self) -> Look:
            if self.looked:
                raise StoreFailure("the store is locked", hint="fleetctl doctor")
            return super().look()

    app = Top(Broken(a_look()), Setting())
    async with app.run_test(size=LARGE) as pilot:
        await settled(pilot)
        app.look_again()
        await settled(pilot)
        assert found(app, "the store cannot be read: the store is locked; fleetctl doctor")
        assert found(app, "Services 8")


async def test_old_data_is_called_old() -> None:
    look = a_look()
    stale = replace(look, at=look.at + 120.0)
    async with shown(stale) as (app, _):
        assert found(app, "data 2m old: no controller decides?")


async def test_ten_thousand_replicas_are_scrolled_through_at_once() -> None:
    async with shown(a_look(services=10, replicas=1000)) as (app, pilot):
        await pilot.press("p")
        await settled(pilot)
        assert found(app, "replicas 10000")
        await pilot.press("G")
        await settled(pilot)
        assert found(app, "service-9-1000")


async def test_a_resize_while_it_draws_keeps_everything_in_place() -> None:
    async with shown() as (app, pilot):
        for width, height in ((80, 24), (200, 60), (40, 10), (120, 40)):
            await pilot.resize_terminal(width, height)
            await settled(pilot)
        assert found(app, "Pools and standby") and found(app, "Services 8")


async def test_without_unicode_every_state_keeps_a_glyph_and_its_word() -> None:
    async with shown(setting=Setting(ascii_only=True)) as (app, _):
        assert found(app, "^ scaling") and found(app, "* ready")


async def test_back_on_a_page_its_first_picture_is_of_now() -> None:
    source = Fixed(a_look())
    app = Top(source, Setting(context="prod", interval_s=3600.0))
    async with app.run_test(size=LARGE) as pilot:
        await settled(pilot)
        await pilot.press("n")
        await settled(pilot)
        later = a_look()
        row = replace(later.services[0], queued=4711.0)
        source.next = replace(later, services=[row, *later.services[1:]])
        app.look_again()
        await settled(pilot)
        app.action_leave()  # what is drawn before anything else runs
        assert app.page.query_one("#services").row.queued == 4711.0  # type: ignore[attr-defined]
        figures = str(app.page.query_one("#figures", Static).content)
        assert "cap $400.00" in figures and "▌4711" in figures


async def test_a_page_that_is_open_is_gone_back_to_and_not_opened_again() -> None:
    async with shown() as (app, pilot):
        for key in ("x", "v", "c", "v"):
            await pilot.press(key)
            await settled(pilot)
        assert found(app, "services › xray › events   ")
        await pilot.press("escape", "escape")
        await settled(pilot)
        assert found(app, "Services 8")


async def test_explain_and_more_mean_the_service_of_the_selected_replica_but_taking_down_does_not() -> None:
    async with shown() as (app, pilot):
        await pilot.press("enter", "minus")
        await settled(pilot)
        assert found(app, "scale code-32b")
        await pilot.press("n", "ctrl+d")
        await settled(pilot)
        assert not found(app, "take code-32b down") and found(app, "select a service")
        await pilot.press("e")
        await settled(pilot)
        assert found(app, "fleetctl explain code-32b")


async def test_few_services_leave_their_room_to_the_panel_below() -> None:
    async with shown(replace(a_look(), services=a_look().services[:2]), size=SMALL) as (app, _):
        lines = screen_text(app)
        assert next(at for at, line in enumerate(lines) if "What was decided" in line) == 8
        assert lines[22].startswith("╰")


async def test_both_halves_end_in_the_same_column() -> None:
    async with shown() as (app, _):
        assert {len(line.rstrip()) for line in screen_text(app) if line.rstrip().endswith(("╮", "╯"))} == {120}


async def test_what_is_typed_with_brackets_is_said_as_it_is_and_once() -> None:
    async with shown() as (app, pilot):
        for _ in range(3):
            await pilot.press("colon", *"x[/y]", "enter")
            await settled(pilot)
        assert sum("'x[/y]'" in line for line in screen_text(app)) == 1
