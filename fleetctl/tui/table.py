"""A table of any number of rows that draws only those in sight."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

Row = TypeVar("Row")

_GAP = 2
"""Columns between two cells."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in one place of a table, and in which colour of the theme."""

    text: str
    tone: str = ""
    """Of `fleetctl.tui.tones`; empty: as the rest of the row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumn(Generic[Row]):
    """One column. The highest `drop` goes first where the width is short; 0 never goes.

    The first column of a table holds its rows' names, and is as wide as the longest: no name is ever cut.
    """

    header: str
    cell: Callable[[Row], Cell]
    width: int
    """The least; the columns that may `stretch` share what is left."""
    right: bool = False
    drop: int = 0
    stretch: bool = False
    order: Callable[[Row], object] | None = None
    """What rows are sorted by in this column; None: not by this one."""


class VirtualTable(ScrollView, Generic[Row], can_focus=True):
    """Rows under a header, one of them under the cursor. The cursor stays with its row's name when rows move.

    Drawing costs the rows in sight, however many there are; sorting is the caller's.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home,g", "jump(0)", "first", show=False),
        Binding("end,G", "jump(-1)", "last", show=False),
        Binding("enter", "choose", "open", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"table--header", "table--cursor", "table--sorted"}
    DEFAULT_CSS = """
    VirtualTable { overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }
    VirtualTable > .table--header { text-style: bold; color: $text-muted; }
    VirtualTable > .table--sorted { text-style: bold underline; color: $text; }
    VirtualTable > .table--cursor { background: $primary 30%; text-style: bold; }
    """

    class Chosen(Message):
        """Enter, or a second click, on a row."""

        def __init__(self, table: "VirtualTable[Any]", name: str) -> None:
            super().__init__()
            self.table, self.row_name = table, name

    class Moved(Message):
        """The cursor stands on another row."""

        def __init__(self, table: "VirtualTable[Any]", name: str) -> None:
            super().__init__()
            self.table, self.row_name = table, name

    def __init__(
        self,
        columns: Sequence[TableColumn[Row]],
        *,
        name_of: Callable[[Row], str],
        tones: Callable[[str], Style],
        empty: str = "",
        named: str,
        unnamed: bool = False,
    ) -> None:
        """`unnamed`: the first column holds no names, and is as wide as it says."""
        super().__init__(id=named)
        self._columns = tuple(columns)
        self._name_of = name_of
        self._tones = tones
        self._empty = empty
        self._unnamed = unnamed
        self._rows: Sequence[Row] = ()
        self._longest = 0
        self._cursor = 0
        self._sorted_by = ""

    # what the app says

    def show(self, rows: Sequence[Row], *, sorted_by: str = "") -> None:
        """Take these rows in place of the ones before."""
        here = self.row_name
        self._rows = rows
        self._longest = 0 if self._unnamed else max((len(self._name_of(row)) for row in rows), default=0)
        self._sorted_by = sorted_by
        if here is not None and not (self._cursor < len(rows) and self._name_of(rows[self._cursor]) == here):
            self._cursor = next((at for at, row in enumerate(rows) if self._name_of(row) == here), self._cursor)
        self._cursor = max(0, min(self._cursor, len(rows) - 1))
        size = Size(0, len(rows) + 1)
        grown = size != self.virtual_size
        if grown:
            self.virtual_size = size
        self.refresh(layout=grown)

    @property
    def row(self) -> Row | None:
        """The one under the cursor."""
        return self._rows[self._cursor] if self._cursor < len(self._rows) else None

    @property
    def row_name(self) -> str | None:
        row = self.row
        return None if row is None else self._name_of(row)

    @property
    def columns(self) -> tuple[TableColumn[Row], ...]:
        return self._columns

    # keys and mouse

    def action_move(self, by: int) -> None:
        self._go(self._cursor + by)

    def action_page(self, by: int) -> None:
        self._go(self._cursor + by * max(1, self.size.height - 2))

    def action_jump(self, to: int) -> None:
        self._go(to if to >= 0 else len(self._rows) - 1)

    def action_choose(self) -> None:
        name = self.row_name
        if name is not None:
            self.post_message(self.Chosen(self, name))

    def on_click(self, event: events.Click) -> None:
        at = event.y + self.scroll_offset.y - 1
        if event.y < 1 or not 0 <= at < len(self._rows):
            return
        if at == self._cursor and event.chain > 1:
            self.action_choose()
        self._go(at)

    def _go(self, to: int) -> None:
        to = max(0, min(to, len(self._rows) - 1))
        if to == self._cursor or not self._rows:
            return
        self._cursor = to
        # The header covers the uppermost line in sight.
        self.scroll_to_region(Region(0, to, 1, 3), animate=False, force=True)
        self.refresh()
        self.post_message(self.Moved(self, self._name_of(self._rows[to])))

    # drawing

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """With `height: auto`: all rows, and a line of air for the words of an empty one."""
        return max(3, len(self._rows) + 1)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        shown, widths = self._fit(width)
        if y == 0:
            return self._header(shown, widths, width)
        at = y - 1 + self.scroll_offset.y
        if at >= len(self._rows):
            text = f"  {self._empty}" if not self._rows and y == 2 else ""
            return Strip([Segment(text.ljust(width)[:width], self.rich_style + Style(dim=True))], width)
        row = self._rows[at]
        base = self.rich_style
        if at == self._cursor:
            base += self.get_component_rich_style("table--cursor", partial=True)
        segments = [Segment(" ", base)]
        for column, room in zip(shown, widths, strict=True):
            cell = column.cell(row)
            text = cell.text if len(cell.text) <= room else cell.text[: room - 1] + "…"
            text = text.rjust(room) if column.right else text.ljust(room)
            segments.append(Segment(text, base + self._tones(cell.tone) if cell.tone else base))
            segments.append(Segment(" " * _GAP, base))
        return Strip(segments).adjust_cell_length(width, base).crop(0, width)

    def _header(self, shown: Sequence[TableColumn[Row]], widths: Sequence[int], width: int) -> Strip:
        plain = self.rich_style + self.get_component_rich_style("table--header", partial=True)
        chosen = self.rich_style + self.get_component_rich_style("table--sorted", partial=True)
        segments = [Segment(" ", plain)]
        for column, room in zip(shown, widths, strict=True):
            text = column.header[:room].rjust(room) if column.right else column.header[:room].ljust(room)
            segments += [
                Segment(text, chosen if column.header == self._sorted_by else plain), Segment(" " * _GAP, plain),
            ]  # fmt: skip
        return Strip(segments).adjust_cell_length(width, plain).crop(0, width)

    def _fit(self, width: int) -> tuple[list[TableColumn[Row]], list[int]]:
        """The columns that there is room for, and the room of each."""
        first = self._columns[0]
        shown = [replace(first, width=max(first.width, self._longest)), *self._columns[1:]]
        while sum(column.width + _GAP for column in shown) + 1 - _GAP > width:
            least = max(shown, key=lambda column: column.drop)
            if least.drop == 0:
                break
            shown.remove(least)
        spare = width - 1 - sum(column.width + _GAP for column in shown) + _GAP
        stretching = [column for column in shown if column.stretch]
        widths = []
        for column in shown:
            more = max(0, spare) // len(stretching) if column.stretch else 0
            widths.append(column.width + more)
        return shown, widths
