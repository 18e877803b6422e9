"""The pages of the dashboard: which is shown, what enter goes into, where esc leads back to."""

from collections.abc import Mapping
from typing import Any, Final

from fleetctl.tui.acting import Acting, Setting
from fleetctl.tui.dashboard import PANELS, Dashboard
from fleetctl.tui.dialogs import Reading
from fleetctl.tui.listing import Listing, ListPage
from fleetctl.tui.page import Page
from fleetctl.tui.table import VirtualTable
from fleetctl.tui.tables import tables
from fleetctl.views.looks import Source

PAGES_MAX: Final = 12
"""Pages that `esc` goes back through; nobody goes in deeper than three."""


class Paging(Acting):
    """The part of the dashboard that goes from page to page."""

    def __init__(self, source: Source, setting: Setting) -> None:
        super().__init__(source, setting)
        self._tables: Mapping[str, Listing[Any]] = tables(lambda: self._look.at if self._look is not None else 0.0)
        self._pages: list[Page] = [Dashboard(ascii_only=setting.ascii_only)]

    @property
    def page(self) -> Page:
        return self._pages[-1]

    def frame(self) -> None:
        """Draw what stands around the page."""
        raise NotImplementedError

    def action_open(self, table: str, subject: bool = False) -> None:
        self._open(table, self.page.subject if subject else "")

    def _open(self, table: str, of: str) -> None:
        if of.startswith("pool/") and table == "replicas":
            table = "nodes"
        if table not in ("replicas", "nodes", "cost", "xray", "events") and of and not of.startswith("service/"):
            of = ""
        page: ListPage[Any] = ListPage(self._tables[table], of=of)
        open_at = next((at for at, one in enumerate(self._pages) if one.crumb == page.crumb), None)
        if open_at is not None:
            self._back_to(open_at)  # else the way back leads through the same page twice
            return
        self._pages.append(page)
        if len(self._pages) > PAGES_MAX:
            self._pages.pop(1).remove()
        self._swap(page)

    def action_leave(self) -> None:
        """A page back; of a filtered page first the filter."""
        if self.page.filtered:
            self.page.filter("")
        elif len(self._pages) > 1:
            self._back_to(len(self._pages) - 2)

    def _home(self) -> None:
        self._back_to(0)

    def _back_to(self, at: int) -> None:
        """To the page in that place; those that were gone into behind it are left."""
        left, self._pages = self._pages[at + 1 :], self._pages[: at + 1]
        if not left:
            return
        for page in left:
            page.display = False
        self._swap(self.page)
        for page in left:
            page.remove()

    def _swap(self, page: Page) -> None:
        for other in self._pages:
            other.display = other is page
        if page.parent is None:
            self.query_one("#pages").mount(page)
        elif self._look is not None:
            page.show(self._look)  # else its first picture is that of the time when it was left
        self._focus_table()
        if self._look is not None:
            self.call_after_refresh(page.show, self._look)
        self.frame()

    def _focus_table(self) -> None:
        for table in self.page.query(VirtualTable).results(VirtualTable):
            table.focus()
            break

    def on_virtual_table_chosen(self) -> None:
        """Go in: a Service's Replicas, a Replica's machine and back, a Pool's machines, an event's text."""
        kind, _, name = self.page.subject.partition("/")
        text = self.page.text
        if text is not None:
            self.push_screen(Reading(self.page.subject or "event", text))
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
