"""Charts for a terminal, as plain lines of text: demand against capacity, cold starts by stage, sparklines.

Every chart is a pure function of its figures and a width, in Unicode or ASCII, with colour only where asked for. No
meaning rests on colour: every series has a glyph of its own, and the colours are those of Okabe and Ito, which people
who see colours differently can tell apart.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median_low

WIDTH_LEAST = 40
"""Narrower, labels leave no room for a plot."""
_PLOT_LEAST = 24
"""Columns that notes must leave to a plot."""

_BLUE, _VERMILION, _GREEN, _ORANGE, _SKY, _PURPLE, _YELLOW, _GREY = 32, 166, 36, 214, 74, 175, 227, 244
"""Of the 256 colours of terminals, those nearest to Okabe and Ito's."""

_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400)
_STEPS = (1, 2, 5)
_ROW_STEPS = (1, 2, 3, 4, 5, 6, 8)
"""Replicas a row of a chart may stand for: the finer, the better is ready told from desired where rows are few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandPoint:
    """Demand and capacity at one time, in replicas. None (or NaN): not known, drawn as a gap."""

    t_s: float
    demand: float | None
    """Requests queued and running ÷ those that one replica is meant to serve at once."""
    ready: float | None
    desired: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One stage of a start, in seconds since the start began. No end: it goes on."""

    stage: str
    start_s: float
    end_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaterfallRow:
    """One start, stage after stage. Where stages overlap, the later one is seen."""

    label: str
    bars: tuple[Bar, ...]
    note: str = ""
    """Behind its time, where there is room."""
    elapsed_s: float | None = None
    """Seconds since it began, while it goes on: its open bar reaches so far. None: to the end of the picture."""


