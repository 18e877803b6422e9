"""The keys: one table for the bindings, the footer and the help."""

import itertools
from collections.abc import Sequence
from typing import Final, NamedTuple

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
    past: bool = False
    """For what is played back alone."""
    footer: int = 0
    """Its place in the footer, where there is room; 0: in the help only."""
    word: str = ""
    """What the footer calls it; empty: as the help does."""
    first: bool = False
    """Before the widget that has the focus: what is typed right behind it belongs to what it opens."""


KEYS: tuple[Key, ...] = (
    Key("colon", "command", ":", "a table, a service, a command", footer=1, word="command", first=True),
    Key("slash", "filter", "/", "filter rows by a pattern", footer=2, word="filter", first=True),
    Key("e", "tell('explain')", "e", "explain: why so many", footer=3, word="explain"),
    Key("d", "tell('describe')", "d", "describe", footer=4),
    Key("l", "logs", "l", "logs of a replica, as they come", footer=5, word="logs"),
    Key("s", "shell", "s", "a shell where a replica runs", changes=True, footer=6, word="shell"),
    Key("plus,equals_sign", "scale(1)", "+", "one replica more for an hour", changes=True, footer=7, word="more"),
    Key("minus", "scale(-1)", "-", "one replica less for an hour", changes=True, footer=8, word="less"),
    Key("ctrl+d", "drain", "^d", "take the service down", changes=True, footer=11, word="down"),
    Key("escape", "leave", "esc", "drop the filter; a page back"),
    Key("question_mark", "keys", "?", "help", footer=20),
    Key("q", "quit", "q", "quit", footer=21),
    Key("p", "open('replicas')", "p", "replicas"),
    Key("n", "open('nodes')", "n", "nodes: the machines"),
    Key("x", "open('xray')", "x", "xray: all of it as a tree"),
    Key("v", "open('events')", "v", "events and decisions", footer=10, word="events"),
    Key("c", "open('cost')", "c", "cost", footer=9),
    Key("r", "open('rollouts')", "r", "rollouts"),
    Key("t", "open('schedules')", "t", "schedules"),
    Key("w", "open('starts')", "w", "starts, stage by stage"),
    Key("1", "panel(1)", "1", "lower panel: decisions"),
    Key("2", "panel(2)", "2", "lower panel: demand"),
    Key("3", "panel(3)", "3", "lower panel: pools"),
    Key("4", "panel(4)", "4", "lower panel: starts"),
    Key("left_square_bracket", "seek(-1)", "[", "a minute back", past=True),
    Key("right_square_bracket", "seek(1)", "]", "a minute on", past=True),
    Key("space", "play", "space", "play at ten times the speed; stop", past=True),
    *(Key(f"{letter.upper()}", f"sort('{letter}')", letter.upper(), "") for letter in "abcdefhiklmnopqrstuvwxyz"),
)
_LAST: Final = ("?", "q")
"""In every footer: who knows no key finds all of them, and the way out."""
LEAVING: Final = ("q", "ctrl+q", "ctrl+c")
"""Keys that leave the dashboard even where nothing can be shown."""
COLUMNS: Final = (
    ("READY", "replicas ready / desired"),
    ("CONC/LIMIT", "requests queued + running / what the ready replicas serve at once; orange: above the target"),
    ("QUEUE", "of these, held by the gateway"),
    ("TTFT", "time to the first token, at the promise's percentile"),
    ("KEPT%", "requests whose first token came in time; red: fewer than promised"),
    ("$/H", "of the machines' shares that its replicas take"),
)
"""What the figures of the first page mean."""


def keys_line(*, read_only: bool, past: bool, width: int) -> Text:
    """The footer."""
    may = [key for key in KEYS if key.footer and not (key.changes and (read_only or past))]
    shown = sorted(may, key=lambda key: key.footer)
    last = [_named(key) for key in shown if key.shown in _LAST]
    room = width - sum(one.cell_len for one in last)
    text = Text(no_wrap=True, overflow="crop")
    if past:
        text.append(" [ ]", style_of("warn")).append(" a minute  ")
        text.append("space", style_of("warn")).append(" play  ")
    for key in shown:
        one = _named(key)
        if key.shown not in _LAST:
            if text.cell_len + one.cell_len > room:
                break
            text.append_text(one)
    for one in last:
        text.append_text(one)
    return text


def _named(key: Key) -> Text:
    return Text.assemble((f" {key.shown}", style_of("warn")), f" {key.word or key.what} ")


_BESIDE: Final = 37
"""Columns of one of two columns of keys."""


def help_text(*, read_only: bool, past: bool, width: int) -> Text:
    """All keys, in two columns where there is room, and what the columns of the first page mean."""
    may = [key for key in KEYS if key.what and not (key.changes and (read_only or past)) and (past or not key.past)]
    lines = [(key.shown, key.what) for key in may]
    lines += [("enter", "go in, as a double click does"), ("tab", "the next table")]
    lines += [("j k", "down, up; g, G: first, last")]
    lines += [("A-Z", "sort by the column so begun")]
    half = -(-len(lines) // 2) if width >= 2 * _BESIDE else len(lines)
    text = Text()
    for left, right in itertools.zip_longest(lines[:half], lines[half:], fillvalue=("", "")):
        text.append(f"{left[0]:>5} ", style_of("warn")).append(left[1].ljust(_BESIDE - 6))
        text.append(f"{right[0]:>5} ", style_of("warn")).append(f"{right[1]}\n")
    text.append_text(_prose(read_only=read_only, past=past))
    return text


def _prose(*, read_only: bool, past: bool) -> Text:
    text = Text()
    rows: Sequence[tuple[str, str]] = (
        ("Enter", "service → replicas → node → its replicas; pool → nodes; an event: all of its text"),
        ("A-Z", "the same again: the other way round, then the next such column, then the usual order;"
         " a click on a header sorts, too"),
        ("/", "/chat: rows with chat; /!chat: rows without; Esc drops it"),
        (":", "replicas nodes pools events starts schedules rollouts cost xray, or the name of a service, or any"
         " command of fleetctl, as in :explain chat or :scale chat=4 --for 2h; Tab completes"),
    )  # fmt: skip
    for name, what in rows:
        text.append(f"\n  {name:<10}  ", style_of("warn")).append(what)
    text.append("\n")
    for name, what in COLUMNS:
        text.append(f"\n  {name:<10}  ", style_of("strong")).append(what)
    if past:
        text.append("\n\nThis is the past: keys that change something are off.")
    elif read_only:
        text.append("\n\nThis dashboard is read-only: keys that change something are off.")
    return text
