"""A Decision in words, and what it would have been without what held it."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from fleetctl.controller.journal import STRETCH_TICKS, read
from fleetctl.controller.replay import replayed
from fleetctl.decide.counterfactuals import Counterfactual, counterfactuals
from fleetctl.model.decisions import Decision
from fleetctl.model.names import ServiceName
from fleetctl.store import SqlStore
from fleetctl.views.figures import ago, dollars, figure, several
from fleetctl.views.holds import clock, hold_lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A Decision, and what it would have been without what held it."""

    decision: Decision
    without: tuple[Counterfactual, ...]
    """Empty too where the journal no longer reaches back to what it was made from."""


def explanation(store: SqlStore, service: ServiceName, at: float | None) -> Explanation | None:
    """The newest Decision about the Service, or that of a time; None: none is recorded."""
    body = store.journal(at=time.time() if at is None else at)
    entry = read(body) if body is not None else None
    decision = next((one for one in entry.decisions if one.service == service), None) if entry is not None else None
    if entry is None or decision is None:
        decision = store.decisions().get(service) if at is None else None
        return None if decision is None else Explanation(decision=decision, without=())
    stretch = store.journal_range(since=entry.begun_at, until=decision.at, limit=2 * STRETCH_TICKS)
    last = deque(replayed((read(one.entry) for one in stretch), service=service), maxlen=1)
    if not last or last[0].recorded != decision or decision.inputs is None:
        return Explanation(decision=decision, without=())
    return Explanation(decision=decision, without=counterfactuals(last[0].intent, decision.inputs, last[0].memory))


def explained(decision: Decision, now: float, *, without: Sequence[Counterfactual] = ()) -> str:
    """A Decision in words."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(decision.at))
    change = f"{decision.current} → {decision.desired}" if decision.change else f"hold {decision.desired}"
    lines = [
        f"service/{decision.service}  {change}  at {when} ({ago(now - decision.at)} ago)",
        f"  because   {decision.reason}",
        f"  bound by  {decision.binding}",
        *hold_lines(decision, now),
        "",
        f"  measured  {_load(decision)}; {decision.ready} of {several(decision.current, 'replica')} ready",
        f"  target    {decision.target:g} requests a replica",
        f"  price     {dollars(decision.price_per_hour)}/h at {decision.desired}",
        *([f"  trouble   {decision.trouble}"] if decision.trouble else []),
        "",
    ]
    width = max((len(note.stage) for note in decision.stages), default=0)
    for note in decision.stages:
        value = "" if note.value is None else str(note.value)
        until = f"; until {clock(note.until, now)}" if note.until is not None else ""
        lines.append(f"  {note.stage:<{width}}  {value:>4}  {note.note}{until}".rstrip())
    if without:
        lines.append("")
        lines += [f"  without {one.without} it would be {one.desired}" for one in without]
    return "\n".join(lines) + "\n"


def _load(decision: Decision) -> str:
    if decision.concurrency is None:
        return "load unknown"
    text = f"{figure(decision.concurrency)} queued + running"
    if decision.unknown:
        silent = several(decision.unknown, "replica")
        text += f" (at most {figure(decision.concurrency_most)}: the load of {silent} is unknown)"
    return text + f", {figure(decision.queued)} of them queued at the gateway"
