"""From the load of one Service to a Decision: signal → wish → stabilise → schedule → rates → step → limits."""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

from fleetctl.decide.batch_limit import mismatch, seen
from fleetctl.decide.lead_times import expected, looked, standby_for
from fleetctl.decide.limits import eases_at, rate_limited, stepped
from fleetctl.decide.lulls import idle_s, noted
from fleetctl.decide.opinions import Opinion, opinions
from fleetctl.decide.policies import View, policy
from fleetctl.decide.stock import WINDOW_S, kept, sized
from fleetctl.decide.timetable import timed
from fleetctl.decide.windows import extreme, lets_go_at, push
from fleetctl.model.decisions import Decision, Inputs, Memory, StageNote
from fleetctl.model.signals import Load
from fleetctl.model.snapshots import Intent

FAILURES_BEFORE_HOLD = 3
"""Replicas that failed in a row, none ever ready, before the Service is held back: one failure may be the machine's,
three are the engine's or the file's."""
HOLD_BACK_FIRST_S = 30.0
HOLD_BACK_MOST_S = 600.0
"""The hold doubles with each further failure up to this, so that a broken image costs little and mends by itself."""
FAILURE_MEMORY_S = 3600.0
STATED = frozenset({"fixed", "schedule"})
"""Policies that no load moves: their count needs no calm around it, and does not wake at a request."""
NOT_YET = " yet"
"""How reasons end that will pass by themselves in a tick or two."""
_ANSWERS = "every replica tells its load again"
_EPSILON = 1e-9
"""Exact loads must not round up to one Replica more."""


def decide(intent: Intent, inputs: Inputs, memory: Memory) -> tuple[Decision, Memory]:
    """How many Replicas the Service shall have, why, and what is to be remembered. Deterministic."""
    trail = _Trail()
    load, now = inputs.load, inputs.at
    batch = seen(memory.batch, inputs.fullest, changed_at=intent.changed_at, now=now)
    memory = replace(memory, failures=inputs.failures, batch=batch)
    memory = looked(intent.service, inputs, memory)
    memory, desired = _desired(intent, inputs, memory, trail)
    for note in inputs.notices:
        trail.note("notice", note)
    if inputs.rollout:
        trail.note("rollout", inputs.rollout)
    allowed, held = starts_allowed(memory, coming=inputs.coming, now=now)
    if allowed is not None and desired > inputs.current + allowed:
        until = next_try_at(memory, now) if not allowed and not inputs.coming else None
        ends = "" if until is not None else "the one that is tried is ready, or fails"
        desired = trail.set("failures", inputs.current + allowed, held, until=until, ends=ends)
    if desired != inputs.current:
        period_s = _longest_period(intent)
        keep_s = max(period_s, WINDOW_S if standby_for(intent.service, inputs).auto else 0.0)
        moved = push_move(memory.moves, now, desired - inputs.current, keep_s)
        memory = replace(memory, moves=kept(moved, now - period_s))
    memory = sized(intent, inputs, replace(memory, last_desired=desired), desired)
    price = inputs.price_per_replica
    decision = Decision(
        service=intent.service.name,
        at=now,
        current=inputs.current,
        ready=inputs.ready,
        desired=desired,
        binding=trail.binding,
        reason=trail.reason(),
        stages=tuple(trail.notes),
        concurrency=load.low if load else None,
        concurrency_most=load.high if load else None,
        unknown=load.unknown if load else inputs.ready,
        queued=round(load.queued) if load and load.queue_known else None,
        target=intent.service.target_concurrency,
        price_per_hour=None if price is None else price * desired,
        standby=memory.standby,
        inputs=inputs,
        trouble=inputs.trouble or mismatch(intent.service, memory.batch) or trail.blind,
    )
    return decision, memory


