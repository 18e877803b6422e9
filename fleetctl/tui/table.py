"""A table of any number of rows that draws only those in sight."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

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
_LINES_MAX = 400
"""Lines kept as they were drawn: a few screens of them."""
_STYLES_MAX = 100
"""Tones times what they may stand on; a change of theme makes them anew."""


def ends_of(name: str, room: int) -> str:
    """A name cut in its midst where it is longer than that: siblings differ at the end."""
    head = (room - 1) // 2
    return name if len(name) <= room else f"{name[:head]}…{name[len(name) - (room - 1 - head) :]}"


class Cell(NamedTuple):
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


_Key = tuple[tuple[Cell, ...], tuple[int, ...], bool, bool]


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
    VirtualTable > .table--cursor { background: #1a222c; text-style: bold; }
    VirtualTable:focus > .table--cursor { background: #1b3350; }
    VirtualTable:ansi > .table--cursor { background: ansi_blue; color: ansi_bright_white; }
    VirtualTable:nocolor > .table--cursor { text-style: bold reverse; }
    """

    class Chosen(Message):
        """Enter, or a second click, on a row."""

        def __init__(self, table: "VirtualTable[Any]", name: str) -> None:
            super().__init__()
            self.table, self.row_name = table, name

    class HeaderChosen(Message):
        """A click on the header of a column."""

        def __init__(self, header: str) -> None:
            super().__init__()
            self.header = header

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
        self.empty = empty
        """What is said where there are no rows."""
        self._unnamed = unnamed
        self._rows: Sequence[Row] = ()
        self._longest = 0
        self._cursor = 0
        self._sorted_by = self._mark = ""
        self._styles: dict[tuple[Style, str], Style] = {}
        self._lines: dict[tuple[_Key, Style], Strip] = {}
        self._drawn: dict[int, _Key] = {}
        """By line of the screen, below the header."""
        self._drawn_sorted_by = ("", "")
        self._fitted: tuple[tuple[int, int], list[TableColumn[Row]], list[int]] | None = None

    # what the app says

    def show(self, rows: Sequence[Row], *, sorted_by: str = "", descending: bool = False) -> None:
        """Take these rows in place of the ones before."""
        here = self.row_name
        self._rows = rows
        self._longest = 0 if self._unnamed else max(map(len, map(self._name_of, rows)), default=0)
        self._sorted_by, self._mark = sorted_by, "▼" if descending else "▲"
        if here is not None and not (self._cursor < len(rows) and self._name_of(rows[self._cursor]) == here):
            self._cursor = next((at for at, row in enumerate(rows) if self._name_of(row) == here), self._cursor)
        self._cursor = max(0, min(self._cursor, len(rows) - 1))
        size = Size(0, len(rows) + 1)
        grown = size != self.virtual_size
        if grown:
            self.virtual_size = size
        if grown or not rows or self._drawn_sorted_by != (self._sorted_by, self._mark):
            self._drawn_sorted_by = self._sorted_by, self._mark
            self.refresh(layout=grown)
        else:
            self.refresh_changed()

    def refresh_changed(self) -> None:
        """Draw those lines again that look different now."""
        width = self.scrollable_content_region.width
        shown, widths = self._fit(width)
        changed = [
            Region(0, y, width, 1)
            for y, before in self._drawn.items()
            if before != self._key(y - 1 + self.scroll_offset.y, shown, widths)
        ]
        if changed:
            self.refresh(*changed)

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
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if offset.y == 0:
            header = self._header_at(offset.x)
            if header:
                self.post_message(self.HeaderChosen(header))
            return
        at = offset.y - 1 + self.scroll_offset.y
        if not 0 <= at < len(self._rows):
            return
        if at == self._cursor and event.chain > 1:
            self.action_choose()
        self._go(at)

    def _header_at(self, x: int) -> str:
        """The header that is drawn in that column of the screen; empty: none."""
        begins = 1
        for column, room in zip(*self._fit(self.scrollable_content_region.width), strict=True):
            if begins <= x < begins + room + _GAP:
                return column.header
            begins += room + _GAP
        return ""

    def _go(self, to: int) -> None:
        to = max(0, min(to, len(self._rows) - 1))
        if to == self._cursor or not self._rows:
            return
        self._cursor = to
        # The header covers the uppermost line in sight.
        self.scroll_to_region(Region(0, to, 1, 3), animate=False, force=True)
        self.refresh()
        self.post_message(self.Moved(self, self._name_of(self._rows[to])))

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    # drawing

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """With `height: auto`: all rows, and a line of air for the words of an empty one."""
        return max(3, len(self._rows) + 1, 0 if self._rows else len(self._words(width)) + 2)

    def _words(self, width: int) -> list[str]:
        """What is said in place of rows."""
        return textwrap.wrap(self.empty, max(10, width - 4))

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        shown, widths = self._fit(width)
        if y == 0:
            return self._header(shown, widths, width)
        at = y - 1 + self.scroll_offset.y
        if at >= len(self._rows):
            self._drawn.pop(y, None)
            words = [] if self._rows or y < 2 else self._words(width)[y - 2 : y - 1]
            text = f"  {words[0]}" if words else ""
            return Strip([Segment(text.ljust(width)[:width], self.rich_style + Style(dim=True))], width)
        # What looks the same is the same object: whoever draws it further has it in its caches.
        cells, *_ = key = self._key(at, shown, widths)
        self._drawn[y] = key
        line = self._lines.get((key, self.rich_style))
        if line is None:
            if len(self._lines) > _LINES_MAX:
                self._lines.clear()
            line = self._lines[key, self.rich_style] = self._line(at, shown, widths, cells, width)
        return line

    def _key(self, at: int, shown: Sequence[TableColumn[Row]], widths: Sequence[int]) -> _Key:
        """All that a line looks like, but for the theme."""
        row = self._rows[at] if at < len(self._rows) else None
        cells = () if row is None else tuple(column.cell(row) for column in shown)
        return cells, tuple(widths), at == self._cursor, self.has_focus

    def _line(
        self, at: int, shown: Sequence[TableColumn[Row]], widths: Sequence[int], cells: Sequence[Cell], width: int
    ) -> Strip:
        base = self.rich_style
        if at == self._cursor:
            base += self.get_component_rich_style("table--cursor", partial=True)
        segments = [Segment(" ", base)]
        for column, room, cell in zip(shown, widths, cells, strict=True):
            text = cell.text if len(cell.text) <= room else cell.text[: room - 1] + "…"
            text = text.rjust(room) if column.right else text.ljust(room)
            segments.append(Segment(text, self._toned(base, cell.tone)))
            segments.append(Segment(" " * _GAP, base))
        return Strip(segments).adjust_cell_length(width, base).crop(0, width)

    def _toned(self, base: Style, tone: str) -> Style:
        """Styles are added up once a tone and not once a cell."""
        if not tone:
            return base
        found = self._styles.get((base, tone))
        if found is None:
            if len(self._styles) > _STYLES_MAX:
                self._styles.clear()
            found = self._styles[base, tone] = base + self._tones(tone)
        return found

    def _header(self, shown: Sequence[TableColumn[Row]], widths: Sequence[int], width: int) -> Strip:
        plain = self.rich_style + self.get_component_rich_style("table--header", partial=True)
        chosen = self.rich_style + self.get_component_rich_style("table--sorted", partial=True)
        segments = [Segment(" ", plain)]
        for column, room in zip(shown, widths, strict=True):
            by = column.header == self._sorted_by
            name, mark = column.header[:room], self._mark if by else ""
            if not column.right and len(name) < room:
                name, mark = name + mark, ""
            text = name.rjust(room) if column.right else name.ljust(room)
            # Else in the gap, so that no header is cut for it.
            segments += [Segment(text, chosen if by else plain), Segment(mark.ljust(_GAP), chosen if mark else plain)]
        return Strip(segments).adjust_cell_length(width, plain).crop(0, width)

    def _fit(self, width: int) -> tuple[list[TableColumn[Row]], list[int]]:
        """The columns that there is room for, and the room of each."""
        if self._fitted is None or self._fitted[0] != (width, self._longest):
            self._fitted = ((width, self._longest), *self._fit_now(width))
        return self._fitted[1], self._fitted[2]

    def _fit_now(self, width: int) -> tuple[list[TableColumn[Row]], list[int]]:
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
