"""Schedules and their turns as rows of tables."""

from fleetctl.cli.output import Column
from fleetctl.model.records import dataclass
from fleetctl.model.services import Schedule
from fleetctl.spec.units import duration_text
from fleetctl.views.figures import dollars
from fleetctl.views.timetables import Entry, Turn, clock, effect


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRow:
    """One Schedule, for people and programs."""

    name: str
    number: int
    service: str
    origin: str
    """file, command, or run."""
    cron: str
    tz: str
    duration: str
    effect: str
    min: int | None
    max: int | None
    replicas: int | None
    holds_until: float | None
    next_at: float | None


SCHEDULES: tuple[Column[ScheduleRow], ...] = (
    Column(header="NAME", cell=lambda row: row.name),
    Column(header="N", cell=lambda row: str(row.number), right=True),
    Column(header="FROM", cell=lambda row: row.origin, drop=2),
    Column(header="CRON", cell=lambda row: f'"{row.cron}"'),
    Column(header="TZ", cell=lambda row: row.tz, drop=1),
    Column(header="FOR", cell=lambda row: row.duration),
    Column(header="EFFECT", cell=lambda row: row.effect),
    Column(header="NOW", cell=lambda row: _now(row)),
)
TURNS: tuple[Column[Turn], ...] = (
    Column(header="LOCAL", cell=lambda row: row.clock),
    Column(header="UTC", cell=lambda row: row.utc.removesuffix(" UTC"), drop=3),
    Column(header="SERVICE", cell=lambda row: row.service),
    Column(header="WHAT", cell=lambda row: "; ".join(row.what)),
    Column(header="REPLICAS", cell=lambda row: f"{row.before} → {row.after}"),
    Column(header="Δ", cell=lambda row: f"{row.after - row.before:+d}" if row.after != row.before else "0", right=True),
    Column(header="Δ $/H", cell=lambda row: _delta(row.price_change_per_hour), right=True, drop=1),
    Column(header="WINS", cell=lambda row: row.wins or "-", drop=4),
    Column(header="NOTES", cell=lambda row: "; ".join(row.notes), drop=2),
)


def row_of(one: Entry) -> ScheduleRow:
    """An entry as its row."""
    schedule = one.schedule
    return ScheduleRow(
        name=one.name,
        number=one.number,
        service=one.service,
        origin=one.origin,
        cron=schedule.cron,
        tz=schedule.tz,
        duration=duration_text(schedule.duration_s),
        effect=effect(schedule),
        min=schedule.min,
        max=schedule.max,
        replicas=schedule.replicas,
        holds_until=one.holds_until,
        next_at=one.next_at,
    )


def _now(row: ScheduleRow) -> str:
    if row.holds_until is not None:
        return f"holds until {clock(row.holds_until, row.tz)}"
    return "never again" if row.next_at is None else f"next {clock(row.next_at, row.tz)}"


def _delta(value: float | None) -> str:
    return "?" if value is None else f"{'-' if value < 0 else '+' if value > 0 else ''}{dollars(abs(value))}"


def when(schedule: Schedule) -> str:
    """`"0 8 * * *" UTC for 10h`."""
    return f'"{schedule.cron}" {schedule.tz} for {duration_text(schedule.duration_s)}'
