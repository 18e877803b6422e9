"""The first page: key figures, Services, and what becomes of the one under the cursor."""

from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container, Horizontal

from fleetctl.tui.history_tables import told_columns, told_name, told_text
from fleetctl.tui.listing import Sorting
from fleetctl.tui.page import Page
from fleetctl.tui.panels import Demand, Figures, Starts
from fleetctl.tui.service_tables import pool_columns, service_columns
from fleetctl.tui.table import VirtualTable
from fleetctl.tui.tones import style_of
from fleetctl.views.charts import DemandPoint
from fleetctl.views.decided import Told, told
from fleetctl.views.fleet import ServiceRow
from fleetctl.views.looks import Look, PoolLine, pool_lines

PANELS = ("decisions", "demand", "pools", "starts")
"""By the keys 1 to 4 where there is room for one of them only."""


_NO_SERVICES = "no services are up; declare one: fleetctl init, then fleetctl up"


class Dashboard(Page):
    crumb = "services"

    def __init__(self, *, ascii_only: bool) -> None:
        super().__init__()
        columns = service_columns(self._trace, self._limit, ascii_only=ascii_only)
        self._sorting: Sorting[ServiceRow] = Sorting(columns)
        self._look: Look | None = None
        self._limits: dict[str, int] = {}
        """By Service: requests that one Replica serves at once, as its file has it."""
        self._standing: object = None
        """What the Pools' lines were made of."""
        self.services: VirtualTable[ServiceRow] = VirtualTable(
            columns, name_of=lambda row: row.name, tones=style_of, named="services",
            empty=_NO_SERVICES,
        )  # fmt: skip
        self._pools: VirtualTable[PoolLine] = VirtualTable(
            pool_columns(), name_of=lambda one: one.name, tones=style_of, empty="no pools", named="pools"
        )
        self._told: VirtualTable[Told] = VirtualTable(
            told_columns(self._now), name_of=told_name, tones=style_of,
            empty="nothing decided yet", named="decisions", unnamed=True,
        )  # fmt: skip
        self._figures = Figures(id="figures")
        self._demand = Demand(named="demand", ascii_only=ascii_only)
        self._starts = Starts(named="starts", ascii_only=ascii_only)

    def compose(self) -> ComposeResult:
        yield self._figures
        yield self.services
        with Container(id="lower"):
            with Horizontal(id="middle"):
                yield self._demand
                yield self._pools
            with Horizontal(id="bottom"):
                yield self._told
                yield self._starts

    def on_mount(self) -> None:
        self._pools.border_title = "Pools and standby"
        self._told.border_subtitle = "e: explain the service · Tab, Enter: all of a reason"
        self.services.focus()
        self.panel(PANELS[0])

    def panel(self, name: str) -> None:
        """The one that is shown where there is room for one only."""
        for one in PANELS:
            self.set_class(one == name, f"-{one}")
        if self._look is not None:
            self.call_after_refresh(self._details)

    def show(self, look: Look) -> None:
        self._look = look
        self._figures.show(look)
        self._limits = {str(one.service.name): one.service.concurrency for one in look.view.intents}
        every = [row for row in look.services if row.state != "down"]
        rows = self._sorting.apply(every)
        self.services.empty = self._sorting.nothing() if every else _NO_SERVICES
        self.services.border_title = f"Services {len(rows)}" + (f" of {len(every)}" if len(rows) < len(every) else "")
        self.services.border_subtitle = self._sorting.told or "worst first"
        self.services.show(rows, sorted_by=self._sorting.header, descending=self._sorting.descending)
        self._pools.empty = "no pools" if look.now else "of pools there is no record to play back"
        standing = (
            look.view.instances,
            look.view.replicas,
            [(row.standby_ready, row.standby_wanted) for row in look.services],
        )
        if standing != self._standing:
            self._standing = standing
            self._pools.show(pool_lines(look.view, look.services) if look.now else [])
        self._details()

    def on_virtual_table_moved(self, moved: VirtualTable.Moved) -> None:
        if moved.table is self.services:
            self._details()

    def on_virtual_table_header_chosen(self, chosen: VirtualTable.HeaderChosen) -> None:
        if self._sorting.by_header(chosen.header) and self._look is not None:
            self.show(self._look)

    def on_resize(self) -> None:
        if self._look is not None:
            self.call_after_refresh(self.show, self._look)

    @property
    def subject(self) -> str:
        if self._pools.has_focus:
            return f"pool/{self._pools.row_name}" if self._pools.row_name else ""
        if self._told.has_focus:
            return self._told.row.subject if self._told.row is not None else ""
        name = self.services.row_name
        return "" if name is None else f"service/{name}"

    @property
    def text(self) -> Text | None:
        row = self._told.row
        return told_text(row, self._now()) if self._told.has_focus and row is not None else None

    @property
    def filtered(self) -> bool:
        return self._sorting.filtered

    def filter(self, text: str) -> None:
        self._sorting.only(text)
        if self._look is not None:
            self.show(self._look)

    def sort(self, letter: str) -> bool:
        if not self._sorting.by(letter):
            return False
        if self._look is not None:
            self.show(self._look)
        return True

    def _now(self) -> float:
        return 0.0 if self._look is None else self._look.at

    def _trace(self, service: str) -> Sequence[DemandPoint]:
        return () if self._look is None else self._look.traces.get(service, ())

    def _limit(self, service: str) -> int:
        return self._limits.get(service, 0)

    def _details(self) -> None:
        """Of the Service under the cursor."""
        if self._look is not None:
            service = self.services.row_name or ""
            self._told.border_title = (
                f"What was decided, and why: {service} now, then all" if service else "What was decided"
            )
            self._told.show(told(self._look, service=service))
            self._demand.show(self._look, service)
            self._starts.show(self._look, service)