def demand_chart(
    points: Sequence[DemandPoint],
    *,
    width: int = 80,
    height: int = 12,
    ascii_only: bool = False,
    colour: bool = False,
    back: bool = False,
) -> list[str]:
    """Demand as a line over the shaded area of ready replicas; the desired count is a rule where it differs.

    `height` is the most rows of the plot: it takes as many as give every replica the same whole number of rows, so
    that a line above the shade always means more demand than capacity. A legend comes first, the time axis last; with
    `back` its times are counted back from the end.
    """
    width = max(width, WIDTH_LEAST)
    points = sorted(points, key=lambda point: point.t_s)
    values = [_known(value) for point in points for value in (point.demand, point.ready, point.desired)]
    top = max(1, math.ceil(max((value for value in values if value is not None), default=1) - 1e-9))
    per_row = _nice(top / height, _ROW_STEPS) if top > height else 1 / (height // top)
    rows = math.ceil(top / per_row - 1e-9)
    gutter = len(f"{rows * per_row:.0f}") + 2
    columns = width - gutter
    start_s, span_s = (points[0].t_s, points[-1].t_s - points[0].t_s) if points else (0.0, 0.0)

    demand = _line(points, columns * 2, start_s, span_s)
    ready = _steps([(point.t_s, _known(point.ready)) for point in points], columns, start_s, span_s)
    desired = _steps([(point.t_s, _known(point.desired)) for point in points], columns, start_s, span_s)
    cells = [[_BLANK] * columns for _ in range(rows)]  # from the bottom up
    for column in range(columns):
        _shade(cells, column, ready[column], per_row, ascii_only)
        _rule(cells, column, desired[column], ready[column], per_row, ascii_only)
    if ascii_only:
        _draw_stars(cells, demand, ready, per_row)
    else:
        _draw_dots(cells, demand, ready, per_row)
    if not points:
        text = "no data yet"
        for offset, character in enumerate(text):
            cells[rows // 2][(columns - len(text)) // 2 + offset] = _Cell(character, _GREY)

    ruled = any(wish is not None and wish != have for wish, have in zip(desired, ready, strict=True))
    lines = [_legend(ruled, ascii_only, colour)]
    labelled = per_row * _nice(max(1.0, top / 6 / per_row)) if per_row > 1 else _nice(max(1, top / 6))
    for row in reversed(range(rows)):
        level = (row + 1) * per_row
        label = f"{level:.0f}" if math.isclose(level % labelled, 0, abs_tol=1e-6) or row == rows - 1 else ""
        label = label if math.isclose(level, round(level), abs_tol=1e-6) else ""
        edge = ("+" if label else "|") if ascii_only else ("┤" if label else "│")
        lines.append(f"{label:>{gutter - 2}} {edge}{_paint(cells[row], colour)}".rstrip())
    return lines + _time_axis(span_s, columns, f"{0:>{gutter - 2}} ", ascii_only, back=back)


def waterfall(
    rows: Sequence[WaterfallRow],
    *,
    width: int = 80,
    ascii_only: bool = False,
    colour: bool = False,
    legend: bool = True,
) -> list[str]:
    """One line per row: its stages laid end to end on one scale of seconds, and how long it took in all."""
    rows = [row for row in rows if row.bars]
    if not rows:
        return ["no starts yet"]
    width = max(width, WIDTH_LEAST)
    ends = [bar.start_s if bar.end_s is None else bar.end_s for row in rows for bar in row.bars]
    end_s = max(*ends, *(row.elapsed_s or 0.0 for row in rows)) or 1.0
    gutter = min(max(len(row.label) for row in rows), width // 3) + 2
    totals = [_total(row) for row in rows]
    figures = max(len(total) for total in totals)
    noted = max((len(row.note) + 2 for row in rows if row.note), default=0)
    noted = noted if width - gutter - figures - 1 - noted >= _PLOT_LEAST else 0
    columns = width - gutter - figures - 1 - noted
    stages = list(dict.fromkeys(bar.stage for row in rows for bar in sorted(row.bars, key=lambda bar: bar.start_s)))
    looks = _looks(stages, ascii_only)
    lines = _stage_legend(looks, width, colour) if legend else []
    edge = "|" if ascii_only else "│"
    for row, total in zip(rows, totals, strict=True):
        cells = [_BLANK] * columns
        for bar in row.bars:
            first = min(columns - 1, round(bar.start_s / end_s * columns))
            reached = row.elapsed_s if bar.end_s is None else bar.end_s
            last = columns if reached is None else round(reached / end_s * columns)
            for column in range(first, max(last, first + 1) if bar.end_s != bar.start_s else last):
                cells[column] = looks[bar.stage]
            if bar.end_s is None:
                cells[max(first, last - 1)] = _Cell(">" if ascii_only else "▸", looks[bar.stage].colour)
        label = _shorten(row.label, gutter - 2, ascii_only)
        note = f"  {row.note}" if noted and row.note else ""
        lines.append(f"{label:<{gutter - 2}} {edge}{_paint(cells, colour)} {total:>{figures}}{note}")
    return lines + _time_axis(end_s, columns, " " * (gutter - 1), ascii_only)


def stage_chart(
    rows: Sequence[WaterfallRow], *, width: int = 80, ascii_only: bool = False, colour: bool = False
) -> list[str]:
    """One line per stage over all starts: from its median beginning, as long as its p50, with a tail up to its p95."""
    ended = [bar for row in rows for bar in row.bars if bar.end_s is not None]
    if not ended:
        return ["no starts yet"]
    width = max(width, WIDTH_LEAST)
    by_stage: dict[str, list[Bar]] = {}
    for bar in ended:
        by_stage.setdefault(bar.stage, []).append(bar)
    spans = []
    for stage, bars in by_stage.items():
        took_s = sorted((bar.end_s or 0.0) - bar.start_s for bar in bars)
        p95_s = took_s[max(0, math.ceil(0.95 * len(took_s)) - 1)]
        spans.append((median_low(bar.start_s for bar in bars), stage, median_low(took_s), p95_s))
    # In the order in which a start takes them; starts of several kinds have medians that would mix it up.
    order = {stage: at for at, stage in enumerate(_STAGES)}
    spans.sort(key=lambda span: (order.get(span[1], len(order)), span[0]))
    looks = _looks([stage for _, stage, _, _ in spans], ascii_only)
    figures = [f"{_seconds(p50_s):>7} {_seconds(p95_s):>7}" for _, _, p50_s, p95_s in spans]
    gutter = max(len(stage) for stage in looks) + 2
    columns = width - gutter - len(figures[0]) - 1
    end_s = max(start_s + p95_s for start_s, _, _, p95_s in spans) or 1.0
    edge, tail = ("|", "-") if ascii_only else ("│", "╌")
    lines = [f"{'':{width - len(figures[0])}}{'p50':>7} {'p95':>7}"]
    for (start_s, stage, p50_s, p95_s), figure in zip(spans, figures, strict=True):
        cells = [_BLANK] * columns
        first = min(columns - 1, round(start_s / end_s * columns))
        middle = max(first + 1, round((start_s + p50_s) / end_s * columns))
        for column in range(first, middle):
            cells[column] = looks[stage]
        for column in range(middle, round((start_s + p95_s) / end_s * columns)):
            cells[column] = _Cell(tail, looks[stage].colour)
        lines.append(f"{stage:<{gutter - 2}} {edge}{_paint(cells, colour)} {figure}")
    return lines + _time_axis(end_s, columns, " " * (gutter - 1), ascii_only)


def sparkline(values: Sequence[float | None], *, top: float | None = None, ascii_only: bool = False) -> str:
    """One character per value, from zero to `top` (or the largest); a blank where none is known."""
    glyphs = "_.-=+*#%@" if ascii_only else "▁▂▃▄▅▆▇█"
    known = [_known(value) for value in values]
    scale = top if top is not None else max((value for value in known if value is not None), default=0.0)
    last = len(glyphs) - 1
    return "".join(
        " " if value is None else glyphs[min(last, max(0, round(value / scale * last))) if scale > 0 else 0]
        for value in known
    )


@dataclass(frozen=True, slots=True)
class _Cell:
    glyph: str
    colour: int | None = None


_BLANK = _Cell(" ")
_DOT_BITS = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))
"""Braille dots by half column, from the bottom up."""
_STAGES = {
    "slot": ("·", ".", _GREY),
    "launch": ("╌", "-", _YELLOW),
    "boot": ("░", ":", _SKY),
    "install": ("▦", "i", _ORANGE),
    "apply": ("›", ",", _GREY),
    "image": ("▒", "+", _ORANGE),
    "weights": ("▓", "x", _BLUE),
    "cache": ("▤", "c", _YELLOW),
    "gpus": ("▭", "g", _GREY),
    "engine": ("█", "#", _GREEN),
    "warm_up": ("▣", "w", _PURPLE),
    "wake": ("▚", "~", _PURPLE),
    "settle": ("▁", "_", _GREY),
}
_OTHER_STAGES = (("◇", "o", _YELLOW), ("◆", "@", _VERMILION), ("▞", "%", _GREY))


def _known(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _nice(least: float, steps: Sequence[int] = _STEPS) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50 … that is not below `least`; or of other steps and their tens."""
    power = 1
    while True:  # ends: `power` outgrows any number
        for step in steps:
            if step * power >= least - 1e-9:
                return step * power
        power *= 10


def _bin(t_s: float, bins: int, start_s: float, span_s: float) -> int:
    return min(bins - 1, int((t_s - start_s) / span_s * bins)) if span_s > 0 else 0


def _steps(
    samples: Sequence[tuple[float, float | None]], bins: int, start_s: float, span_s: float
) -> list[float | None]:
    """The value that holds in each bin: the last sample in it, or the one before it."""
    held: list[float | None] = [None] * bins
    before: tuple[int, float | None] = (0, None)
    for t_s, value in samples:
        at = _bin(t_s, bins, start_s, span_s)
        for index in range(before[0] + 1, at):
            held[index] = before[1]
        held[at] = value
        before = (at, value)
    return held


def _line(points: Sequence[DemandPoint], bins: int, start_s: float, span_s: float) -> list[float | None]:
    """Demand in each bin: the most of the samples in it; between samples, a straight line."""
    drawn: list[float | None] = [None] * bins
    before: tuple[int, float] | None = None
    for point in points:
        value = _known(point.demand)
        at = _bin(point.t_s, bins, start_s, span_s)
        if value is None:
            before = None
            continue
        held = drawn[at]
        drawn[at] = value if held is None else max(held, value)
        if before is not None:
            for index in range(before[0] + 1, at):
                drawn[index] = before[1] + (value - before[1]) * (index - before[0]) / (at - before[0])
        before = (at, value)
    return drawn


def _shade(cells: list[list[_Cell]], column: int, ready: float | None, per_row: float, ascii_only: bool) -> None:
    if ready is not None:
        for row in range(min(len(cells), math.floor(ready / per_row + 0.5))):
            cells[row][column] = _Cell("." if ascii_only else "░", _GREY)


def _rule(
    cells: list[list[_Cell]],
    column: int,
    desired: float | None,
    ready: float | None,
    per_row: float,
    ascii_only: bool,
) -> None:
    """A rule along the top of the row that the desired count reaches; at zero, along the bottom."""
    if desired is None or desired == ready:
        return
    row = math.floor(desired / per_row + 0.5) - 1
    glyph = "=" if ascii_only else "▔" if row >= 0 else "▁"
    cells[max(0, row)][column] = _Cell(glyph, _GREEN)


def _level(value: float, per_row: float, dots: int, rows: int) -> int:
    """The dot, from the bottom, that a value reaches: a whole row's worth is that row's uppermost dot."""
    return min(rows * dots - 1, max(0, math.ceil(value / per_row * dots - 1e-9) - 1))


def _draw_dots(
    cells: list[list[_Cell]], demand: Sequence[float | None], ready: Sequence[float | None], per_row: float
) -> None:
    """A line of braille dots, two by four in each cell."""
    rows = len(cells)
    bits: dict[tuple[int, int], int] = {}
    before: int | None = None
    for index, value in enumerate(demand):
        if value is None:
            before = None
            continue
        at = _level(value, per_row, 4, rows)
        joined = range(at, at + 1) if before is None else range(min(at, before + 1), max(at, before - 1) + 1)
        for dot in joined:
            key = (dot // 4, index // 2)
            bits[key] = bits.get(key, 0) | _DOT_BITS[index % 2][dot % 4]
        before = at
    for (row, column), pattern in bits.items():
        over = _over(row, ready[column], per_row)
        cells[row][column] = _Cell(chr(0x2800 + pattern), _VERMILION if over else _BLUE)


def _draw_stars(
    cells: list[list[_Cell]], demand: Sequence[float | None], ready: Sequence[float | None], per_row: float
) -> None:
    """A line of stars, joined by bars where it rises or falls by more than a row."""
    before: int | None = None
    for column in range(len(cells[0])):
        halves = [value for value in demand[column * 2 : column * 2 + 2] if value is not None]
        if not halves:
            before = None
            continue
        at = _level(max(halves), per_row, 1, len(cells))
        for row in [] if before is None else range(min(at, before) + 1, max(at, before)):
            cells[row][column] = _Cell("|", _VERMILION if _over(row, ready[column], per_row) else _BLUE)
        cells[at][column] = _Cell("*", _VERMILION if _over(at, ready[column], per_row) else _BLUE)
        before = at


def _over(row: int, ready: float | None, per_row: float) -> bool:
    """Whether what is drawn in that row lies above the ready replicas."""
    return ready is not None and row >= math.floor(ready / per_row + 0.5)


def _legend(ruled: bool, ascii_only: bool, colour: bool) -> str:
    line = (_Cell("*" if ascii_only else "⠤⠒", _BLUE), "demand, in replicas")
    area = (_Cell(".." if ascii_only else "░░", _GREY), "ready")
    rule = (_Cell("==" if ascii_only else "▔▔", _GREEN), "desired")
    return "   ".join(
        f"{_paint([cell], colour)} {name}" for cell, name in ([line, area, rule] if ruled else [line, area])
    )


def _stage_legend(looks: dict[str, _Cell], width: int, colour: bool) -> list[str]:
    """As many lines as the width needs."""
    lines, used = [""], 0
    for stage, look in looks.items():
        if used and used + len(stage) + 6 > width:
            lines, used = [*lines, ""], 0
        lines[-1] += f"{'   ' if used else ''}{_paint([_Cell(look.glyph * 2, look.colour)], colour)} {stage}"
        used += len(stage) + 6
    return lines


def _looks(stages: Iterable[str], ascii_only: bool) -> dict[str, _Cell]:
    """How each stage is drawn; stages we do not know take turns with the looks left over."""
    looks: dict[str, _Cell] = {}
    others = 0
    for stage in stages:
        if stage in _STAGES:
            glyph, plain, colour = _STAGES[stage]
        else:
            glyph, plain, colour = _OTHER_STAGES[others % len(_OTHER_STAGES)]
            others += 1
        looks[stage] = _Cell(plain if ascii_only else glyph, colour)
    return looks


def _paint(cells: Iterable[_Cell], colour: bool) -> str:
    """The cells as text; neighbours of one colour share its escape codes."""
    text: list[str] = []
    now: int | None = None
    for cell in cells:
        if colour and cell.colour != now:
            if now is not None:
                text.append("\x1b[0m")
            if cell.colour is not None:
                text.append(f"\x1b[38;5;{cell.colour}m")
            now = cell.colour
        text.append(cell.glyph)
    if now is not None:
        text.append("\x1b[0m")
    return "".join(text)


def _time_axis(span_s: float, columns: int, before: str, ascii_only: bool, *, back: bool = False) -> list[str]:
    """A rule with marks at round times, and the times under it; `before` stands left of the corner.

    With `back` the times are those before the right end.
    """
    gutter = len(before) + 1
    room = 9  # columns from mark to mark: the longest time, `12h30m`, and air
    step_s = next((step for step in _STEPS_S if span_s / step <= columns / room), _STEPS_S[-1])
    marks = [at * step_s for at in range(int(span_s / step_s + 1e-9) + 1)] if span_s > 0 else [0.0]
    rule = ["-" if ascii_only else "─"] * columns
    names = [" "] * (columns + gutter)
    for mark_s in marks:
        at = min(columns - 1, round(mark_s / span_s * columns)) if span_s > 0 else 0
        name = _time(mark_s, span_s)
        if back:
            at, name = columns - 1 - at, f"-{name}" if mark_s else "now"
        rule[at] = "+" if ascii_only else "┬"
        begin = min(at + gutter, columns + gutter - len(name))
        names[begin : begin + len(name)] = name
    corner = "+" if ascii_only else "└"
    return [f"{before}{corner}{''.join(rule)}", "".join(names).rstrip()]


def _time(at_s: float, span_s: float) -> str:
    if span_s <= 300:
        return f"{at_s:g}s"
    hours, minutes, seconds = int(at_s // 3600), int(at_s % 3600 // 60), int(at_s % 60)
    parts = [(hours, "h"), (minutes, "m"), (seconds, "s")]
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"


def _seconds(took_s: float) -> str:
    return f"{took_s:.2f} s" if took_s < 10 else f"{took_s:.1f} s" if took_s < 1000 else f"{took_s:.0f} s"


def _total(row: WaterfallRow) -> str:
    ends = [bar.end_s for bar in row.bars]
    known = [end_s for end_s in ends if end_s is not None]
    if len(known) < len(ends):
        return "going on" if row.elapsed_s is None else f"{_seconds(row.elapsed_s)} so far"
    return _seconds(max(known) - min(bar.start_s for bar in row.bars))


def _shorten(text: str, room: int, ascii_only: bool) -> str:
    if len(text) <= room:
        return text
    return text[: max(0, room - 1)] + ("~" if ascii_only else "…")
