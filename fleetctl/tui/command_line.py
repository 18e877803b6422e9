"""The line at the foot: `:` and a command, `/` and a filter. Tab completes it as a shell does."""

import asyncio
import re
from collections.abc import Callable
from typing import ClassVar, Final

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

from fleetctl.tui.acting import Setting
from fleetctl.tui.asking import line
from fleetctl.tui.commands import Leave, Run, Show, completed, meaning
from fleetctl.tui.paging import Paging
from fleetctl.tui.proposals import Proposal
from fleetctl.tui.tones import style_of
from fleetctl.views.looks import Source

CHOICES_MAX: Final = 40
"""Shown of what a word may become; more fill the foot, and nobody reads them."""


class CommandLine(Input):
    """Hidden until it is asked for."""

    class Tab(Message):
        """The word is to be completed."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "complete", "complete", show=False)]

    def on_mount(self) -> None:
        self.close()

    def open(self, text: str) -> None:
        # At once, not with the next frame: the next key may be here already.
        self.value = text
        self.display = True
        self.can_focus = True
        self.screen.set_focus(self)
        self.cursor_position = len(text)

    def close(self) -> None:
        self.display = False
        self.can_focus = False

    def action_complete(self) -> None:
        self.post_message(self.Tab())


class Commanding(Paging):
    """The part of the dashboard that takes what is typed."""

    def __init__(self, source: Source, setting: Setting) -> None:
        super().__init__(source, setting)
        self._command = CommandLine(id="command", placeholder="", select_on_focus=False)
        self._after: Callable[[str], None] | None = None
        self.choices: Text | None = None
        """What the last word may become, in place of the keys; None: nobody asked."""

    def action_command(self) -> None:
        self._open_command(":", self._commanded)

    def action_filter(self) -> None:
        self._open_command("/", self._filtered)

    def action_leave(self) -> None:
        if not self._command.display:
            super().action_leave()
            return
        if self._after == self._filtered:
            self.page.filter("")
        self._close_command()

    def _open_command(self, text: str, after: Callable[[str], None]) -> None:
        if self._command.display:
            self._command.insert_text_at_cursor(text)
            return
        self._after = after
        self._command.open(text)

    def _close_command(self) -> None:
        self._command.close()
        self.choices = None
        self._focus_table()
        self.frame()

    def on_input_changed(self, changed: Input.Changed) -> None:
        if changed.input is not self._command:
            return
        if self.choices is not None:
            self.choices = None
            self.frame()
        if not changed.value:
            self._close_command()  # its own `:` or `/` was taken back
        elif changed.value.startswith("/") and self._after == self._filtered:
            self._filtered(changed.value, typing=True)

    def on_input_submitted(self, submitted: Input.Submitted) -> None:
        if submitted.input is not self._command:
            return
        after = self._after
        self._close_command()
        if after is not None:
            after(submitted.value)

    async def on_command_line_tab(self) -> None:
        """In a thread: names are read from the store."""
        if self._after != self._commanded:
            return
        asked = self._command.value
        text, found = await asyncio.to_thread(completed, asked, self._services(), self._setting.vocabulary)
        if self._command.value != asked or not self._command.display:
            return
        if text != asked:
            with self._command.prevent(Input.Changed):
                self._command.value = text
                self._command.cursor_position = len(text)
        more = len(found) - CHOICES_MAX
        shown = "  ".join(found[:CHOICES_MAX]) + (f"  and {more} more" if more > 0 else "")
        self.choices = None if len(found) == 1 else Text(f" {shown or 'nothing begins so'}", style_of("quiet"))
        self.frame()

    def _services(self) -> list[str]:
        return [row.name for row in self._look.services] if self._look is not None else []

    def _filtered(self, text: str, *, typing: bool = False) -> None:
        try:
            self.page.filter(text.removeprefix("/"))
        except re.error as error:
            if not typing:  # an expression is none until it is whole
                self.notify(f"{text!r} is no regular expression: {error}", severity="warning", timeout=3)

    def _commanded(self, text: str) -> None:
        try:
            meant = meaning(text, self._services(), self._setting.vocabulary.commands)
        except ValueError as error:
            self.notify(str(error), severity="warning", timeout=4)
            return
        match meant:
            case None:
                pass
            case Leave():
                self.exit()
            case Show(table="", of=_):
                self._home()
            case Show(table, of):
                self._open(table, of)
            case Run(words, changes=True, terminal=terminal):
                if self._may_change(words[0]):
                    told = (line(words), *(("", "It gets the terminal; Ctrl-C leads back.") if terminal else ()))
                    self._propose(Proposal(title=words[0], lines=told, words=words, terminal=terminal))
            case Run(words, terminal=True):
                self.run_worker(self._in_terminal(words), exclusive=True, group="do", exit_on_error=False)
            case Run(words):
                self._tell(list(words))
