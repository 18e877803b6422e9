"""What the dashboard looks like where a terminal has few colours, none, or no characters beyond ASCII.

Both work on what is about to be drawn, whoever drew it: borders, scroll bars, charts and texts of commands alike.
"""

import os
import unicodedata
from functools import lru_cache
from typing import Final, Literal

from rich.cells import cell_len
from rich.color import Color as RichColor
from rich.color import ColorSystem, ColorType
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

_ALIKE: Final = str.maketrans(
    {
        **dict.fromkeys("●", "*"),
        **dict.fromkeys("○◌", "o"),
        **dict.fromkeys("▲△↑", "^"),
        **dict.fromkeys("▼▽↓", "v"),
        **dict.fromkeys("▶►▸→›»", ">"),
        **dict.fromkeys("◀◄←‹«", "<"),
        **dict.fromkeys("✗✘×", "x"),
        **dict.fromkeys("✓✔", "+"),
        **dict.fromkeys("─╌╍╴╶–—−‐", "-"),
        **dict.fromkeys("│┃║┆▌▐▏▕▎‖", "|"),
        **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼╔╗╚╝┏┓┗┛┣┫", "+"),
        **dict.fromkeys("▁▂", "_"),
        **dict.fromkeys("━═▃▄▅▆▀▔", "="),
        **dict.fromkeys("▇█▉▊▋", "#"),
        **dict.fromkeys("░▒▓", ":"),
        "◔": "z",
        "◷": "@",
        "…": "~",
        "÷": "/",
        "·": ".",
        "≤": "<",
        "≥": ">",
        "±": "~",
        "Δ": "d",
        "’": "'",
        "‘": "'",
        "“": '"',
        "”": '"',
        "\xa0": " ",
    }
)


@lru_cache(maxsize=4096)
def ascii_of(text: str) -> str:
    """The same in ASCII, and as wide on the screen: what there is nothing like becomes `?`."""
    if text.isascii():
        return text
    plain = []
    for character in text.translate(_ALIKE):
        if character.isascii():
            plain.append(character)
            continue
        base = unicodedata.normalize("NFKD", character)[0]
        plain.append(base if base.isascii() and cell_len(character) == 1 else "?" * cell_len(character))
    return "".join(plain)


class AsciiOnly(LineFilter):
    """No characters beyond ASCII."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            segment if segment.text.isascii() else Segment(ascii_of(segment.text), segment.style, segment.control)
            for segment in segments
        ]


_BLACK, _RED, _GREEN, _YELLOW, _BLUE, _MAGENTA, _CYAN, _WHITE = range(8)
_BRIGHT = 8
_NAMED: Final = {
    "#009e73": _GREEN, "#56b4e9": _CYAN, "#e69f00": _YELLOW, "#d55e00": _RED, "#cc79a7": _MAGENTA,
}  # fmt: skip
"""The tones; by nearness alone three of them would become the same."""
_NUMBERED: Final = {
    32: _BLUE, 166: _RED, 36: _GREEN, 214: _YELLOW, 74: _CYAN, 175: _MAGENTA, 227: _BRIGHT + _YELLOW,
    244: _WHITE,
}  # fmt: skip
"""The charts' colours of the 256."""
_KNOWN: Final = _NAMED | {RichColor.from_ansi(one).get_truecolor().hex: to for one, to in _NUMBERED.items()}


class SixteenColours(LineFilter):
    """Nothing but the terminal's own sixteen colours, so that its own theme decides what they look like."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            Segment(segment.text, _sixteen(segment.style), segment.control) if segment.style else segment
            for segment in segments
        ]


@lru_cache(maxsize=1024)
def _sixteen(style: Style) -> Style:
    return style + Style(color=_nearest(style.color), bgcolor=_nearest(style.bgcolor))


def _nearest(colour: RichColor | None) -> RichColor | None:
    if colour is None or colour.type in (ColorType.DEFAULT, ColorType.STANDARD):
        return colour
    known = _KNOWN.get(colour.get_truecolor().hex)
    return colour.downgrade(ColorSystem.STANDARD) if known is None else RichColor.from_ansi(known)


Colours = Literal["all", "few", "none"]


def colours_here() -> Colours:
    """What this terminal can, and what its user wants (https://no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return "none"
    system = Console(force_terminal=True, legacy_windows=False).color_system
    return "none" if system is None else "few" if system == "standard" else "all"
