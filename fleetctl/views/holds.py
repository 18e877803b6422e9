"""What a Decision is held by: what binds it, until when, what lifts it, and what the next Replica would cost."""

import time

from fleetctl.model.decisions import Decision, StageNote
from fleetctl.model.records import dataclass
from fleetctl.views.figures import ago, dollars

_DAY_S = 86_400.0
_WORDS = {
    "signal": "what is not known",
    "stabilised": "the calm that is asked for",
    "zero": "the idle time",
    "schedule": "the schedule",
    "override": "hand",
    "rates": "behavior",
    "step": "whole steps",
    "failures": "the failed starts",
    "budget": "the budget",
    "pool": "the pool",
    "quota": "the quota",
    "capacity": "what is to be had",
}
"""By stage: what a person calls what sets the count there."""
_IN_FILES = frozenset(("max", "min", "rates", "step", "stabilised", "zero", "budget", "pool", "capacity"))
"""What ends these is another value in a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What keeps a count from being what was wanted."""

    by: str
    """The stage of the Decision; of its limits `max` or `min`."""
    wanted: int | None
    """Replicas, without it; None: nothing else said how many."""
    allowed: int
    until: float | None
    """Unix seconds at which it lets go, if nothing else happens; None: there is no such time, or nobody knows it."""
    lift: str
    """What ends it before: what to change and to run; empty: there is nothing to do but wait."""
    next_per_hour: float | None
    """US dollars an hour that one Replica more costs; None: not known, or more is not what is held back."""
    sentence: str
    """`9 wanted, max 8 is the limit`."""

    @property
    def keeps_down(self) -> bool:
        """Whether more is wanted than it allows."""
        return self.wanted is not None and self.wanted > self.allowed


def hold_of(decision: Decision) -> Hold | None:
    """What holds the count of a Decision; None: it is what was wanted."""
    before, note = _binding(decision)
    if note is None or note.value is None or note.stage == "intent":
        return None
    if note.stage != "limits" and note.stage not in _WORDS and note.until is None and not note.ends:
        return None  # a wish, and nothing that held one
    by = note.stage
    if by == "limits" and before is not None:
        by = "max" if before > note.value else "min"
    more = before is not None and before > note.value
    price = decision.inputs.price_per_replica if decision.inputs is not None else None
    return Hold(
        by=by,
        wanted=before,
        allowed=note.value,
        until=note.until,
        lift=_lift(decision, note, by, more=more),
        next_per_hour=price if more else None,
        sentence=_sentence(by, before, note.value),
    )


def because(decision: Decision) -> str:
    """Why the count is what it is, and until when where that is known: the one sentence that every view shows."""
    hold = hold_of(decision)
    if hold is None or hold.until is None or hold.until <= decision.at:
        return decision.reason
    return f"{decision.reason}; until {clock(hold.until, decision.at)}"


def hold_lines(decision: Decision, now: float) -> list[str]:
    """The lines of `explain` on it; none: nothing holds the count."""
    hold = hold_of(decision)
    if hold is None:
        return []
    lines = [f"  limit     {hold.sentence}"]
    if hold.until is not None:
        left_s = hold.until - now
        when = f"in {_left(left_s)}" if left_s > 0 else f"{ago(-left_s)} ago"
        lines.append(f"  until     {clock(hold.until, now)} ({when}), if nothing else happens")
    if hold.lift:
        lines.append(f"  lift it   {hold.lift}")
    if hold.keeps_down:
        more = "its price is not known" if hold.next_per_hour is None else f"{dollars(hold.next_per_hour)}/h more"
        lines.append(f"  next one  {more}")
    return lines


def clock(at: float, now: float) -> str:
    """A time as the clock on the wall shows it, with the day where that is another."""
    form = "%H:%M:%S" if abs(at - now) < _DAY_S / 2 else "%Y-%m-%d %H:%M:%S"
    return time.strftime(form, time.localtime(at))


def _left(seconds: float) -> str:
    """How long it still is: of hours and days the part that was begun, too, for two hours less a second are not one."""
    whole, part = (86_400, 3600) if seconds >= _DAY_S else (3600, 60)
    if seconds < whole:
        return ago(seconds)
    return f"{ago(seconds)} {(seconds % whole) // part:.0f}{'h' if part == 3600 else 'm'}"


def _binding(decision: Decision) -> tuple[int | None, StageNote | None]:
    """The count before the stage that set it, and that stage."""
    before: int | None = None
    found: tuple[int | None, StageNote | None] = (None, None)
    for note in decision.stages:
        if note.value is None:
            continue
        if note.stage == decision.binding:
            found = (before, note)
        before = note.value
    return found


def _sentence(by: str, wanted: int | None, allowed: int) -> str:
    if by in ("max", "min"):
        return f"{wanted} wanted, {by} {allowed} is the limit"
    what = _WORDS.get(by, by)
    return f"held at {allowed} by {what}" if wanted in (None, allowed) else f"{wanted} wanted, {allowed} by {what}"


def _lift(decision: Decision, note: StageNote, by: str, *, more: bool) -> str:
    name = decision.service
    fields = {
        "max": "a higher scaling.max",
        "min": "a lower scaling.min",
        "step": "another scaling.step",
        "zero": "another scaling.idle",
        "stabilised": "a shorter scaling.behavior.up.stabilization" if more else "a shorter scaling.scale_down_delay",
    }
    if by == "schedule":
        return f"see and change it: fleetctl schedule ls {name}"
    if by == "failures":
        return f"mend what fails: fleetctl events service/{name}; then: fleetctl up {name}"
    if by == "quota":
        return "a larger quota, which its provider gives"
    ends = note.ends or (f"{fields[by]} in the file of {name}" if by in fields else "")
    if not ends:
        return ""
    if ends.startswith("fleetctl "):
        return ends
    return f"{ends}, then: fleetctl up" if by in _IN_FILES else f"it ends when {ends}"