def _desired(intent: Intent, inputs: Inputs, memory: Memory, trail: "_Trail") -> tuple[Memory, int]:
    load, now = inputs.load, inputs.at
    service = intent.service
    scaling = service.scaling
    if not intent.up:
        trail.set("intent", 0, "the service is down")
        return memory, 0

    if memory.busy_at is None or memory.busy_at < intent.changed_at:
        # A Service just declared or changed counts as busy, so that it is seen to work before it goes to zero.
        memory = replace(memory, busy_at=max(intent.changed_at, memory.busy_at or 0.0))
    if inputs.current and not inputs.ready:
        # Idle time begins when requests could be served; a boot may take longer than `idle_s`.
        memory = replace(memory, busy_at=now)

    memory = noted(service, inputs, load, memory)
    if load is None:
        wanted = inputs.current
        trail.set("signal", wanted, f"hold: load unknown, {inputs.why_unknown}", ends=_ANSWERS)
        memory, others = opinions(service, inputs, None, memory)
        wanted = _combined(inputs, others, wanted, trail)
        if others:
            memory = replace(memory, wishes=push(memory.wishes, now, wanted, keep_s=_longest_memory(intent)))
            wanted = _stabilised(intent, inputs, memory, wanted, now, trail)
    else:
        memory, wanted = _wish(intent, inputs, load, memory, trail)

    memory, wanted, exact = _scheduled(intent, inputs, memory, wanted, trail)
    override = intent.override
    if override is not None and (override.until is None or now < override.until):
        resume, auto = f"fleetctl resume {service.name}", f"fleetctl scale {service.name}=auto"
        wanted = trail.set(
            "override",
            override.replicas,
            f"{'held' if override.held else 'set'} by hand {'at' if override.held else 'to'} {override.replicas}",
            until=override.until,
            ends=resume if override.held else auto,
        )
        why = f"{wanted} wanted, and max is {scaling.max}"
        return memory, trail.set("limits", min(wanted, scaling.max), why if wanted > scaling.max else "")

    lowest = scaling.min
    behavior = scaling.up if wanted > inputs.current else scaling.down
    limited = rate_limited(inputs.current, wanted, behavior, memory.moves, now)
    up = wanted > inputs.current
    until = None
    if limited != wanted:
        until = eases_at(inputs.current, limited, behavior, memory.moves, now, up=up)
    why = f"{wanted} wanted, and the {'up' if up else 'down'} behavior allows {limited} for now"
    wanted = trail.set(
        "rates", limited, why, until=until, ends=f"scaling.behavior.{'up' if up else 'down'} in its file"
    )
    if not exact:
        in_steps = stepped(inputs.current, wanted, scaling.step, lowest)
        wanted = trail.set("step", in_steps, f"{wanted} wanted, and replicas move in steps of {scaling.step}")
    if wanted > scaling.max:
        wanted = trail.set("limits", scaling.max, f"{wanted} wanted, and max is {scaling.max}")
    elif wanted < lowest:
        wanted = trail.set("limits", lowest, f"{wanted} wanted, and min is {lowest}")
    return memory, wanted


def _wish(intent: Intent, inputs: Inputs, load: Load, memory: Memory, trail: "_Trail") -> tuple[Memory, int]:
    service, now = intent.service, inputs.at
    scaling = service.scaling
    carried = inputs.current * service.target_concurrency
    sample = load.nearest(carried)
    keep_s = max(scaling.window_s, scaling.panic_window_s)
    since = now - load.mean_over_s
    if memory.load and memory.load[-1][0] > since:
        since = now
    memory = replace(memory, load=push(memory.load, since, sample, keep_s=keep_s + load.mean_over_s))
    note = f"{load.low:g} queued + running"
    if load.unknown or not load.queue_known:
        what = f"{load.unknown} replicas" if load.unknown else "the queue"
        note = f"between {load.low:g} and {load.high:g} queued + running, {what} unknown; counted as {sample:g}"
    trail.start("signal", inputs.current, note)

    wish = policy(scaling.policy)(View(service=service, inputs=inputs, load=load, memory=memory))
    memory = wish.memory
    stage = f"{scaling.policy}/{wish.binding}" if wish.binding else scaling.policy
    wanted = trail.set(stage, wish.replicas, wish.reason, until=wish.until)
    trail.lacks(scaling.policy, wish.why_unknown)
    if wish.why_unknown and wanted < inputs.current:
        why = f"hold: {wish.why_unknown}, so nothing is taken away"
        wanted = trail.set("signal", inputs.current, why, ends="it is known")
    if not load.queue_known and wanted < inputs.current:
        why = "hold: the gateway's queue is unknown, so nothing is taken away"
        wanted = trail.set("signal", inputs.current, why, ends="the gateway answers")
    memory, others = opinions(service, inputs, load, memory)
    if any(other.active for other in others):
        memory = replace(memory, busy_at=now)
    wanted = _combined(inputs, others, wanted, trail)

    memory = replace(memory, wishes=push(memory.wishes, now, wanted, keep_s=_longest_memory(intent)))
    if scaling.policy not in STATED or service.signals:
        wanted = _stabilised(intent, inputs, memory, wanted, now, trail)
        wanted = _around_zero(intent, inputs, load, memory, wanted, now, trail)
        full = min(inputs.current, ceil(load.high / service.target_concurrency - _EPSILON))
        if load.unknown and wanted < full:
            # The average may still be low from before they went silent; whoever is silent now may be full.
            why = f"hold: {load.unknown} replicas of unknown load may be full"
            wanted = trail.set("signal", full, why, ends=_ANSWERS)
    return memory, wanted


