"""The line at the top: where one is, whether one may change something, how old the data is."""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.text import Text

from fleetctl.tui.tones import style_of
from fleetctl.views.figures import ago
from fleetctl.views.looks import Look

_OLD_S = 15.0
"""A controller decides every two seconds; data older than this is stale."""


class _Age(NamedTuple):
    """How old the data is: in full, with what to type alone, and the age alone."""

    full: str
    short: str
    least: str
    tone: str


def crumb_line(
    look: Look | None, crumbs: Sequence[str], *, context: str, read_only: bool, width: int, playing: bool = False
) -> Text:
    """`fleetctl › prod › services   RO   data 0.4s old   ● live 14:03:22`.

    What is least needed goes first where the width is short: the program's name, words about the age, the clock, the
    pages between the first and this one.
    """
    badge = ("   RO", "good") if read_only else ("   RW", "bad")
    if look is None:
        age, right, tone = _Age("reading the store …", "reading …", "", "quiet"), ("", ""), ""
    elif look.now:
        age = _age(look)
        tone = "bad" if age.tone == "bad" else "good"
        clock, light = time.strftime("%H:%M:%S", time.localtime(look.at)), "✗ stale" if tone == "bad" else "● live"
        right = (f"{light} {clock} ", f"{light} ")
    else:
        age, tone = _Age("", "", "", "quiet"), "plan"
        then = time.strftime("%Y-%m-%d %H:%M:%S ", time.localtime(look.at))
        glyph, word = ("▶", "playing") if playing else ("=", "stands still")
        right = (f"{glyph} {word} {then}", f"{glyph} {then}")
    text = Text()
    for head, said, at_right in _ever_shorter(context, crumbs, age, right):
        text = Text(no_wrap=True, overflow="crop")
        for part, style in head:
            text.append(part, style_of(style))
        text.append(badge[0], style_of(badge[1]))
        if said:
            text.append(f"   {said}", style_of(age.tone))
        spare = width - text.cell_len - len(at_right)
        if spare >= 1:
            return text.append(" " * spare).append(at_right, style_of(tone))
    text.truncate(width, overflow="ellipsis")
    return text


_Head = list[tuple[str, str]]


def _ever_shorter(
    context: str, crumbs: Sequence[str], age: _Age, right: tuple[str, str]
) -> Iterator[tuple[_Head, str, str]]:
    """The line in ever fewer words."""
    here: _Head = [(f" {context}", "warn")]
    whole: _Head = [(" fleetctl", "strong"), (f" › {context}", "warn"), *((f" › {one}", "") for one in crumbs)]
    named: _Head = [*here, *((f" › {one}", "") for one in crumbs)]
    last: _Head = [
        *here,
        *([(" › …", "quiet")] if len(crumbs) > 1 else []),
        *((f" › {one}", "") for one in crumbs[-1:]),
    ]
    yield whole, age.full, right[0]
    yield named, age.full, right[0]
    yield named, age.short, right[0]
    yield named, age.short, right[1]
    yield last, age.short, right[0]
    yield last, age.short, right[1]
    yield last, age.least, right[1]
    yield here, age.least, right[1]


def _age(look: Look) -> _Age:
    age = look.data_age_s
    if age is None:
        if _led(look):
            return _Age("no decision yet", "no decision yet", "", "quiet")
        return _Age("no decision yet: fleetctl daemon start", "fleetctl daemon start", "", "warn")
    old = f"{age:.1f}s old" if age < 60 else f"{ago(age)} old"
    if age > _OLD_S:
        what = "fleetctl daemon status"
        return _Age(f"data {old}: no controller decides? {what}", f"{old}: {what}", old, "bad")
    return _Age(f"data {old}", f"data {old}", old, "quiet")


def _led(look: Look) -> bool:
    """Whether a controller holds the fleet."""
    lease = look.view.lease
    return lease is not None and lease.expires_at > look.at
