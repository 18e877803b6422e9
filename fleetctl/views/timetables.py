"""Schedules as people look at them: which there are, what each does now, and every turn that comes with its price."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from fleetctl.decide.placement import gpus_needed
from fleetctl.decide.schedules import Bounds, bounds, following, off_the_clock, window
from fleetctl.model.decisions import Decision
from fleetctl.model.records import dataclass
from fleetctl.model.services import Schedule
from fleetctl.model.snapshots import Intent
from fleetctl.views.fleet import FleetView

TURNS_MAX = 10_000
"""Looked at for one answer; a schedule of every minute has as many in a week."""
_A_MOMENT_S = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One Schedule of a Service."""

    name: str
    """`chat/3f2a9c`: stays as long as the Schedule does, whatever stands before it."""
    number: int
    """From 1, in the order of the file, then of the commands."""
    service: str
    origin: str
    """file, command; or run: put in force by `schedule run` until its end."""
    schedule: Schedule
    up: bool
    """Whether the Service is."""
    holds_until: float | None
    """Unix seconds; None: it does not hold now."""
    next_at: float | None
    """When it begins next; None: never again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A moment at which Schedules of one Service begin or end."""

    at: float
    service: str
    clock: str
    """`Mon 2026-11-23 08:00 CET`, in the zone of the first of them."""
    utc: str
    what: tuple[str, ...]
    """`floor 4 begins`, `exactly 2 ends`."""
    names: tuple[str, ...]
    before: int
    """Replicas, at the load of now."""
    after: int
    wins: str
    """The Schedule that sets the count from then on, as its cron and zone; empty: none does."""
    price_change_per_hour: float | None
    """US dollars; None: no price is known."""
    notes: tuple[str, ...]
    """What the clocks' changes do to it."""


def entries(view: FleetView, service: str | None = None) -> list[Entry]:
    """Every Schedule, by Service and number."""
    found = []
    for intent in sorted(view.intents, key=lambda one: one.service.name):
        if service is not None and intent.service.name != service:
            continue
        declared = len(intent.service.schedule)
        for index, schedule in enumerate(intent.timetabled().service.schedule):
            held = window(schedule, view.at)
            if schedule.until is not None and held is None:
                continue  # it is over, and goes with the next change
            coming = following(schedule, view.at)
            found.append(
                Entry(
                    name=name_of(intent.service.name, schedule),
                    number=index + 1,
                    service=intent.service.name,
                    origin="file" if index < declared else "command" if schedule.until is None else "run",
                    schedule=schedule,
                    up=intent.up,
                    holds_until=None if held is None else held[1],
                    next_at=None if coming is None else coming[0],
                )
            )
    return found


def name_of(service: str, schedule: Schedule) -> str:
    """What a Schedule is called: of its own words, so that it stays when others come and go."""
    said = (schedule.cron, schedule.tz, schedule.duration_s, schedule.min, schedule.max, schedule.replicas)
    return f"{service}/{hashlib.sha256(repr(said).encode()).hexdigest()[:6]}"


def effect(schedule: Schedule) -> str:
    """`floor 4`, `ceiling 2`, `exactly 0`."""
    said = (("floor", schedule.min), ("ceiling", schedule.max), ("exactly", schedule.replicas))
    return ", ".join(f"{word} {count}" for word, count in said if count is not None)


def turns(view: FleetView, count: int, service: str | None = None) -> list[Turn]:
    """The next `count` turns, soonest first: what the count of each Service becomes if its load stays as it is."""
    found: list[Turn] = []
    for intent in view.intents:
        if not intent.up or (service is not None and intent.service.name != service):
            continue
        found += _of(view, intent.timetabled(), count)
    return sorted(found, key=lambda one: (one.at, one.service))[:count]


def wanted_without(intent: Intent, decision: Decision | None) -> int:
    """What the Service would have now if no Schedule held: what its policy wanted in the newest Decision."""
    scaling = intent.service.scaling
    fallback = scaling.replicas if scaling.policy == "fixed" and scaling.replicas is not None else scaling.min
    if decision is None:
        return fallback
    before: int | None = None
    for note in decision.stages:
        if note.stage == "schedule":
            break
        before = before if note.value is None else note.value
    else:
        return decision.desired
    return fallback if before is None else before


def price_of_one(view: FleetView, intent: Intent) -> float | None:
    """US dollars an hour of one Replica; None: not known."""
    decision = view.decisions.get(intent.service.name)
    if decision is not None and decision.inputs is not None and decision.inputs.price_per_replica is not None:
        return decision.inputs.price_per_replica
    pool = view.pool_of(intent)
    count = gpus_needed(intent.service, pool.gpu[0])
    return None if pool.price_per_hour is None or not count else pool.price_per_hour * count / pool.gpu[0].count


