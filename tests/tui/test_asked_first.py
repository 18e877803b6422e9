"""Nothing is done that was not asked about, seen and agreed to: dialogs, names typed, terminals too small."""

from dataclasses import replace
from pathlib import Path

import pytest
from fleet_of_eight import eight
from pictures import screen_text
from rich.text import Text
from test_top import SMALL, found, settled, shown

from fleetctl.tui.acting import Setting
from fleetctl.tui.asking import Consent, ask, environment_of
from fleetctl.tui.commands import Vocabulary
from fleetctl.tui.dialogs import folded
from fleetctl.tui.proposals import taken_down

TINY = (50, 12)
TYPED = Setting(context="prod", confirm_name="prod", vocabulary=Vocabulary(commands=("scale",)))


@pytest.mark.parametrize("keys", [("plus", "y"), ("ctrl+d", "y"), ("colon", *"nodes", "enter"), ("n",), ("slash", "x")])
async def test_where_nothing_is_seen_no_key_does_anything(keys: tuple[str, ...]) -> None:
    async with shown(eight(), size=SMALL) as (app, pilot):
        before = screen_text(app)
        await pilot.resize_terminal(*TINY)
        await settled(pilot)
        await pilot.press(*keys)
        await settled(pilot)
        assert "needs 60x16" in " ".join(" ".join(screen_text(app)).split())
        assert len(app.screen_stack) == 1
        await pilot.resize_terminal(*SMALL)
        await settled(pilot)
        assert screen_text(app) == before


async def test_a_question_is_hidden_with_all_else_and_cannot_be_answered_then() -> None:
    async with shown(eight(), size=SMALL) as (app, pilot):
        await pilot.press("plus")
        await settled(pilot)
        assert found(app, "vision-11b: 6 → 7")
        await pilot.resize_terminal(*TINY)
        await settled(pilot)
        assert not found(app, "6 → 7") and found(app, "50x12")
        await pilot.press("y")
        await settled(pilot)
        await pilot.resize_terminal(*SMALL)
        await settled(pilot)
        assert found(app, "vision-11b: 6 → 7")


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_a_terminal_too_small_is_left_with_q(key: str) -> None:
    async with shown(eight(), size=TINY) as (app, pilot):
        await pilot.press(key)
        await pilot.pause()
    assert not app.is_running


async def test_above_a_dialog_no_key_reaches_the_page() -> None:
    async with shown(eight()) as (app, pilot):
        await pilot.press("question_mark", "colon", "slash", "n")
        await settled(pilot)
        assert found(app, "keys")
        await pilot.press("escape")
        await settled(pilot)
        assert found(app, "Services 8") and not found(app, "› nodes")


async def test_a_context_that_wants_its_name_gets_it_typed_here() -> None:
    async with shown(eight(), setting=TYPED) as (app, pilot):
        await pilot.press("plus")
        await settled(pilot)
        assert found(app, "vision-11b: 6 → 7") and found(app, "Type prod, the name of this context")
        await pilot.press("y", "enter")
        await settled(pilot)
        assert found(app, "that is not prod") and app.screen.is_modal
        await pilot.press("escape")
        await settled(pilot)
        assert not app.screen.is_modal


async def test_what_was_agreed_to_with_the_name_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command itself, in a context that wants its name, takes what the dashboard asked for as its answer."""
    monkeypatch.delenv("FLEETCTL_HOME", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    added = await ask(["context", "add", "prod", "--typed", "--home", str(tmp_path / "home")], width=80)
    assert added.code == 0, added.text
    monkeypatch.setenv("FLEETCTL_CONTEXT", "prod")
    file = tmp_path / "chat.yaml"
    file.write_text("kind: service\nname: chat\nengine: rehearsal\nmodel: hf://a/b\ngpu: L40S:1\nscaling: {min: 1}\n")
    declared = await ask(["apply", "--file", str(file)], width=100, consent=Consent("prod"))
    assert declared.code == 0, declared.text
    words = taken_down(eight().services[0]).words
    words = tuple("chat" if word == eight().services[0].name else word for word in words)

    refused = await ask(words, width=100, consent=Consent())
    done = await ask(words, width=100, consent=Consent("prod"))

    assert refused.code == 3 and "--confirm prod" in refused.text
    assert done.code == 0, done.text


def test_an_environment_that_says_yes_to_all_says_nothing_for_the_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETCTL_YES", "1")
    monkeypatch.setenv("FLEETCTL_CONFIRM", "prod")

    assert not {"FLEETCTL_YES", "FLEETCTL_CONFIRM"} & environment_of(None).keys()
    assert environment_of(Consent())["FLEETCTL_YES"] == "1" and "FLEETCTL_CONFIRM" not in environment_of(Consent())
    assert environment_of(Consent("prod"))["FLEETCTL_CONFIRM"] == "prod"


async def test_an_event_that_a_column_cuts_is_read_whole_by_enter() -> None:
    look = eight()
    long = replace(look.events[0], message="launch failed: " + "every zone of it is empty, " * 6 + "and that is all")
    async with shown(replace(look, events=(long,)), size=SMALL) as (app, pilot):
        await pilot.press("v", "slash", *"launch", "enter", "enter")
        await settled(pilot)
        assert "and that is all" in " ".join(" ".join(screen_text(app)).split())


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("  because   one two three four", ["  because   one two", "            three four"]),
        ("short", ["short"]),
        ("onewordthatislongerthanallthewidthofit", ["onewordthatislongerthana", "llthewidthofit"]),
        ("  rates  1  at most two more soon", ["  rates  1  at most two", "            more soon"]),
        ("a\n\nb", ["a", "", "b"]),
    ],
)  # fmt: skip
def test_long_lines_go_on_below_where_their_text_began(text: str, lines: list[str]) -> None:
    assert [line.rstrip() for line in folded(Text(text), 24).plain.split("\n")] == lines
