"""What the keys of the dashboard tell and change: texts of commands, a log, a shell, a count, always asked first."""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import App, SuspendNotSupported
from textual.notifications import SeverityLevel

from fleetctl.model.replicas import Role
from fleetctl.tui.asking import Consent, ask, line
from fleetctl.tui.commands import Vocabulary
from fleetctl.tui.dialogs import NameQuestion, Question, Reading
from fleetctl.tui.keys import help_text
from fleetctl.tui.page import Page
from fleetctl.tui.plainness import Colours
from fleetctl.tui.proposals import Proposal, scaled, taken_down
from fleetctl.tui.sizes import is_narrow
from fleetctl.tui.terminal import interrupts_are_the_commands, run_in_terminal
from fleetctl.views.fleet import ServiceRow
from fleetctl.views.looks import Look, Source
from fleetctl.views.past import Past


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How the dashboard was called."""

    context: str = "default"
    read_only: bool = False
    confirm_name: str = ""
    """What is typed before a change, in a context that wants its name for that; empty: `y` is enough."""
    vocabulary: Vocabulary = Vocabulary()
    ascii_only: bool = False
    colours: Colours = "all"
    interval_s: float = 1.0


class Acting(App[None]):
    """The part of the dashboard that does something about what is selected."""

    ENABLE_COMMAND_PALETTE: ClassVar[bool] = False

    def __init__(self, source: Source, setting: Setting) -> None:
        super().__init__(ansi_color=True if setting.colours != "all" else None)
        self._source = source
        self._setting = setting
        self._look: Look | None = None
        self._said = ("", 0.0)
        """The newest short message, and until when it stands."""

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Say it as it is: brackets of what was typed are no markup. What still stands is not said again."""
        now, (said, until) = time.monotonic(), self._said
        if message == said and now < until:
            return
        self._said = message, now + (self.NOTIFICATION_TIMEOUT if timeout is None else timeout)
        super().notify(message, title=title, severity=severity, timeout=timeout, markup=markup)

    @property
    def page(self) -> Page:
        """The one that is shown."""
        raise NotImplementedError

    def look_again(self) -> None:
        """One read at a time; what is asked for meanwhile is answered by the next."""
        raise NotImplementedError

    # texts

    def action_tell(self, command: str) -> None:
        """Show what a command says of what is selected."""
        kind, _, name = self.page.subject.partition("/")
        if not name:
            self.notify("nothing is selected", timeout=2)
            return
        words = [command, f"{kind}/{name}"]
        if command == "explain":
            service = self._service_of(kind, name)
            if not service:
                self.notify("explain tells of services: go to one first", timeout=3)
                return
            words = [command, service]
            if isinstance(self._source, Past) and self._look is not None:
                words += ["--at", _stamp(self._look.at)]
        self._tell(words)

    def _tell(self, words: list[str]) -> None:
        self.run_worker(self._tell_now(words), exclusive=True, group="tell", exit_on_error=False)

    async def _tell_now(self, words: list[str]) -> None:
        answer = await ask(words, width=self._told_width())
        await self.push_screen(Reading(line(words), Text.from_ansi(answer.text or "(it said nothing)")))

    def _told_width(self) -> int:
        whole = self.size.width if is_narrow(self.size) else int(self.size.width * 0.9)
        return max(_TOLD_LEAST, whole - _AROUND)

    def action_keys(self) -> None:
        past = isinstance(self._source, Past)
        text = help_text(read_only=self._setting.read_only, past=past, width=self._told_width())
        self.push_screen(Reading("keys", text))

    async def action_logs(self) -> None:
        await self._of_replica("logs", "-f", way_back="Ctrl-C")

    async def action_shell(self) -> None:
        if self._may_change("a shell"):
            await self._of_replica("exec", way_back="exit, or Ctrl-D")

    async def _of_replica(self, command: str, *more: str, way_back: str) -> None:
        kind, _, name = self.page.subject.partition("/")
        if kind == "service" and self._look is not None:
            ready = [one.id for one in self._look.view.replicas_of(name) if one.address]
            kind, name = ("replica", ready[0]) if ready else ("", "")
        if kind != "replica" or not name:
            self.notify("select a replica, or a service that has one", timeout=3)
            return
        await self._in_terminal([command, name, *more], way_back=way_back)

    async def _in_terminal(
        self, words: Sequence[str], *, way_back: str = "Ctrl-C", consent: Consent | None = None
    ) -> None:
        try:
            with self.suspend(), interrupts_are_the_commands() as pressed:
                await asyncio.to_thread(run_in_terminal, words, way_back=way_back, pressed=pressed, consent=consent)
        except SuspendNotSupported:
            self.notify(f"this needs a terminal: {line(words)}", timeout=4)
        self.refresh(layout=True)
        self.look_again()

    # changes

    def _may_change(self, what: str) -> bool:
        past = isinstance(self._source, Past)
        if past or self._setting.read_only:
            why = "this is the past" if past else "this dashboard is read-only"
            self.notify(f"{what}: {why}", severity="warning", timeout=3)
            return False
        return True

    def _selected(self) -> tuple[str, str]:
        kind, _, name = self.page.subject.partition("/")
        return kind, name

    def _service_of(self, kind: str, name: str) -> str:
        """The Service that is meant: the selected one, or the one of the selected Replica; empty: none."""
        if kind == "replica" and self._look is not None:
            return next((str(one.service) for one in self._look.view.replicas if one.id == name), "")
        return name if kind == "service" else ""

    def _row(self, service: str) -> ServiceRow | None:
        """What is known of it; None, and a sentence on the screen, where none is meant."""
        rows = self._look.services if self._look is not None else ()
        row = next((row for row in rows if row.name == service), None)
        if row is None:
            self.notify("select a service", timeout=2)
        return row

    def action_scale(self, by: int) -> None:
        row = self._row(self._service_of(*self._selected()))
        if row is not None and self._may_change("scaling"):
            replicas = () if self._look is None else self._look.view.replicas_of(row.name)
            placed = sum(1 for one in replicas if one.role is Role.SERVING and one.instance is not None)
            self._propose(scaled(row, by, placed=placed))

    def action_drain(self) -> None:
        # Not by way of a replica: who has selected one of many does not think of all.
        kind, name = self._selected()
        row = self._row(name if kind == "service" else "")
        if row is not None and self._may_change("taking a service down"):
            self._propose(taken_down(row))

    def _propose(self, proposal: Proposal | str) -> None:
        """Ask first; a sentence says why there is nothing to ask."""
        if isinstance(proposal, str):
            self.notify(proposal, timeout=3)
            return
        name = self._setting.confirm_name

        def answered(yes: bool | None) -> None:
            if yes:
                done = self._do(proposal, Consent(name))
                self.run_worker(done, exclusive=True, group="do", exit_on_error=False)

        lines = list(proposal.lines)
        question = NameQuestion(proposal.title, lines, name=name) if name else Question(proposal.title, lines)
        self.push_screen(question, answered)

    async def _do(self, proposal: Proposal, consent: Consent) -> None:
        words = proposal.words
        if proposal.terminal:
            await self._in_terminal(words, consent=consent)
            return
        answer = await ask(words, width=100, consent=consent)
        self.notify(
            answer.text or "done", title=line(words), severity="information" if answer.code == 0 else "error", timeout=6
        )
        self.look_again()


_AROUND = 6
"""Columns of a text's border, air and scroll bar."""
_TOLD_LEAST = 54
"""Columns of a text in the least terminal: wider is folded, narrower is not there."""


def _stamp(at: float) -> str:
    """To the millisecond, never before `at`: a tick of the same second would be missed."""
    thousandths = math.ceil(at * 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(thousandths // 1000))}.{thousandths % 1000:03}Z"