def count_at(intent: Intent, decision: Decision | None, at: float) -> int:
    """Replicas then, if the load stays as it is; `intent` with its Schedules by command."""
    override = intent.override
    scaling = intent.service.scaling
    if override is not None and (override.until is None or at < override.until):
        return min(override.replicas, scaling.max)
    wanted = bounds(intent.service.schedule, at).applied(wanted_without(intent, decision))
    return max(scaling.min, min(scaling.max, wanted))


def _of(view: FleetView, intent: Intent, count: int) -> Iterator[Turn]:
    service, decision = intent.service, view.decisions.get(intent.service.name)
    price = price_of_one(view, intent)
    at_once: dict[float, list[tuple[Schedule, str]]] = {}
    for schedule in service.schedule:
        for at, word in _edges(schedule, view.at, count):
            at_once.setdefault(at, []).append((schedule, word))
    for at in sorted(at_once)[:count]:
        before, after = count_at(intent, decision, at - _A_MOMENT_S), count_at(intent, decision, at)
        who = at_once[at]
        notes = dict.fromkeys(note for schedule, word in who for note in _notes(schedule, word, at, view.at))
        if intent.override is not None and (intent.override.until is None or at < intent.override.until):
            notes[f"set by hand to {intent.override.replicas}, which wins"] = None
        yield Turn(
            at=at,
            service=service.name,
            clock=clock(at, who[0][0].tz),
            utc=clock(at, "UTC"),
            what=tuple(dict.fromkeys(f"{effect(schedule)} {word}" for schedule, word in who)),
            names=tuple(dict.fromkeys(name_of(service.name, schedule) for schedule, _ in who)),
            before=before,
            after=after,
            wins=_winner(bounds(service.schedule, at), after),
            price_change_per_hour=None if price is None else price * (after - before),
            notes=tuple(notes),
        )


def clock(at: float, tz: str) -> str:
    """A time as the clocks of a zone show it."""
    return datetime.fromtimestamp(at, ZoneInfo(tz)).strftime("%a %Y-%m-%d %H:%M %Z")


def _edges(schedule: Schedule, now: float, count: int) -> Iterator[tuple[float, str]]:
    """The next beginnings and ends of one Schedule: `count` of each, and the end of what holds."""
    held = window(schedule, now)
    if held is not None:
        yield held[1], "ends"
    at = now
    for _ in range(min(count, TURNS_MAX)):
        coming = following(schedule, at)
        if coming is None:
            return
        at, end = coming
        yield at, "begins"
        after = following(schedule, at)
        if after is None or after[0] > end:
            yield end, "ends"  # else the next one begins before, and goes on


def _winner(found: Bounds, count: int) -> str:
    if found.floor is not None and count == found.floor:
        return found.floor_by
    if found.ceiling is not None and count == found.ceiling:
        return found.ceiling_by
    return found.exact_by if found.exact is not None and count == found.exact else ""


def _notes(schedule: Schedule, word: str, at: float, now: float) -> Iterator[str]:
    """What a change of the clocks has to do with it."""
    zone = ZoneInfo(schedule.tz)
    local, today = datetime.fromtimestamp(at, zone), datetime.fromtimestamp(now, zone)
    shift = _offset(local) - _offset(today)
    if shift:
        way = "forward" if shift > timedelta(0) else "back"
        yield f"clocks in {schedule.tz} have gone {way} by {_hours(shift)} until then"
    if word == "begins" and schedule.until is None and off_the_clock(schedule, at):
        yield "its hour is skipped that day, so it begins when that hour is over"
    if _offset(local.replace(fold=0)) > _offset(local.replace(fold=1)):
        yield f"this hour comes twice that day; it {word} the {'second' if local.fold else 'first'} time"
    if word == "begins" and (coming := following(schedule, at - 1.0)) is not None:
        until = coming[1]
        if _offset(datetime.fromtimestamp(until, zone)) != _offset(local):
            yield f"the clocks change while it holds, so it lasts {_hours(timedelta(seconds=until - at))}"


def _offset(moment: datetime) -> timedelta:
    return moment.utcoffset() or timedelta(0)


def _hours(span: timedelta) -> str:
    return f"{abs(span.total_seconds()) / 3600:g} h"


def bare(schedule: Schedule) -> Schedule:
    """The Schedule that one in force was made of."""
    return replace(schedule, since=None, until=None)


def chosen(every: Sequence[Entry], word: str) -> list[Entry]:
    """Those that a word means: a name, `SERVICE/NUMBER`, or a Service that has only one."""
    named = [one for one in every if one.name == word and one.origin != "run"]
    if named:
        return named[:1]
    service, slash, number = word.rpartition("/")
    if slash:
        return [one for one in every if one.service == service and number.isdigit() and one.number == int(number)]
    return [one for one in every if one.service == word and one.origin != "run"]
