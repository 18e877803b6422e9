"""What stands above a page for a moment: a question, a text, the keys."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from fleetctl.tui.tones import style_of


class Question(ModalScreen[bool]):
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

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)


class Reading(ModalScreen[None]):
    """A text to read, as long as it is."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter", "close", "back")]

    def __init__(self, title: str, text: Text) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        box = VerticalScroll(Static(self._text), id="reading")
        box.border_title = self._title
        box.border_subtitle = "Esc: back"
        yield box

    def on_mount(self) -> None:
        self.query_one("#reading").focus()

    def action_close(self) -> None:
        self.dismiss()
