"""A scatter plot for a terminal: points by two figures, those that matter marked apart. Plain lines of text."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH_LEAST, HEIGHT_LEAST = 40, 4
"""Smaller, labels leave no room for a plot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    x: float
    y: float
    marked: bool = False
    """Drawn as ● (*) and over those that are not, which are · (.)."""


def scatter(
    points: Sequence[Point],
    *,
    x_name: str,
    y_name: str,
    y_percent: bool = False,
    width: int = 80,
    height: int = 12,
    ascii_only: bool = False,
) -> list[str]:
    """The points, x to the right and y upwards, each axis from the least to the most there is. None: one line."""
    if not points:
        return ["nothing to draw"]
    width, rows = max(width, WIDTH_LEAST), max(height, HEIGHT_LEAST)
    low_x, high_x = min(point.x for point in points), max(point.x for point in points)
    low_y, high_y = min(point.y for point in points), max(point.y for point in points)
    labels = [f"{value:.2%}" if y_percent else f"{value:.2f}" for value in (high_y, low_y)]
    gutter = max(map(len, labels))
    columns = width - gutter - 2
    plain, mark, side, corner, rule = (".", "*", "|", "+", "-") if ascii_only else ("·", "●", "│", "└", "─")
    cells = [[" "] * columns for _ in range(rows)]
    for point in sorted(points, key=lambda point: point.marked):
        column = _place(point.x, low_x, high_x, columns)
        cells[rows - 1 - _place(point.y, low_y, high_y, rows)][column] = mark if point.marked else plain
    lines = [f"{y_name} ({mark} nothing is both cheaper and better)"]
    for row, line in enumerate(cells):
        label = labels[0] if row == 0 else labels[1] if row == rows - 1 else ""
        lines.append(f"{label:>{gutter}} {side}{''.join(line)}".rstrip())
    lines.append(f"{'':{gutter}} {corner}{rule * columns}")
    left, right = f"{low_x:.2f}", f"{high_x:.2f} {x_name}"
    lines.append(f"{'':{gutter}}  {left}{right:>{columns - len(left)}}")
    return lines


def _place(value: float, low: float, high: float, count: int) -> int:
    """The cell of `count` in which a value lies; the middle one where there is but one value."""
    return round((value - low) / (high - low) * (count - 1)) if high > low else count // 2
