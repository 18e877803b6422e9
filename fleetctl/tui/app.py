"""`fleetctl top`: the dashboard. It reads the store and nothing else; what changes goes through the commands."""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.events import Resize
from textual.filter import LineFilter, NoColor
from textual.geometry import Size
from textual.suggester import Suggester, SuggestFromList
from textual.widgets import Input, Static

from fleetctl.errors import FleetError
from fleetctl.tui.acting import Acting, Setting
from fleetctl.tui.asking import line
from fleetctl.tui.commands import OFFERED, TABLES, Leave, Run, Show, meaning
from fleetctl.tui.dashboard import PANELS, Dashboard
from fleetctl.tui.keys import KEYS, keys_line
from fleetctl.tui.listing import ListPage
from fleetctl.tui.page import Page
from fleetctl.tui.panels import crumb_line
from fleetctl.tui.plainness import AsciiOnly, SixteenColours
from fleetctl.tui.proposals import Proposal
from fleetctl.tui.table import VirtualTable
from fleetctl.tui.tables import tables
from fleetctl.views.looks import Look, Source
from fleetctl.views.past import Past

NARROW_COLUMNS: Final = 110
NARROW_LINES: Final = 32
"""Below either there is room for the services and one panel."""
LEAST_COLUMNS: Final = 60
LEAST_LINES: Final = 16
"""Below either a table shows less than `ps` does."""
SEEK_S: Final = 60.0
"""What `[` and `]` go back and forth in the past."""
PLAYED_SPEED: Final = 10.0
AGES_S: Final = 5.0
"""Where nothing has changed, ages are drawn again so often."""
AWAY_LOOKS: Final = 5
"""While nobody looks at this terminal, only every so many looks are taken."""
PAGES_MAX: Final = 12
"""Pages that `esc` goes back through; nobody goes in deeper than three."""


