"""What stands above a page for a moment: a question, a text, the keys."""

import re
from typing import ClassVar, TypeVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from fleetctl.tui.sizes import TooSmall, classes_of
from fleetctl.tui.tones import style_of

Answer = TypeVar("Answer")


class Dialog(ModalScreen[Answer]):
    """Gives way to the words about a terminal that is too small, as every screen does."""

    def on_resize(self, resized: Resize) -> None:
        for name, holds in classes_of(resized.size).items():
            self.set_class(holds, name)
        self.query_one(TooSmall).say(resized.size)


class Question(Dialog[bool]):
    """Yes or no. Enter means no: only `y` does what is asked."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape,enter,q", "answer(False)", "no"),
    ]

    def __init__(self, title: str, lines: list[str]) -> None:
        super().__init__()
        self._title, self._lines = title, lines

    def compose(self) -> ComposeResult:
        text = Text("\n".join(self._lines) + "\n\n")
        text.append(" y ", style_of("bad")).append(" yes    ")
        text.append(" n ", style_of("good")).append(" no (Enter, Esc)")
        box = Vertical(Static(text), id="question")
        box.border_title = self._title
        yield box
        yield TooSmall()

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)


class NameQuestion(Dialog[bool]):
    """Yes is the name of the context, typed whole: in a context that wants it, a key alone is too easily pressed."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "answer(False)", "no")]

    def __init__(self, title: str, lines: list[str], *, name: str) -> None:
        super().__init__()
        self._title, self._lines, self._name = title, lines, name

    def compose(self) -> ComposeResult:
        text = Text("\n".join(self._lines) + "\n\n")
        text.append(f"Type {self._name}, the name of this context, and Enter to go on; Esc: no")
        box = Vertical(Static(text), Input(id="typed"), id="question")
        box.border_title = self._title
        yield box
        yield TooSmall()

    def on_mount(self) -> None:
        self.query_one("#typed").focus()

    def on_input_submitted(self, submitted: Input.Submitted) -> None:
        submitted.stop()
        if submitted.value.strip() == self._name:
            self.dismiss(True)
        elif not submitted.value.strip():
            self.dismiss(False)
        else:
            self.notify(f"that is not {self._name}", severity="warning", timeout=2)

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)


class Reading(Dialog[None]):
    """A text to read, as long as it is."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter", "close", "back")]

    def __init__(self, title: str, text: Text) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        box = VerticalScroll(_Prose(self._text), id="reading")
        box.border_title = self._title
        box.border_subtitle = "Esc: back"
        yield box
        yield TooSmall()

    def on_mount(self) -> None:
        self.query_one("#reading").focus()

    def action_close(self) -> None:
        self.dismiss()


class _Prose(Static):
    """A text whose long lines go on below where they began, and not at the left edge."""

    def __init__(self, text: Text) -> None:
        super().__init__(text)
        self._whole = text
        self._folded_at = 0

    def on_resize(self, resized: Resize) -> None:
        if resized.size.width != self._folded_at:
            self._folded_at = resized.size.width
            self.update(folded(self._whole, resized.size.width))


_COLUMN = re.compile(r"\s{2,}(?=\S)")
"""Between what is named and what is said of it."""


def folded(text: Text, width: int) -> Text:
    """Lines longer than the width, folded at words; what goes on stands below the last column of their left half."""
    lines = []
    for line in text.split(allow_blank=True):
        if line.cell_len <= width or width < _FOLDED_LEAST:
            lines.append(line)
            continue
        gaps = [gap.end() for gap in _COLUMN.finditer(line.plain) if gap.end() <= width // 2]
        hang = gaps[-1] if gaps else len(line.plain) - len(line.plain.lstrip())
        while line.cell_len > width:
            cut = line.plain.rfind(" ", hang + 1, width + 1)
            cut = cut if cut > hang else width
            head, rest = line.divide([cut])
            lines.append(head)
            line = Text(" " * hang) + _stripped(rest)
        lines.append(line)
    return Text("\n").join(lines)


_FOLDED_LEAST = 24
"""Columns; in fewer nothing is gained by it."""


def _stripped(text: Text) -> Text:
    """Without the blanks that it begins with."""
    blanks = len(text.plain) - len(text.plain.lstrip())
    return text[blanks:] if blanks else text
