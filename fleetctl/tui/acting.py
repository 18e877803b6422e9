"""What the keys of the dashboard tell and change: texts of commands, a log, a shell, a count, always asked first."""

import asyncio
import math
import time
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import App, SuspendNotSupported

from fleetctl.model.replicas import Role
from fleetctl.tui.asking import ask, line
from fleetctl.tui.dialogs import Question, Reading
from fleetctl.tui.keys import help_text
from fleetctl.tui.page import Page
from fleetctl.tui.plainness import Colours
from fleetctl.tui.proposals import Proposal, scaled, taken_down
from fleetctl.tui.terminal import interrupts_are_the_commands, run_in_terminal
from fleetctl.views.fleet import ServiceRow
from fleetctl.views.looks import Look, Source
from fleetctl.views.past import Past


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How the dashboard was called."""

    context: str = "default"
    read_only: bool = False
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
            if kind != "service":
                self.notify("explain tells of services: go to one first", timeout=3)
                return
            words = [command, name]
            if isinstance(self._source, Past) and self._look is not None:
                words += ["--at", _stamp(self._look.at)]
        self._tell(words)

    def _tell(self, words: list[str]) -> None:
        self.run_worker(self._tell_now(words), exclusive=True, group="tell", exit_on_error=False)

    async def _tell_now(self, words: list[str]) -> None:
        answer = await ask(words, width=max(60, int(self.size.width * 0.9) - 6))
        await self.push_screen(Reading(line(words), Text.from_ansi(answer.text or "(it said nothing)")))

    def action_keys(self) -> None:
        self.push_screen(Reading("keys", help_text(read_only=self._setting.read_only)))

    async def action_logs(self) -> None:
        await self._of_replica("logs", "-f")

    async def action_shell(self) -> None:
        if self._may_change("a shell"):
            await self._of_replica("exec")

    async def _of_replica(self, command: str, *more: str) -> None:
        kind, _, name = self.page.subject.partition("/")
        if kind == "service" and self._look is not None:
            ready = [one.id for one in self._look.view.replicas_of(name) if one.address]
            kind, name = ("replica", ready[0]) if ready else ("", "")
        if kind != "replica" or not name:
            self.notify("select a replica, or a service that has one", timeout=3)
            return
        try:
            with self.suspend(), interrupts_are_the_commands():
                await asyncio.to_thread(run_in_terminal, [command, name, *more])
        except SuspendNotSupported:
            self.notify(f"this needs a terminal: {line([command, name])}", timeout=4)
        self.refresh(layout=True)

    # changes

    def _may_change(self, what: str) -> bool:
        if self._setting.read_only or isinstance(self._source, Past):
            self.notify(f"{what}: this dashboard is read-only", severity="warning", timeout=3)
            return False
        return True

    def _row(self) -> ServiceRow | None:
        """The Service that is selected."""
        kind, _, name = self.page.subject.partition("/")
        rows = self._look.services if self._look is not None and kind == "service" else ()
        row = next((row for row in rows if row.name == name), None)
        if row is None:
            self.notify("select a service", timeout=2)
        return row

    def action_scale(self, by: int) -> None:
        row = self._row()
        if row is not None and self._may_change("scaling"):
            replicas = () if self._look is None else self._look.view.replicas_of(row.name)
            placed = sum(1 for one in replicas if one.role is Role.SERVING and one.instance is not None)
            self._propose(scaled(row, by, placed=placed))

    def action_drain(self) -> None:
        row = self._row()
        if row is not None and self._may_change("taking a service down"):
            self._propose(taken_down(row))

    def _propose(self, proposal: Proposal | str) -> None:
        """Ask first; a sentence says why there is nothing to ask."""
        if isinstance(proposal, str):
            self.notify(proposal, timeout=3)
            return
        words = list(proposal.words)

        def answered(yes: bool | None) -> None:
            if yes:
                self.run_worker(self._do(words), exclusive=True, group="do", exit_on_error=False)

        self.push_screen(Question(proposal.title, list(proposal.lines)), answered)

    async def _do(self, words: list[str]) -> None:
        answer = await ask(words, width=100, confirmed=True)
        self.notify(
            answer.text or "done", title=line(words), severity="information" if answer.code == 0 else "error", timeout=6
        )
        self.look_again()


def _stamp(at: float) -> str:
    """To the millisecond, never before `at`: a tick of the same second would be missed."""
    thousandths = math.ceil(at * 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(thousandths // 1000))}.{thousandths % 1000:03}Z"
