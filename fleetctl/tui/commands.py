"""What is typed after `:`: a table, a service, or a command of fleetctl."""

import shlex
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

TABLES: Final = {
    "services": "", "svc": "", "replicas": "replicas", "rep": "replicas", "nodes": "nodes", "instances": "nodes",
    "pools": "pools", "events": "events", "decisions": "events", "schedules": "schedules", "cost": "cost",
    "rollouts": "rollouts", "starts": "starts", "coldstarts": "starts", "xray": "xray",
}  # fmt: skip
"""Tables by the names they go by; empty: the first page."""
READING: Final = frozenset(
    [
        "coldstart", "decide", "describe", "diff", "doctor", "events", "explain", "get", "help", "logs",
        "offers", "plan", "ps", "schema", "simulate", "validate", "version",
    ]
)  # fmt: skip
"""Commands that change nothing. All others are asked about, and a read-only dashboard does not run them: what is not
known to be harmless is not."""
_WRITING: Final = ("--fix", "--out", "--write", "--save", "--refresh")
"""Flags by which one of those writes something after all."""
OFFERED: Final = ("explain", "describe", "logs", "scale", "down", "rollout", "coldstart", "ps", "plan", "doctor")
"""Completed while one types, beside tables and Services."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Quit."""


@dataclass(frozen=True, slots=True)
class Show:
    """A table; of one subject, or of all."""

    table: str
    of: str


@dataclass(frozen=True, slots=True)
class Run:
    """A command."""

    words: tuple[str, ...]
    changes: bool


Meaning = Leave | Show | Run | None


def meaning(text: str, services: Collection[str]) -> Meaning:
    """None: nothing was typed. Raises ValueError where a quote is not closed."""
    words = shlex.split(text.removeprefix(":"))
    if words[:1] == ["fleetctl"]:
        words = words[1:]
    if not words:
        return None
    first, *rest = words
    if first in ("q", "q!", "quit", "exit"):
        return Leave()
    if first in TABLES and len(rest) <= 1 and not any(word.startswith("-") for word in rest):
        kind = "pool" if TABLES[first] == "nodes" else "service"
        of = rest[0] if rest else ""
        return Show(TABLES[first], of if "/" in of or not of else f"{kind}/{of}")
    if first in services and not rest:
        return Show("replicas", f"service/{first}")
    writes = any(word.partition("=")[0] in _WRITING for word in rest)
    return Run(tuple(words), changes=first not in READING or writes)
