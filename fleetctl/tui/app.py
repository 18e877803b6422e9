"""`fleetctl top`: the dashboard. It reads the store and nothing else; what changes goes through the commands."""

import asyncio
import re
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult, SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.events import Resize
from textual.geometry import Size
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static
from textual.worker import get_current_worker

from fleetctl.errors import FleetError
from fleetctl.tui.asking import ask, line
from fleetctl.tui.dashboard import PANELS, Dashboard
from fleetctl.tui.dialogs import Question, Reading
from fleetctl.tui.keys import KEYS, help_text, keys_line
from fleetctl.tui.listing import ListPage
from fleetctl.tui.page import Page
from fleetctl.tui.panels import crumb_line
from fleetctl.tui.table import VirtualTable
from fleetctl.tui.tables import tables
from fleetctl.tui.terminal import run_in_terminal
from fleetctl.views.figures import dollars
from fleetctl.views.looks import Look, Past, Source

NARROW_COLUMNS: Final = 110
NARROW_LINES: Final = 32
"""Below either there is room for the services and one panel."""
SCALE_FOR: Final = "1h"
"""How long a count set by a key holds: long enough to see through what it was set for, too short to be forgotten."""
SEEK_S: Final = 60.0
"""What `[` and `]` go back and forth in the past."""

_SUBJECTS: Final = {
    "services": "", "svc": "", "replicas": "replicas", "rep": "replicas", "nodes": "nodes", "instances": "nodes",
    "pools": "pools", "events": "events", "decisions": "events", "schedules": "schedules", "cost": "cost",
    "rollouts": "rollouts", "starts": "starts", "coldstarts": "starts",
}  # fmt: skip
"""What `:` knows, beside commands of fleetctl."""
_COMMANDS: Final = (
    "explain",
    "describe",
    "logs",
    "scale",
    "down",
    "rollout",
    "coldstart",
    "ps",
    "plan",
    "doctor",
    "events",
)
_CHANGING: Final = frozenset(
    [
        "apply",
        "daemon",
        "deploy",
        "down",
        "drain",
        "exec",
        "gc",
        "keys",
        "pool",
        "rebuild",
        "replica",
        "rollback",
        "rollout",
        "run",
        "scale",
        "ssh",
        "standby",
        "teardown",
        "undo",
        "up",
    ]
)
"""Commands that a read-only dashboard does not run, and that are asked about by any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How the dashboard was called."""

    context: str = "default"
    read_only: bool = False
    ascii_only: bool = False
    interval_s: float = 1.0


