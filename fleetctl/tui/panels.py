"""The pictures of the dashboard: key figures, demand against capacity, starts by stage."""

from collections.abc import Sequence
from dataclasses import replace

from rich.text import Text
from textual.widgets import Static

from fleetctl.decide.histograms import requests
from fleetctl.tui.table import ends_of
from fleetctl.tui.tones import style_of
from fleetctl.views.charts import Bar, DemandPoint, WaterfallRow, demand_chart, stage_chart, waterfall
from fleetctl.views.figures import ago, dollars, figure
from fleetctl.views.fleet import ServiceRow
from fleetctl.views.looks import TRACE_S, Look
from fleetctl.views.starts import cold_start

WAITED_LONG_S = 5.0
"""A queue whose oldest request has waited longer is shown as trouble."""
HOURS_A_MONTH = 730.0
COMING_MAX = 6
"""Starts that go on, drawn one by one; more are counted."""


class Figures(Static):
    """Five key figures side by side: each a name, a value and a line of what is behind it."""

    _text = Text()
    _width = 0
    """When last seen: on a page that is not shown it has none, and its text is wanted with the first picture."""

    def show(self, look: Look) -> None:
        self._width = self.content_size.width or self._width
        wide = self._width >= _WIDE
        figures = [_cost(look), _ready(look), _queue(look), _promise(look), _standby(look)]
        room = max(12, self._width // len(figures))
        text = Text(no_wrap=True, overflow="crop")
        for name, _, _, _ in figures:
            title = name if len(name) + 2 <= room else name.partition("/")[0].partition(" ")[0]
            text.append(f"▌{title}".ljust(room)[:room], style_of("quiet"))
        text.append("\n")
        for _, value, tone, _ in figures:
            text.append("▌", style_of(tone or "strong"))
            text.append(value.ljust(room - 1)[: room - 1], style_of(tone or "strong"))
        if wide:
            text.append("\n")
            for _, _, _, more in figures:
                text.append(f"▌{more}"[: room - 1].ljust(room), style_of("quiet"))
        if text != self._text:
            self._text = text
            self.update(text, layout=False)


_WIDE = 100

_Figure = tuple[str, str, str, str]


def _cost(look: Look) -> _Figure:
    total, unpriced = look.view.price_per_hour
    if not look.now:
        prices = [row.price_per_hour for row in look.services]
        total, unpriced = sum(price or 0.0 for price in prices), sum(price is None for price in prices)
    cap = look.max_cost_per_hour
    value = dollars(total) + (f" + {unpriced}?" if unpriced else "")
    more = f"cap {dollars(cap)}" if cap is not None else f"{dollars(total * HOURS_A_MONTH)} a month"
    return "COST $/H", value, "bad" if cap is not None and total > cap else "", more


def _ready(look: Look) -> _Figure:
    ready, desired = sum(row.ready for row in look.services), sum(row.desired for row in look.services)
    coming = sum(row.booting for row in look.services)
    leaving = sum(1 for one in look.view.replicas if one.role == "draining")
    more = ", ".join(f"{count} {word}" for count, word in ((coming, "starting"), (leaving, "leaving")) if count)
    return "READY/DESIRED", f"{ready}/{desired}", "busy" if ready != desired else "", more or "settled"


def _queue(look: Look) -> _Figure:
    known = [row.queued for row in look.services if row.queued is not None]
    oldest = max((row.oldest_wait_s or 0.0 for row in look.services), default=0.0)
    if not known and look.services:
        return "QUEUE", "?", "warn", "the gateway does not answer"
    tone = "bad" if oldest > WAITED_LONG_S else "warn" if sum(known) else ""
    return "QUEUE", figure(sum(known)), tone, f"oldest {oldest:.1f}s" if sum(known) else "nobody waits"


def _promise(look: Look) -> _Figure:
    """The share of all requests with a promise that had their first token in time."""
    asked = kept = 0.0
    worst: ServiceRow | None = None
    for row in look.services:
        share = row.promise.kept
        memory = look.view.memories.get(row.name)
        ttft = memory.tally.ttft if memory is not None and memory.tally is not None else None
        if share is None or ttft is None:
            continue
        asked += requests(ttft)
        kept += requests(ttft) * share
        if worst is None or share < (worst.promise.kept or 0.0):
            worst = row
    if not asked:
        nothing = "nothing is promised" if look.now else "not in the record"
        return "PROMISE KEPT", "-", "quiet", nothing if look.services else ""
    broken = worst is not None and (worst.promise.kept or 0.0) * 100 < worst.promise.percentile
    return "PROMISE KEPT", f"{kept / asked:.1%}", "bad" if broken else "good", f"least: {worst.name if worst else ''}"


def _standby(look: Look) -> _Figure:
    """Slots that stand by; what is free beyond what is wanted counts for nothing."""
    ready = wanted = 0
    tiers: dict[str, int] = {}
    for row in look.services:
        counted = min(row.standby_ready, row.standby_wanted)
        ready, wanted = ready + counted, wanted + row.standby_wanted
        if counted:
            tiers[row.tier] = tiers.get(row.tier, 0) + counted
    more = ", ".join(f"{count} {tier}" for tier, count in tiers.items()) or ("none ready" if wanted else "none wanted")
    return "STANDBY", f"{ready}/{wanted}", "warn" if ready < wanted else "plan" if wanted else "quiet", more


class Picture(Static):
    """A picture of one Service, drawn again when its room changes."""

    def __init__(self, *, named: str, ascii_only: bool) -> None:
        super().__init__(id=named)
        self.ascii_only = ascii_only
        self._shown: tuple[Look, str] | None = None
        self._painted = ""

    def show(self, look: Look, service: str) -> None:
        self._shown = look, service
        if self.content_size.width >= _LEAST_COLUMNS and self.content_size.height >= _LEAST_LINES:
            self.draw(look, service)

    def on_resize(self) -> None:
        if self._shown is not None:
            self.show(*self._shown)

    def draw(self, look: Look, service: str) -> None:
        raise NotImplementedError

    def paint(self, lines: Sequence[str]) -> None:
        """Take these lines, with their escape codes of colour, unless they are there already."""
        text = "\n".join(lines)
        if text != self._painted:
            self._painted = text
            self.update(Text.from_ansi(text, no_wrap=True), layout=False)


_LABEL_LEAST = 12
"""Columns of a start's name."""
_LEAST_COLUMNS, _LEAST_LINES = 20, 5


class Demand(Picture):
    """Demand against what is ready and what is decided, in replicas."""

    def draw(self, look: Look, service: str) -> None:
        points: Sequence[DemandPoint] = look.traces.get(service, ())
        recent = [point for point in points if point.t_s >= look.at - TRACE_S]
        self.border_title = f"Demand and replicas: {service or '-'}, {_span(recent)}"
        self.border_subtitle = "demand = concurrency ÷ target a replica"
        room = self.content_size
        lines = demand_chart(
            recent, width=room.width, height=room.height - 3, ascii_only=self.ascii_only, colour=True, back=look.now
        )
        self.paint(lines)


class Starts(Picture):
    """Starts: those that go on, else how long each stage takes (p50, p95)."""

    def draw(self, look: Look, service: str) -> None:
        coming = [one for one in look.view.replicas_of(service) if one.ready_at is None and one.asleep_at is None]
        width = self.content_size.width
        if coming:
            self.border_title = f"Starting now: {service}"
            under_way = [one for one in coming if one.stages]
            lines = []
            if under_way:
                rows = [
                    replace(
                        cold_start(one),
                        label=ends_of(one.id, max(_LABEL_LEAST, width // 3)),
                        elapsed_s=max(0.0, look.at - one.created_at),
                    )
                    for one in under_way[:COMING_MAX]
                ]
                lines += waterfall(rows, width=width, ascii_only=self.ascii_only, colour=True)
            if len(under_way) > COMING_MAX:
                lines.append(f"and {len(under_way) - COMING_MAX} more")
            if len(under_way) < len(coming):
                why = look.view.refused.get(service, "")
                lines.append(f"{len(coming) - len(under_way)} waiting for a machine{f': {why}' if why else ''}")
            self.border_subtitle = ""
        else:
            ended = [one for one in look.starts if one.service == service and one.outcome == "ready"]
            self.border_title = f"Starts by stage: {service or '-'}"
            rows = [
                WaterfallRow(
                    label=one.replica,
                    bars=tuple(
                        Bar(
                            stage=stage.name,
                            start_s=max(0.0, stage.started_at - one.decided_at),
                            end_s=None if stage.ended_at is None else stage.ended_at - one.decided_at,
                        )
                        for stage in one.stages
                    ),
                )
                for one in ended
            ]
            lines = stage_chart(rows, width=width, ascii_only=self.ascii_only, colour=True)
            self.border_subtitle = f"of {len(ended)} starts" if ended else ""
        self.paint(lines)


def _span(points: Sequence[DemandPoint]) -> str:
    return "no data yet" if len(points) < 2 else f"last {ago(points[-1].t_s - points[0].t_s)}"
