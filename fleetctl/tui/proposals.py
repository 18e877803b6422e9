"""What the keys that change something would do: said with its price, and asked before it is done."""

from dataclasses import dataclass
from typing import Final

from fleetctl.tui.asking import line
from fleetctl.views.figures import dollars, several
from fleetctl.views.fleet import ServiceRow

SCALE_FOR: Final = "1h"
"""How long a count set by a key holds: long enough to see through what it was set for, too short to be forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A command, and what is said of it before it runs."""

    title: str
    lines: tuple[str, ...]
    words: tuple[str, ...]
    terminal: bool = False
    """It lasts, or talks with who gave it."""


def scaled(row: ServiceRow, by: int, *, placed: int) -> Proposal | str:
    """So many more or fewer Replicas for a while; a sentence where that is not to be.

    `placed`: its serving Replicas that have a machine, which its price is of.
    """
    wanted = row.desired + by
    if not 0 <= wanted <= row.max:
        bound = f"its max is {row.max}" if wanted > row.max else "there is no fewer than none"
        return f"{row.name} has {row.desired}: {bound}"
    each = row.price_per_hour / placed if row.price_per_hour is not None and placed else None
    change = "at a price that is not known" if each is None else f"{'+' if by > 0 else '−'}{dollars(each * abs(by))}/h"
    words = ("scale", f"{row.name}={wanted}", "--for", SCALE_FOR)
    return Proposal(
        title=f"scale {row.name}",
        lines=(
            f"{row.name}: {row.desired} → {wanted} replicas for {SCALE_FOR}, {change}",
            "Then its policy rules again.",
            "",
            line(words),
        ),
        words=words,
    )


def taken_down(row: ServiceRow) -> Proposal:
    """Drain it and give its machines back."""
    words = ("down", row.name, "--no-wait")
    saved = f"−{dollars(row.price_per_hour)}/h"
    return Proposal(
        title=f"take {row.name} down",
        lines=(
            f"{row.name}: drain {several(row.ready, 'replica')} and give back what nothing else needs, {saved}",
            "",
            line(words),
        ),
        words=words,
    )
