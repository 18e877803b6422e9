"""What was decided and what happened, in one list: every Decision that stands, holds too, beside the events."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fleetctl.model.decisions import Decision, Event
from fleetctl.views.holds import because
from fleetctl.views.looks import Look


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One line of it."""

    at: float
    """Unix seconds; of a Decision that stands, since when it says what it says."""
    subject: str
    kind: str
    """Of an event; `hold`, `up` or `down` of a Decision that stands."""
    what: str
    """`hold 3`, `2 → 3`; empty: the reason says all."""
    reason: str
    stands: bool = False
    """It is what the newest tick decided, and not a thing of the past."""


Direction = Literal["hold", "up", "down"]


def told(look: Look, *, service: str = "") -> Sequence[Told]:
    """The newest first; the standing Decision of `service` before all."""
    standing = [_standing(look, name, decision) for name, decision in look.view.decisions.items()]
    first = [one for one in standing if one.subject == f"service/{service}"]
    rest = [one for one in standing if one not in first]
    # The event of a change that is the newest Decision says the same.
    said = {(one.subject, one.at) for one in standing if one.kind != "hold"}
    events = (_happened(one) for one in look.events if one.kind != "scale" or (one.subject, one.at) not in said)
    return [*first, *sorted([*rest, *events], key=lambda one: -one.at)]


def direction(decision: Decision) -> Direction:
    return "hold" if not decision.change else "up" if decision.change > 0 else "down"


def _standing(look: Look, name: str, decision: Decision) -> Told:
    change = decision.change
    return Told(
        at=look.stands.get(name, decision.at),
        subject=f"service/{name}",
        kind=direction(decision),
        what=f"hold {decision.desired}" if not change else f"{decision.current} → {decision.desired}",
        reason=because(decision),
        stands=True,
    )


def _happened(event: Event) -> Told:
    """The count of a scaling event stands in a column of its own."""
    what, reason = "", event.message.replace("\n", "  ")
    if event.kind == "scale" and "→" in reason.partition(": ")[0]:
        what, _, reason = reason.partition(": ")
    return Told(at=event.at, subject=event.subject, kind=event.kind, what=what, reason=reason)
