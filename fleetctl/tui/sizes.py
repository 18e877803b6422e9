"""How much room there is: for all of the dashboard, for one panel of it, or for nothing but words about that."""

from typing import Final

from textual.geometry import Size
from textual.widgets import Static

NARROW_COLUMNS: Final = 110
NARROW_LINES: Final = 32
"""Below either there is room for the services and one panel."""
LEAST_COLUMNS: Final = 60
LEAST_LINES: Final = 16
"""Below either a table shows less than `ps` does."""
LOW_LINES: Final = 21
"""Below, the panel leaves the services more than two lines only if it is smaller itself."""
TALL_LINES: Final = 42
"""From here on a narrow terminal has room for a panel twice as large."""


def is_narrow(size: Size) -> bool:
    return size.width < NARROW_COLUMNS or size.height < NARROW_LINES


def is_tiny(size: Size) -> bool:
    return size.width < LEAST_COLUMNS or size.height < LEAST_LINES


def classes_of(size: Size) -> dict[str, bool]:
    """What a screen of this size is called in `app.tcss`; the last that holds rules."""
    narrow = is_narrow(size)
    return {
        "-narrow": narrow,
        "-low": narrow and size.height < LOW_LINES,
        "-tall": narrow and size.height >= TALL_LINES,
        "-tiny": is_tiny(size),
    }


class TooSmall(Static):
    """All that is shown where nothing else can be read. Hidden but for that, by the class -tiny of its screen."""

    DEFAULT_CLASSES = "small"

    def say(self, size: Size) -> None:
        """Of a terminal of this size."""
        self.update(
            f"The dashboard needs {LEAST_COLUMNS}x{LEAST_LINES} and this terminal has {size.width}x{size.height}:"
            " make it larger, or leave with q, the only key that does anything here, and run fleetctl ps --watch"
        )
