"""How policies did with recorded traffic, as rows: what `simulate` shows, and what the library gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fleetctl.sim.clairvoyant import Clairvoyant
from fleetctl.sim.contest import Played, Setting
from fleetctl.sim.reports import Report
from fleetctl.sim.sweep import front
from fleetctl.sim.traces import Trace
from fleetctl.views.charts import sparkline

TOTAL = "total"
"""The row of all services together; their pools' shared standby is in it and in no other."""
SPARK_COLUMNS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one policy did with one service. Hours are GPU-hours; a percentile is null where so many were never served,
    and a figure that a total has not."""

    policy: str
    service: str
    knobs: Mapping[str, str] = field(default_factory=dict)
    """What a sweep set."""
    front: bool | None = None
    """In a sweep: no other outcome is both cheaper and better."""
    kept: bool
    """Whether the promise was kept."""
    share_within: float
    ttft_p50_s: float | None = None
    ttft_p95_s: float | None = None
    ttft_p99_s: float | None = None
    gpu_hours: float
    ratio: float | None
    """GPU-hours over the clairvoyant schedule's; null where no schedule of the allowed size keeps the promise."""
    cost: float
    scale_actions: int
    reversals: int
    peak: int | None = None
    replicas: str = ""
    """Ready replicas over time, as a sparkline."""


def outcomes(setting: Setting, played: Sequence[Played], known: Sequence[Clairvoyant]) -> list[Outcome]:
    """A row for each entrant and Service, in their order; where there are several, or a Pool, one of the total, too.

    `known` are the best schedules known afterwards; empty: they were not looked for.
    """
    several = len(setting.contestants) > 1
    rows: list[Outcome] = []
    for one in played:
        rows += [
            _outcome(setting, one, number, known[number] if known else None, most_ready(played, number, known))
            for number in range(len(setting.contestants))
        ]
        if several or one.pools:
            rows.append(_total(one, known))
    return rows


def swept(setting: Setting, played: Sequence[Played], known: Sequence[Clairvoyant]) -> list[Outcome]:
    """One row for each run, the cheapest first; of several services the total."""
    if len(setting.contestants) > 1 or any(one.pools for one in played):
        rows = [_total(one, known) for one in played]
    else:
        rows = [_outcome(setting, one, 0, known[0] if known else None, most_ready(played, 0)) for one in played]
    on = front([(row.gpu_hours, row.share_within) for row in rows])
    marked = [replace(row, front=best) for row, best in zip(rows, on, strict=True)]
    return sorted(marked, key=lambda row: (row.gpu_hours, -row.share_within))


def _outcome(setting: Setting, played: Played, number: int, known: Clairvoyant | None, top: float) -> Outcome:
    report = played.reports[number]
    one = setting.contestants[number]
    return Outcome(
        policy=played.entrant.name,
        service=one.service.name,
        knobs=played.entrant.knobs,
        kept=report.kept,
        share_within=report.share_within,
        ttft_p50_s=_finite(report.ttft.p50_s),
        ttft_p95_s=_finite(report.ttft.p95_s),
        ttft_p99_s=_finite(report.ttft.p99_s),
        gpu_hours=report.gpu_hours,
        ratio=_ratio(report.gpu_hours, [known] if known is not None else []),
        cost=report.cost,
        scale_actions=report.scale_actions,
        reversals=report.reversals,
        peak=report.peak_ordered,
        replicas=spark(report, one.trace, top),
    )


def _total(played: Played, known: Sequence[Clairvoyant]) -> Outcome:
    return Outcome(
        policy=played.entrant.name,
        service=TOTAL,
        knobs=played.entrant.knobs,
        kept=played.kept,
        share_within=played.share_within,
        gpu_hours=played.gpu_hours,
        ratio=_ratio(played.gpu_hours, known),
        cost=played.cost,
        scale_actions=sum([one.scale_actions for one in played.reports]),
        reversals=sum([one.reversals for one in played.reports]),
    )


def _ratio(gpu_hours: float, known: Sequence[Clairvoyant]) -> float | None:
    """GPU-hours over those of the best schedules; None where one of them does not keep its promise."""
    best_hours = sum([plan.gpu_hours for plan in known])
    return gpu_hours / best_hours if best_hours and all(plan.report.kept for plan in known) else None


def most_ready(played: Sequence[Played], number: int, known: Sequence[Clairvoyant] = ()) -> float:
    """Most replicas ready at once with any policy, or with the best schedule known afterwards."""
    reports = [one.reports[number] for one in played]
    if known and known[number].report.kept:
        reports.append(known[number].report)
    return max(moment.ready for report in reports for moment in report.timeline)


def spark(report: Report, trace: Trace, top: float) -> str:
    """Ready Replicas over the length of the trace."""
    values: list[float | None] = []
    place = 0
    timeline = report.timeline
    for column in range(SPARK_COLUMNS):
        at = (column + 0.5) / SPARK_COLUMNS * trace.duration_s
        while place + 1 < len(timeline) and timeline[place + 1].at <= at:
            place += 1
        values.append(timeline[place].ready if timeline else None)
    return sparkline(values, top=top)


def _finite(seconds: float) -> float | None:
    return seconds if seconds < float("inf") else None