def _combined(inputs: Inputs, others: Sequence[Opinion], wanted: int, trail: "_Trail") -> int:
    """Up on any signal; down only as far as all agree, and not at all while one of them is unknown."""
    for one in others:
        if one.replicas is not None and not one.confirms and one.replicas > wanted:
            wanted = trail.set(one.name, one.replicas, one.note, until=one.until)
        else:
            trail.note(one.name, f"unknown: {one.note}" if one.replicas is None else f"{one.replicas}: {one.note}")
        if one.replicas is None:
            trail.lacks(one.name, one.note)
    for one in others:
        if wanted >= inputs.current:
            break
        if one.replicas is None:
            why = f"hold: {one.name} is unknown ({one.note}), so nothing is taken away"
            wanted = trail.set(one.name, inputs.current, why, ends=f"{one.name} is known")
        elif one.replicas > wanted:
            why = f"{one.name} does not confirm: {one.note}"
            wanted = trail.set(
                one.name, min(inputs.current, one.replicas), why, until=one.until, ends=f"{one.name} confirms"
            )
    return wanted


def _stabilised(intent: Intent, inputs: Inputs, memory: Memory, wanted: int, now: float, trail: "_Trail") -> int:
    scaling = intent.service.scaling
    up_s = scaling.up.stabilization_s
    down_s = max(scaling.down.stabilization_s, scaling.scale_down_delay_s)
    if wanted > inputs.current and up_s > 0:
        steady = extreme(memory.wishes, now, up_s, min)
        if steady is not None and steady < wanted:
            steady = most = max(steady, inputs.current)
            until = lets_go_at(memory.wishes, up_s, lambda wish: wish <= most)
            why = f"no more than {steady} was wanted throughout the last {up_s:g} s"
            return trail.set("stabilised", steady, why, until=until)
    if wanted < inputs.current and down_s > 0:
        steady = extreme(memory.wishes, now, down_s, max)
        if steady is not None and steady > wanted:
            steady = least = min(steady, inputs.current)
            until = lets_go_at(memory.wishes, down_s, lambda wish: wish >= least)
            why = f"{steady} was still wanted within the last {down_s:g} s"
            return trail.set("stabilised", steady, why, until=until)
    return wanted


def _around_zero(
    intent: Intent, inputs: Inputs, load: Load, memory: Memory, wanted: int, now: float, trail: "_Trail"
) -> int:
    """From zero at the first request, to zero only after `idle_s` without any; where `min` allows zero at all."""
    if wanted > 0 or intent.service.scaling.min > 0:
        return wanted
    if load.low > 0:
        return trail.set("zero", 1, f"{load.low:g} requests wait")
    keep_s = idle_s(intent.service, memory)
    if memory.busy_at is not None and now - memory.busy_at < keep_s:
        left_s = keep_s - (now - memory.busy_at)
        why = f"kept at 1 until {keep_s:.4g} s pass without a request, {left_s:.0f} s from now"
        return trail.set("zero", 1, why, until=memory.busy_at + keep_s)
    return wanted


def _scheduled(
    intent: Intent, inputs: Inputs, memory: Memory, wanted: int, trail: "_Trail"
) -> tuple[Memory, int, bool]:
    """The count after the Schedules, and whether it is an exact one."""
    service = intent.service
    if not service.schedule:
        return memory, wanted, False
    lead = expected(service, inputs, memory)
    found = timed(service.schedule, inputs, wanted, lead=lead, ahead_of=memory.ahead_of)
    for count, why, until in found.changes:
        wanted = trail.set("schedule", count, why, until=until)
    return replace(memory, ahead_of=found.ahead_of), wanted, found.exact