class Top(App[None]):
    """The dashboard over one Source."""

    CSS_PATH = "app.tcss"
    TITLE = "fleetctl top"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key.key, key.action, key.what, show=False, priority=key.first) for key in KEYS
    ]

    def __init__(self, source: Source, setting: Setting) -> None:
        super().__init__()
        self._source = source
        self._setting = setting
        self._tables = tables(setting.ascii_only)
        self._look: Look | None = None
        self._pages: list[Page] = [Dashboard(ascii_only=setting.ascii_only)]
        self._crumb = Static(id="crumb")
        self._keys = Static(id="keys")
        self._command = Input(id="command", placeholder="")
        self._after: Callable[[str], None] | None = None
        self._reading = False
        self._width = 80
        self.failure = ""
        """Why the last look failed; empty: it did not."""

    def compose(self) -> ComposeResult:
        yield self._crumb
        with Container(id="pages"):
            yield self._pages[0]
        yield self._command
        yield self._keys

    def on_mount(self) -> None:
        self._command.can_focus = False
        self._fit(self.size)
        self.set_interval(self._setting.interval_s, self._read)
        self._read()

    def on_resize(self, resized: Resize) -> None:
        self._fit(resized.size)

    def _fit(self, size: Size) -> None:
        self._width = size.width
        narrow = size.width < NARROW_COLUMNS or size.height < NARROW_LINES
        self.screen.set_class(narrow, "-narrow")
        self._frame()

    # looks

    def _read(self) -> None:
        """Read in a thread: a slow store must not hold up a key. One read at a time."""
        if not self._reading:
            self._reading = True
            self.run_worker(self._read_now, thread=True, exit_on_error=False)

    def _read_now(self) -> None:
        worker = get_current_worker()
        look: Look | None = None
        failure = ""
        try:
            look = self._source.look()
        except FleetError as error:
            failure = error.message + (f"; {error.hint}" if error.hint else "")
        if not worker.is_cancelled:
            self.call_from_thread(self._take, look, failure)

    def _take(self, look: Look | None, failure: str) -> None:
        self._reading = False
        self.failure = failure
        if look is not None:
            self._look = look
            if not self.screen.is_modal:
                self.page.show(look)
        self._frame()

    @property
    def page(self) -> Page:
        return self._pages[-1]

    def _frame(self) -> None:
        self._crumb.update(
            crumb_line(
                self._look,
                [page.crumb for page in self._pages],
                context=self._setting.context,
                read_only=self._setting.read_only,
                width=self._width,
            )
        )
        if self.failure:
            self._keys.update(Text(f" the store cannot be read: {self.failure}", style="bold red", no_wrap=True))
        else:
            past = isinstance(self._source, Past)
            self._keys.update(keys_line(read_only=self._setting.read_only, past=past, width=self._width))

    # pages

    def action_open(self, table: str, subject: bool = False) -> None:
        self._open(table, self.page.subject if subject else "")

    def _open(self, table: str, of: str) -> None:
        if of.startswith("pool/") and table == "replicas":
            table = "nodes"
        page: ListPage[Any] = ListPage(self._tables[table], of=of)
        self._pages.append(page)
        self._swap(page)

    def action_leave(self) -> None:
        if self._command.has_class("-open"):
            self._close_command()
        elif len(self._pages) > 1:
            gone = self._pages.pop()
            gone.remove()
            self._swap(self.page)
        else:
            self.page.filter("")

    def _swap(self, page: Page) -> None:
        for other in self._pages:
            other.display = other is page
        if page.parent is None:
            self.query_one("#pages").mount(page)
        for table in page.query(VirtualTable).results(VirtualTable):
            table.focus()
            break
        if self._look is not None:
            self.call_after_refresh(page.show, self._look)
        self._frame()

    def on_virtual_table_chosen(self, chosen: VirtualTable.Chosen) -> None:
        kind, _, name = self.page.subject.partition("/")
        if chosen.table.id == "services" or kind == "service":
            self._open("replicas", f"service/{name}")
        elif chosen.table.id == "pools" or kind == "pool":
            self._open("nodes", f"pool/{chosen.row_name}")
        elif kind == "instance" and self.page.crumb.startswith("nodes"):
            self._open("replicas", f"instance/{name}")
        elif self.page.subject:
            self.action_tell("describe")

    def action_panel(self, number: int) -> None:
        if isinstance(self.page, Dashboard):
            self.page.panel(PANELS[number - 1])

    def action_sort(self, letter: str) -> None:
        if not self.page.sort(letter):
            self.notify(f"no column here begins with {letter.upper()}", timeout=2)

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
            with self.suspend():
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

    def action_scale(self, by: int) -> None:
        kind, _, name = self.page.subject.partition("/")
        row = next((row for row in self._look.services if row.name == name), None) if self._look else None
        if kind != "service" or row is None:
            self.notify("select a service", timeout=2)
            return
        if not self._may_change("scaling"):
            return
        wanted = row.desired + by
        if not 0 <= wanted <= row.max:
            self.notify(f"{name} has {row.desired}; its max is {row.max}", timeout=3)
            return
        each = row.price_per_hour / row.ready if row.price_per_hour is not None and row.ready else None
        change = (
            "at a price that is not known" if each is None else f"{'+' if by > 0 else '−'}{dollars(each * abs(by))}/h"
        )
        words = ["scale", f"{name}={wanted}", "--for", SCALE_FOR]
        self._confirm(
            f"scale {name}",
            [
                f"{name}: {row.desired} → {wanted} replicas for {SCALE_FOR}, {change}",
                "Then its policy rules again.",
                "",
                line(words),
            ],
            words,
        )

    def action_drain(self) -> None:
        kind, _, name = self.page.subject.partition("/")
        row = next((row for row in self._look.services if row.name == name), None) if self._look else None
        if kind != "service" or row is None:
            self.notify("select a service", timeout=2)
            return
        if not self._may_change("taking a service down"):
            return
        words = ["down", name, "--yes", "--no-wait"]
        self._confirm(
            f"take {name} down",
            [
                f"{name}: drain {row.ready} replicas and give them back, −{dollars(row.price_per_hour)}/h",
                "",
                line(words),
            ],
            words,
        )

    def _confirm(self, title: str, lines: list[str], words: list[str]) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self.run_worker(self._do(words), exclusive=True, group="do", exit_on_error=False)

        self.push_screen(Question(title, lines), answered)

    async def _do(self, words: list[str]) -> None:
        answer = await ask(words, width=100)
        self.notify(
            answer.text or "done", title=line(words), severity="information" if answer.code == 0 else "error", timeout=6
        )
        self._read()

    # the command line and the filter

    def action_command(self) -> None:
        names = [f":{name}" for name in (*_SUBJECTS, *_COMMANDS, "quit")]
        services = [row.name for row in self._look.services] if self._look is not None else []
        names += [f":{name}" for name in services]
        self._command.suggester = SuggestFromList(names, case_sensitive=False)
        self._open_command(":", self._commanded)

    def action_filter(self) -> None:
        self._command.suggester = None
        self._open_command("/", self._filtered)

    def _open_command(self, text: str, after: Callable[[str], None]) -> None:
        self._after = after
        self._command.value = text
        self._command.add_class("-open")
        self._command.can_focus = True
        self._command.focus()
        self._command.cursor_position = len(text)

    def _close_command(self) -> None:
        self._command.remove_class("-open")
        self._command.can_focus = False
        for table in self.page.query(VirtualTable).results(VirtualTable):
            table.focus()
            break

    def on_input_changed(self, changed: Input.Changed) -> None:
        if changed.value.startswith("/") and self._after == self._filtered:
            self._filtered(changed.value)

    def on_input_submitted(self, submitted: Input.Submitted) -> None:
        after = self._after
        self._close_command()
        if after is not None:
            after(submitted.value)

    def _filtered(self, text: str) -> None:
        try:
            self.page.filter(text.removeprefix("/"))
        except re.error as error:
            self.notify(f"{text!r} is no regular expression: {error}", severity="warning", timeout=3)

    def _commanded(self, text: str) -> None:
        try:
            words = shlex.split(text.removeprefix(":").removeprefix("fleetctl "))
        except ValueError as error:
            self.notify(f"{text!r}: {error}", severity="warning", timeout=3)
            return
        if not words:
            return
        if words[0] in ("q", "q!", "quit", "exit"):
            self.exit()
        elif words[0] in _SUBJECTS:
            table = _SUBJECTS[words[0]]
            if table:
                self._open(table, f"service/{words[1]}" if len(words) > 1 else "")
            else:
                while len(self._pages) > 1:
                    self.action_leave()
        elif self._look is not None and any(row.name == words[0] for row in self._look.services):
            self._open("replicas", f"service/{words[0]}")
        elif words[0] in _CHANGING and not self._may_change(words[0]):
            return
        elif words[0] in _CHANGING:
            self._confirm(line(words), [line(words)], words)
        else:
            self._tell(words)

    # the past

    def action_seek(self, direction: int) -> None:
        if isinstance(self._source, Past):
            self._source.at += direction * SEEK_S
            self._read()

    def action_play(self) -> None:
        if isinstance(self._source, Past):
            self._source.speed = 0.0 if self._source.speed else 10.0
            self._read()


def _stamp(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