class Top(Acting):
    """The dashboard over one Source."""

    CSS_PATH = "app.tcss"
    TITLE = "fleetctl top"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key.key, key.action, key.what, show=False, priority=key.first) for key in KEYS
    ]

    def __init__(self, source: Source, setting: Setting) -> None:
        super().__init__(source, setting)
        self._plain = setting.colours != "all"
        # Textual takes an empty NO_COLOR for a wish, and answers one with greys.
        self.no_color = setting.colours == "none"
        self._drawn_with: list[LineFilter] = []
        if self._plain:
            self.theme = "ansi-dark"
            self._drawn_with.append(NoColor() if self.no_color else SixteenColours())
        if setting.ascii_only:
            self._drawn_with.append(AsciiOnly())
        self._tables = tables(lambda: self._look.at if self._look is not None else 0.0)
        self._shown_at = 0.0
        self._drawn = False
        """False: what has changed since is not drawn yet, because something else stands above the page."""
        self._away = 0
        self._pages: list[Page] = [Dashboard(ascii_only=setting.ascii_only)]
        self._crumb = Static(id="crumb")
        self._small = Static(id="small")
        self._keys = Static(id="keys")
        self._command = Input(id="command", placeholder="")
        self._after: Callable[[str], None] | None = None
        self._reading = False
        self._width = 80
        self._foot = Text()
        self.failure = ""
        """Why the last look failed; empty: it did not."""

    def compose(self) -> ComposeResult:
        yield self._small
        yield self._crumb
        with Container(id="pages"):
            yield self._pages[0]
        yield self._command
        yield self._keys

    def on_mount(self) -> None:
        self._command.can_focus = False
        self._command.display = False
        self._fit(self.size)
        self.set_interval(self._setting.interval_s, self._tick)
        self.look_again()

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), *self._drawn_with]

    def on_app_blur(self) -> None:
        self._away = 1

    def on_app_focus(self) -> None:
        if self._away:
            self._away = 0
            self.look_again()

    def on_resize(self, resized: Resize) -> None:
        self._fit(resized.size)

    def _fit(self, size: Size) -> None:
        self._width = size.width
        screen = self.screen_stack[0]
        screen.set_class(size.width < NARROW_COLUMNS or size.height < NARROW_LINES, "-narrow")
        screen.set_class(self._plain, "-plain")
        tiny = size.width < LEAST_COLUMNS or size.height < LEAST_LINES
        screen.set_class(tiny, "-tiny")
        if tiny:
            self._small.update(
                f"The dashboard needs {LEAST_COLUMNS}x{LEAST_LINES} and this terminal has {size.width}x{size.height}:"
                " make it larger, or leave with q and run fleetctl ps --watch"
            )
        self._frame()

    # looks

    def _tick(self) -> None:
        if self._away:
            self._away += 1
        if self._away % AWAY_LOOKS == 0:
            self.look_again()

    def look_again(self) -> None:
        """One read at a time; what is asked for meanwhile is answered by the next."""
        if not self._reading:
            self._reading = True
            self.run_worker(self._read_now(), group="look", exit_on_error=False)

    async def _read_now(self) -> None:
        """In a thread: a slow store must not hold up a key."""
        look: Look | None = None
        failure = ""
        try:
            look = await asyncio.to_thread(self._source.look)
        except FleetError as error:
            failure = error.message + (f"; {error.hint}" if error.hint else "")
        finally:
            self._reading = False
        self._take(look, failure)
        if look is not None and not look.whole:
            self.look_again()

    def _take(self, look: Look | None, failure: str) -> None:
        self.failure = failure
        if look is not None:
            before, self._look = self._look, look
            if before is None or _differ(before, look):
                self._shown_at = time.monotonic()
                self._drawn = not self.screen.is_modal
                if self._drawn:
                    self.page.show(look)
            elif not self.screen.is_modal and (not self._drawn or time.monotonic() - self._shown_at >= AGES_S):
                self._shown_at = time.monotonic()
                if self._drawn:
                    self.page.age(look)
                else:
                    self._drawn = True
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
            ),
            layout=False,
        )
        if self.failure:
            foot = Text(f" ✗ the store cannot be read: {self.failure}", style="bold red")
        else:
            past = isinstance(self._source, Past)
            foot = keys_line(read_only=self._setting.read_only, past=past, width=self._width)
        if foot != self._foot:
            self._foot = foot
            self._keys.update(foot)

    # pages

    def action_open(self, table: str, subject: bool = False) -> None:
        self._open(table, self.page.subject if subject else "")

    def _open(self, table: str, of: str) -> None:
        if of.startswith("pool/") and table == "replicas":
            table = "nodes"
        if table not in ("replicas", "nodes", "cost", "xray", "events") and of and not of.startswith("service/"):
            of = ""
        page: ListPage[Any] = ListPage(self._tables[table], of=of)
        self._pages.append(page)
        if len(self._pages) > PAGES_MAX:
            self._pages.pop(1).remove()
        self._swap(page)

    def action_leave(self) -> None:
        if self._command.display:
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
        """Go in: a Service's Replicas, a Replica's machine, a machine's Replicas, a Pool's machines."""
        kind, _, name = self.page.subject.partition("/")
        if chosen.table.id == "decisions":
            self._open("events", self.page.subject)
        elif kind == "service":
            self._open("replicas", f"service/{name}")
        elif kind == "pool":
            self._open("nodes", f"pool/{name}")
        elif kind == "instance":
            self._open("replicas", f"instance/{name}")
        elif kind == "replica":
            machine = self._machine_of(name)
            if machine is None:
                self.action_tell("describe")
            else:
                self._open("nodes", f"instance/{machine}")

    def _machine_of(self, replica: str) -> str | None:
        found = () if self._look is None else self._look.view.replicas
        return next((one.instance for one in found if one.id == replica), None)

    def action_panel(self, number: int) -> None:
        if isinstance(self.page, Dashboard):
            self.page.panel(PANELS[number - 1])

    def action_sort(self, letter: str) -> None:
        if not self.page.sort(letter):
            self.notify(f"no column here begins with {letter.upper()}", timeout=2)

    # the command line and the filter

    def action_command(self) -> None:
        names = [f":{name}" for name in (*TABLES, *OFFERED, "quit")]
        services = [row.name for row in self._look.services] if self._look is not None else []
        names += [f":{name}" for name in services]
        self._open_command(":", self._commanded, SuggestFromList(names, case_sensitive=False))

    def action_filter(self) -> None:
        self._open_command("/", self._filtered, None)

    def _open_command(self, text: str, after: Callable[[str], None], suggester: Suggester | None) -> None:
        if self._command.display:
            self._command.insert_text_at_cursor(text)
            return
        self._after = after
        self._command.suggester = suggester
        self._command.value = text
        # At once, not with the next frame: the next key may be here already.
        self._command.display = True
        self._command.can_focus = True
        self.screen.set_focus(self._command)
        self._command.cursor_position = len(text)

    def _close_command(self) -> None:
        self._command.display = False
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
        services = [row.name for row in self._look.services] if self._look is not None else []
        try:
            meant = meaning(text, services)
        except ValueError as error:
            self.notify(f"{text!r}: {error}", severity="warning", timeout=3)
            return
        match meant:
            case None:
                pass
            case Leave():
                self.exit()
            case Show(table="", of=_):
                while len(self._pages) > 1:
                    self.action_leave()
            case Show(table, of):
                self._open(table, of)
            case Run(words, changes=True):
                if self._may_change(words[0]):
                    told = line(words)
                    self._propose(Proposal(title=words[0], lines=(told,), words=words))
            case Run(words):
                self._tell(list(words))

    # the past

    def action_seek(self, direction: int) -> None:
        if isinstance(self._source, Past):
            self._source.seek(direction * SEEK_S)
            self.look_again()

    def action_play(self) -> None:
        if isinstance(self._source, Past):
            self._source.speed = 0.0 if self._source.speed else PLAYED_SPEED
            self.look_again()


def _differ(before: Look, now: Look) -> bool:
    """Whether there is anything to draw beside the time."""
    return (
        before.view is not now.view
        or before.services is not now.services
        or before.events is not now.events
        or before.whole != now.whole
    )
