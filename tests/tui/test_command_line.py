"""What is typed after `:` and `/`: what it means, how Tab completes it, what a slip is answered with."""

from collections.abc import Sequence

import pytest
from pictures import a_look
from test_top import SMALL, found, settled, shown

from fleetctl.cli.commands import commands
from fleetctl.cli.line_ends import ends
from fleetctl.tui.acting import Setting
from fleetctl.tui.commands import READING, Leave, Run, Show, Vocabulary, completed, meaning

COMMANDS = (*(one.name for one in commands()), "help")
VOCABULARY = Vocabulary(commands=COMMANDS, ends=ends)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (":q", Leave()),
        (":xray chat", Show("xray", "service/chat")),
        (":nodes gpus", Show("nodes", "pool/gpus")),
        (":services", Show("", "")),
        (":pool", Show("pools", "")),
        (":rollout", Show("rollouts", "")),
        (":chat", Show("replicas", "service/chat")),
        (":cost chat", Show("cost", "service/chat")),
        (":cost report", Run(("cost", "report"), changes=False)),
        (":fleetctl explain chat", Run(("explain", "chat"), changes=False)),
        (":events -w", Run(("events", "-w"), changes=False, terminal=True)),
        (":logs chat -f", Run(("logs", "chat", "-f"), changes=False, terminal=True)),
        (":plan -f fleet", Run(("plan", "-f", "fleet"), changes=False)),
        (":rollout status chat", Run(("rollout", "status", "chat"), changes=False)),
        (":rollout undo chat", Run(("rollout", "undo", "chat"), changes=True)),
        (":exec chat", Run(("exec", "chat"), changes=True, terminal=True)),
        (":scale chat=3", Run(("scale", "chat=3"), changes=True)),
        (":plan --out p.json", Run(("plan", "--out", "p.json"), changes=True)),
        (":", None),
    ],
)
def test_what_is_typed_means_one_thing_and_what_is_not_known_to_be_harmless_changes(typed: str, meant: object) -> None:
    assert meaning(typed, ["chat"], COMMANDS) == meant


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (":poo", "there is no command, table or service 'poo': did you mean :pool?"),
        (":explian chat", "did you mean :explain?"),
        (":nod", "did you mean :nodes?"),
        (":chta", "did you mean :chat?"),
        (":xyzzy", "'xyzzy'; ? names what there is"),
        (":xray chta", "there is no service 'chta': did you mean :xray chat?"),
        (":explain 'chat", "no closing quotation"),
    ],
)
def test_a_slip_is_named_with_what_may_have_been_meant(typed: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        meaning(typed, ["chat"], COMMANDS)

    assert said in str(caught.value)


def test_every_command_that_is_called_harmless_exists() -> None:
    from fleetctl.cli.options import LINES

    assert {one for one in READING if one not in LINES and one not in COMMANDS} == set()


def _names(words: Sequence[str]) -> Sequence[str]:
    known = ("chat", "chat-70b", "code") if words[0] == "explain" else ("status", "undo")
    return [one for one in known if one.startswith(words[-1])]


@pytest.mark.parametrize(
    ("typed", "becomes", "choices"),
    [
        (":expl", ":explain ", ["explain"]),
        (":pool", ":pool", ["pool", "pools"]),
        (":xr", ":xray", ["xray"]),
        (":explain c", ":explain c", ["chat", "chat-70b", "code"]),
        (":explain ch", ":explain chat", ["chat", "chat-70b"]),
        (":explain co", ":explain code ", ["code"]),
        (":rollout s", ":rollout status ", ["status"]),
        (":nodes ra", ":nodes rag ", ["rag"]),
        (":zzz", ":zzz", []),
    ],
)
def test_tab_completes_as_far_as_there_is_no_choice(typed: str, becomes: str, choices: list[str]) -> None:
    words = Vocabulary(commands=("explain", "pool", "rollout"), ends=_names)

    assert completed(typed, ["rag"], words) == (becomes, choices)


@pytest.mark.parametrize(
    ("words", "some"),
    [
        (("rollout", "s"), ["status"]),
        (("scale", "--f"), ["--for"]),
        (("standby", "set", "chat", "--tier", "w"), ["warm"]),
        (("no-such", "x"), []),
    ],
)
def test_subcommands_options_and_values_are_those_of_the_commands(words: tuple[str, ...], some: list[str]) -> None:
    assert list(ends(words)) == some


async def test_the_command_line_goes_to_tables_and_services() -> None:
    async with shown() as (app, pilot):
        await pilot.press("colon", *"nodes", "enter")
        await settled(pilot)
        assert found(app, "› nodes")
        await pilot.press("colon", *"rerank", "enter")
        await settled(pilot)
        assert found(app, "replicas(rerank)")


async def test_a_typo_is_answered_and_not_asked_about() -> None:
    async with shown(setting=Setting(vocabulary=VOCABULARY)) as (app, pilot):
        await pilot.press("colon", *"poo", "enter")
        await settled(pilot)
        assert found(app, "there is no command, table or service 'poo'") and found(app, "mean :pool?")
        assert not app.screen.is_modal


async def test_tab_completes_and_shows_the_choices_in_the_footer() -> None:
    async with shown(size=SMALL, setting=Setting(vocabulary=VOCABULARY)) as (app, pilot):
        await pilot.press("colon", *"roll", "tab")
        await settled(pilot)
        assert found(app, "rollback  rollout  rollouts")
        await pilot.press("b", "tab")
        await settled(pilot)
        assert found(app, ":rollback")
        assert not found(app, "rollback  rollout")
        await pilot.press("escape")
        await settled(pilot)
        assert found(app, "? help")


async def test_taking_back_the_colon_closes_the_line() -> None:
    async with shown() as (app, pilot):
        await pilot.press("colon", "x", "backspace", "backspace", "n")
        await settled(pilot)
        assert found(app, "› nodes")


async def test_a_command_that_changes_is_not_run_from_a_read_only_dashboard() -> None:
    async with shown(setting=Setting(read_only=True, vocabulary=VOCABULARY)) as (app, pilot):
        await pilot.press("colon", *"scale", "space", *"rerank", "equals_sign", "5", "enter")
        await settled(pilot)
        assert found(app, "read-only")


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 16)])
async def test_a_filter_without_a_match_says_so_and_which_key_drops_it(size: tuple[int, int]) -> None:
    async with shown(size=size) as (app, pilot):
        await pilot.press("slash", *"xyzzy", "enter")
        await settled(pilot)
        assert found(app, "nothing here matches /xyzzy/; Esc shows all") and found(app, "Services 0 of 8")
        assert not found(app, "no services are up")
        await pilot.press("escape")
        await settled(pilot)
        assert found(app, "Services 8")


async def test_a_filter_of_a_page_is_dropped_by_escape_before_the_page_is_left() -> None:
    async with shown(a_look()) as (app, pilot):
        await pilot.press("n", "slash", *"nothing-like-it", "enter")
        await settled(pilot)
        assert found(app, "nothing here matches /nothing-like-it/; Esc shows all")
        await pilot.press("escape")
        await settled(pilot)
        assert found(app, "› nodes") and found(app, "chat-8b-m1")
        await pilot.press("escape")
        await settled(pilot)
        assert found(app, "Services 8")


async def test_a_filter_is_dropped_by_escape_while_it_is_typed() -> None:
    async with shown() as (app, pilot):
        await pilot.press("slash", *"chat")
        await settled(pilot)
        await settled(pilot)
        assert found(app, "Services 2 of 8")
        await pilot.press("escape")
        await settled(pilot)
        assert found(app, "Services 8")