def starts_allowed(memory: Memory, *, coming: int, now: float) -> tuple[int | None, str]:
    """How many Replicas may be started now, and why so few; None: any number. Few while none gets ready."""
    recent = _recent_failures(memory, now)
    if len(recent) < FAILURES_BEFORE_HOLD:
        return None, ""
    what = f"the last {len(recent)} replicas failed to start"
    left_s = recent[-1] + _pause_s(len(recent)) - now
    if left_s > 0:
        return 0, f"hold: {what}; the next try is in {left_s:.0f} s (see: fleetctl events)"
    if coming:
        return 0, f"hold: {what}; one more is being tried"
    # One at a time: the next try shows whether it is mended.
    return 1, f"{what}; trying one"


def next_try_at(memory: Memory, now: float) -> float | None:
    """When the pause after the failed starts ends, in Unix seconds; None: there is none."""
    recent = _recent_failures(memory, now)
    return recent[-1] + _pause_s(len(recent)) if len(recent) >= FAILURES_BEFORE_HOLD else None


def _recent_failures(memory: Memory, now: float) -> list[float]:
    return [at for at in memory.failures if now - at < FAILURE_MEMORY_S]


def _pause_s(failures: int) -> float:
    return min(HOLD_BACK_MOST_S, HOLD_BACK_FIRST_S * 2.0 ** (failures - FAILURES_BEFORE_HOLD))


def push_move(
    moves: tuple[tuple[float, int], ...], now: float, change: int, keep_s: float
) -> tuple[tuple[float, int], ...]:
    """The moves with one more, those older than `keep_s` dropped."""
    return (*((at, value) for at, value in moves if at > now - keep_s), (now, change))


def _longest_memory(intent: Intent) -> float:
    """How far back wishes matter."""
    scaling = intent.service.scaling
    return max(scaling.up.stabilization_s, scaling.down.stabilization_s, scaling.scale_down_delay_s)


def _longest_period(intent: Intent) -> float:
    scaling = intent.service.scaling
    return max((rate.period_s for rate in (*scaling.up.policies, *scaling.down.policies)), default=0.0)


class _Trail:
    """The stages of one Decision as they are passed."""

    def __init__(self) -> None:
        self.notes: list[StageNote] = []
        self.binding = ""
        self._value: int | None = None
        self._because = ""
        self.blind = ""
        """The first signal that is unknown, and why; not one that is only new."""

    def start(self, stage: str, value: int, note: str) -> None:
        self.notes.append(StageNote(stage=stage, value=None, note=note))
        self._value = value

    def note(self, stage: str, note: str) -> None:
        """What was looked at and did not set the count."""
        self.notes.append(StageNote(stage=stage, value=None, note=note))

    def lacks(self, stage: str, why: str) -> None:
        """Nothing can be taken away as long as this lasts, which a person should know."""
        if why and not why.endswith(NOT_YET) and not self.blind:
            self.blind = f"{stage} is unknown, so nothing is taken away: {why}"

    def set(self, stage: str, value: int, note: str, *, until: float | None = None, ends: str = "") -> int:
        """Record a stage; the last one that changed the count (or gave the first) is the binding one."""
        if not self.binding or value != self._value or stage in ("override", "intent"):
            self.binding = stage
            self._because = note
        elif stage == "step" or stage == "rates" or stage == "limits":
            note, until, ends = "", None, ""
        self._value = value
        self.notes.append(StageNote(stage=stage, value=value, note=note, until=until, ends=ends))
        return value

    def reason(self) -> str:
        first = next((note.note for note in self.notes if note.stage not in ("signal",) and note.note), "")
        if self.binding and first and first != self._because:
            return f"{self._because} ({first})"
        return self._because or first


def notes_of(stages: Sequence[StageNote]) -> str:
    """The stages on one line: `target_concurrency 5 → stabilised 6 → limits 4`."""
    return " → ".join(f"{note.stage} {note.value}" for note in stages if note.value is not None)
