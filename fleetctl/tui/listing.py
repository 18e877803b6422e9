"""Pages that are one table: replicas, nodes, pools, events, schedules, cost, rollouts, starts, xray."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from rich.text import Text
from textual.app import ComposeResult

from fleetctl.tui.page import Page
from fleetctl.tui.table import TableColumn, VirtualTable
from fleetctl.tui.tones import style_of
from fleetctl.views.figures import ago
from fleetctl.views.looks import Look

Row = TypeVar("Row")

BEHIND_S: Final = 1.5
"""What is older than the age at the top by more says so: less is one look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Generic[Row]):
    """What one table shows, of all or of one subject."""

    crumb: str
    columns: tuple[TableColumn[Row], ...]
    rows: Callable[[Look, str], Sequence[Row]]
    """Of a look and a subject (empty: all), in the usual order."""
    name_of: Callable[[Row], str]
    """Of one row only, and the same when the row is shown again."""
    subject_of: Callable[[Row], str] = lambda _: ""
    """As in `replica/chat-1`; empty: nothing can be done with that row."""
    empty: str
    """What is said where there is no row, with what makes one."""
    machines: bool = False
    """It is of machines and replicas, which a large fleet's are read less often than its decisions."""
    text_of: Callable[[Row], Text] | None = None
    """All that a row says, where a column may be too narrow for it: enter shows it. None: enter goes in."""
    unnamed: bool = False
    """Its first column holds something else than `name_of`."""
    played: bool = True
    """There is a record of it, so that it can be played back."""


class Sorting(Generic[Row]):
    """The order and the choice of rows: both stay until they are changed."""

    def __init__(self, columns: Sequence[TableColumn[Row]]) -> None:
        self._columns = columns
        self._by: TableColumn[Row] | None = None
        self._descending = False
        self._wanted: re.Pattern[str] | None = None
        self._inverse = False

    @property
    def header(self) -> str:
        return "" if self._by is None else self._by.header

    @property
    def told(self) -> str:
        """`by TTFT, only /chat/`; empty: the usual order of all."""
        parts = [f"by {self._by.header}{' ▼' if self._descending else ' ▲'}"] if self._by is not None else []
        if self._wanted is not None:
            parts.append(f"{'without' if self._inverse else 'only'} /{self._wanted.pattern}/")
        return ", ".join(parts)

    @property
    def filtered(self) -> bool:
        return self._wanted is not None

    @property
    def descending(self) -> bool:
        return self._descending

    def nothing(self) -> str:
        """What is said where the filter leaves no row."""
        wanted = "" if self._wanted is None else self._wanted.pattern
        return (
            f"everything here matches /{wanted}/; Esc shows it"
            if self._inverse
            else (f"nothing here matches /{wanted}/; Esc shows all")
        )

    def by(self, letter: str) -> bool:
        """By the next column that begins so; once more turns the order, and the last column gives the usual one."""
        found = [
            one for one in self._columns if one.order is not None and one.header.lower().startswith(letter.lower())
        ]
        if not found:
            return False
        if self._by not in found:
            self._by, self._descending = found[0], found[0].right
        elif self._descending is self._by.right:
            self._descending = not self._descending
        else:
            after = found.index(self._by) + 1
            self._by = found[after] if after < len(found) else None
            self._descending = self._by is not None and self._by.right
        return True

    def by_header(self, header: str) -> bool:
        """By this column; once more turns the order, and a third time gives the usual one. False: not by this one."""
        found = next((one for one in self._columns if one.header == header and one.order is not None), None)
        if found is None:
            return False
        if self._by is not found:
            self._by, self._descending = found, found.right
        elif self._descending is found.right:
            self._descending = not self._descending
        else:
            self._by, self._descending = None, False
        return True

    def only(self, text: str) -> None:
        """Raises `re.error`."""
        self._inverse = text.startswith("!")
        text = text[1:] if self._inverse else text
        self._wanted = re.compile(text, re.IGNORECASE) if text else None

    def apply(self, rows: Sequence[Row]) -> Sequence[Row]:
        if self._wanted is not None:
            rows = [row for row in rows if (self._wanted.search(self._text(row)) is None) is self._inverse]
        if self._by is not None and self._by.order is not None:
            order: Callable[[Row], Any] = self._by.order
            rows = sorted(rows, key=lambda row: _sortable(order(row)), reverse=self._descending)
        return rows

    def _text(self, row: Row) -> str:
        return " ".join(column.cell(row).text for column in self._columns)


class ListPage(Page, Generic[Row]):
    """A table that fills the page."""

    def __init__(self, listing: Listing[Row], *, of: str = "") -> None:
        super().__init__()
        self.listing = listing
        self.of = of
        self.crumb = listing.crumb + (f"({of.partition('/')[2]})" if of else "")
        self._sorting = Sorting(listing.columns)
        self._look: Look | None = None
        self._counted = ""
        self.table: VirtualTable[Row] = VirtualTable(
            listing.columns,
            name_of=listing.name_of,
            tones=style_of,
            empty=listing.empty,
            named="list",
            unnamed=listing.unnamed,
        )

    def compose(self) -> ComposeResult:
        yield self.table

    def on_mount(self) -> None:
        self.table.focus()

    def show(self, look: Look) -> None:
        self._look = look
        every = self.listing.rows(look, self.of)
        rows = self._sorting.apply(every)
        if every:
            self.table.empty = self._sorting.nothing()
        elif not look.now and not self.listing.played:
            self.table.empty = "of this there is no record to play back; there is of services, events and starts"
        else:
            self.table.empty = self.listing.empty
        self._counted = f"{self.crumb} {len(rows)}" + (f" of {len(every)}" if len(rows) < len(every) else "")
        self._title(look)
        self.table.border_subtitle = self._sorting.told
        self.table.show(rows, sorted_by=self._sorting.header, descending=self._sorting.descending)

    def age(self, look: Look) -> None:
        self._look = look
        self._title(look)
        self.table.refresh_changed()

    def _title(self, look: Look) -> None:
        """With the age of what is shown, where the age at the top is not it."""
        behind_s = look.machines_age_s - (look.data_age_s or 0.0)
        old = self.listing.machines and behind_s > BEHIND_S
        self.table.border_title = self._counted + (f" · read {ago(look.machines_age_s)} ago" if old else "")

    @property
    def text(self) -> Text | None:
        row, text_of = self.table.row, self.listing.text_of
        return None if row is None or text_of is None else text_of(row)

    @property
    def subject(self) -> str:
        row = self.table.row
        return "" if row is None else self.listing.subject_of(row)

    @property
    def filtered(self) -> bool:
        return self._sorting.filtered

    def filter(self, text: str) -> None:
        self._sorting.only(text)
        if self._look is not None:
            self.show(self._look)

    def sort(self, letter: str) -> bool:
        return self._sorted(self._sorting.by(letter))

    def on_virtual_table_header_chosen(self, chosen: VirtualTable.HeaderChosen) -> None:
        self._sorted(self._sorting.by_header(chosen.header))

    def _sorted(self, done: bool) -> bool:
        if done and self._look is not None:
            self.show(self._look)
        return done


def _sortable(value: object) -> tuple[int, Any]:
    """What is not known comes first, or last when turned."""
    return (0, 0) if value is None else (1, value)
