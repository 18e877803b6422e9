"""The keys: one table for the bindings, the footer and the help."""

from typing import NamedTuple

from rich.text import Text

from fleetctl.tui.tones import style_of


class Key(NamedTuple):
    key: str
    """As Textual names it."""
    action: str
    shown: str
    what: str
    changes: bool = False
    """Not for a read-only dashboard."""
    footer: int = 0
    """Its place in the footer, where there is room; 0: in the help only."""
    first: bool = False
    """Before the widget that has the focus: what is typed right behind it belongs to what it opens."""


KEYS: tuple[Key, ...] = (
    Key("colon", "command", ":", "command", footer=1, first=True),
    Key("slash", "filter", "/", "filter (regular expression; /! what is not)", footer=2, first=True),
    Key("d", "tell('describe')", "d", "describe", footer=4),
    Key("e", "tell('explain')", "e", "explain", footer=3),
    Key("l", "logs", "l", "logs", footer=5),
    Key("s", "shell", "s", "shell", changes=True, footer=6),
    Key("plus,equals_sign", "scale(1)", "+", "one replica more", changes=True, footer=7),
    Key("minus", "scale(-1)", "-", "one replica less", changes=True, footer=8),
    Key("ctrl+d", "drain", "^d", "take the service down", changes=True, footer=12),
    Key("r", "open('rollouts')", "r", "rollouts"),
    Key("c", "open('cost')", "c", "cost", footer=9),
    Key("x", "open('xray')", "x", "xray: service, pool, instance, replica as a tree"),
    Key("v", "open('events')", "v", "events, and every decision that stands"),
    Key("n", "open('nodes')", "n", "nodes"),
    Key("p", "open('replicas')", "p", "all replicas"),
    Key("t", "open('schedules')", "t", "schedules"),
    Key("w", "open('starts')", "w", "starts"),
    Key("1", "panel(1)", "1", "lower panel: decisions"),
    Key("2", "panel(2)", "2", "lower panel: demand and replicas"),
    Key("3", "panel(3)", "3", "lower panel: pools and standby"),
    Key("4", "panel(4)", "4", "lower panel: starts by stage"),
    Key("left_square_bracket", "seek(-1)", "[", "a minute back (played back only)"),
    Key("right_square_bracket", "seek(1)", "]", "a minute on (played back only)"),
    Key("space", "play", "space", "play ten times as fast, or stand still (played back only)"),
    Key("escape", "leave", "esc", "back"),
    Key("question_mark", "keys", "?", "help", footer=10),
    Key("q", "quit", "q", "quit", footer=11),
    *(Key(f"{letter.upper()}", f"sort('{letter}')", letter.upper(), "") for letter in "abcdefhiklmnopqrstuvwxyz"),
)


def keys_line(*, read_only: bool, past: bool, width: int) -> Text:
    """The footer."""
    text = Text(no_wrap=True, overflow="crop")
    shown = sorted(
        (key for key in KEYS if key.footer and not (key.changes and (read_only or past))), key=lambda k: k.footer
    )
    if past:
        text.append(" [ ]", style_of("warn")).append(" a minute  ")
        text.append("space", style_of("warn")).append(" play  ")
    for key in shown:
        word = key.what.partition(" (")[0]
        if text.cell_len + len(key.shown) + len(word) + 4 > width:
            break
        text.append(f" {key.shown}", style_of("warn")).append(f" {word} ")
    return text


def help_text(*, read_only: bool) -> Text:
    """All keys, and what a capital letter does."""
    text = Text()
    for key in KEYS:
        if key.what and not (key.changes and read_only):
            text.append(f"{key.shown:>7}", style_of("warn")).append(f"  {key.what}\n")
    text.append("    A-Z", style_of("warn")).append(
        "  sort by the column that begins so; again: the other way round, then the next such column, then as usual\n"
    )
    text.append("  enter", style_of("warn")).append("  go in: service → replicas → node → replicas, pool → nodes\n")
    text.append("  mouse", style_of("warn")).append("  a click selects, two go in; on a header: sort by that column\n")
    text.append("    tab", style_of("warn")).append("  the next table of the page\n")
    text.append(
        "\nAfter : a table (replicas, nodes, pools, events, starts, schedules, rollouts, cost, xray),\n"
        "a service's name, or any command of fleetctl, such as :explain chat or :scale chat=4 --for 2h.\n"
    )
    if read_only:
        text.append("\nThis dashboard is read-only: keys that change something are off.\n")
    return text
