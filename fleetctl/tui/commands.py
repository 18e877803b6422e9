"""What is typed after `:`: a table, a service, or a command of fleetctl."""

import shlex
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from os.path import commonprefix
from typing import Final

from fleetctl.spec.suggestions import nearest

TABLES: Final = {
    "services": "", "svc": "", "replicas": "replicas", "rep": "replicas", "nodes": "nodes", "instances": "nodes",
    "pools": "pools", "events": "events", "decisions": "events", "schedules": "schedules", "cost": "cost",
    "rollouts": "rollouts", "starts": "starts", "coldstarts": "starts", "xray": "xray",
}  # fmt: skip
"""Tables by the names they go by; empty: the first page."""
SINGULARS: Final = {
    "service": "", "replica": "replicas", "node": "nodes", "instance": "nodes", "pool": "pools", "event": "events",
    "decision": "events", "schedule": "schedules", "rollout": "rollouts", "start": "starts",
}  # fmt: skip
"""The same alone on the line: with a word more some of them are commands."""
READING: Final = frozenset(
    [
        "coldstart", "decide", "describe", "diff", "doctor", "events", "explain", "get", "help", "logs",
        "offers", "plan", "ps", "schema", "simulate", "validate", "version", "cost", "config",
        "rollout status", "rollout history", "pool ls", "replica ls", "schedule ls", "schedule next", "policy ls",
        "policy show", "policy test", "context ls", "context show", "standby ls", "provider ls", "catalog ls",
        "daemon status", "daemon logs", "keys ls", "wait",
    ]
)  # fmt: skip
"""Commands that change nothing. All others are asked about, and a read-only dashboard does not run them: what is not
known to be harmless is not."""
_WRITING: Final = ("--fix", "--out", "--write", "--save", "--refresh")
"""Flags by which one of those writes something after all."""
_TERMINAL: Final = frozenset(
    ["exec", "ssh", "port-forward", "run", "gateway", "demo", "top", "up", "wait", "daemon logs"]
)
"""Commands that last, or talk with who typed them: they get the terminal."""
_LASTING: Final = ("-f", "--follow", "-w", "--watch")
"""Flags that make one last; `-f` of other commands than `logs` and `events` is a file."""
_FOLLOWED: Final = ("logs", "events", "ps", "get", "rollout")
LEAVING: Final = ("q", "q!", "quit", "exit")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What there is to be typed, of fleetctl's own words."""

    commands: tuple[str, ...] = ()
    ends: Callable[[Sequence[str]], Sequence[str]] = lambda _: ()
    """What the last of these words may become, after a command: its subcommands, options and names."""


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
    terminal: bool = False
    """It lasts or asks: a text above the page is no place for it."""


Meaning = Leave | Show | Run | None


def meaning(text: str, services: Collection[str], commands: Collection[str]) -> Meaning:
    """None: nothing was typed. Raises ValueError, in words for who typed it, where it means nothing."""
    try:
        words = shlex.split(text.removeprefix(":"))
    except ValueError as error:
        raise ValueError(f"{text}: {str(error).lower()}") from error
    if words[:1] == ["fleetctl"]:
        words = words[1:]
    if not words:
        return None
    first, *rest = words
    if first in LEAVING:
        return Leave()
    if first in SINGULARS and not rest:
        return Show(SINGULARS[first], "")
    if first in TABLES and _of_one(rest, services, table=first):
        kind = "pool" if TABLES[first] == "nodes" else "service"
        of = rest[0] if rest else ""
        return Show(TABLES[first], of if "/" in of or not of else f"{kind}/{of}")
    if first in services and not rest:
        return Show("replicas", f"service/{first}")
    if first not in commands:
        if first in TABLES:
            near = nearest(rest[0], services)
            raise ValueError(f"there is no service {rest[0]!r}" + (f": did you mean :{first} {near}?" if near else ""))
        raise ValueError(_unlike(first, [*commands, *TABLES, *services, "quit"]))
    return Run(
        tuple(words),
        changes=not _reads(words),
        terminal=_named(words, _TERMINAL) or (first in _FOLLOWED and any(word in _LASTING for word in rest)),
    )


def _of_one(rest: Sequence[str], services: Collection[str], *, table: str) -> bool:
    """Whether these words after a table's name choose one subject, or none: `cost report` is a command."""
    if len(rest) != 1:
        return not rest
    return rest[0] in services or "/" in rest[0] or (TABLES[table] == "nodes" and not rest[0].startswith("-"))


def _named(words: Sequence[str], known: Collection[str]) -> bool:
    return words[0] in known or " ".join(words[:2]) in known


def _reads(words: Sequence[str]) -> bool:
    return _named(words, READING) and not any(word.partition("=")[0] in _WRITING for word in words[1:])


def _unlike(word: str, known: Collection[str]) -> str:
    near = nearest(word, known)
    return f"there is no command, table or service {word!r}" + (
        f": did you mean :{near}?" if near else "; ? names what there is"
    )


def completed(text: str, services: Collection[str], vocabulary: Vocabulary) -> tuple[str, list[str]]:
    """The line with its last word as far as there is no choice, and the choices there are."""
    before, space, word = text.removeprefix(":").rpartition(" ")
    first, *rest = before.split() or [""]
    if not first:
        choices = [*TABLES, *vocabulary.commands, *services, "quit"]
    elif first in TABLES and not rest:
        choices = [*services, *vocabulary.ends([first, word])]
    else:
        choices = list(vocabulary.ends([first, *rest, word]))
    found = sorted({one for one in choices if one.startswith(word)})
    if not found:
        return text, []
    longest = commonprefix(found)  # noqa: RUF071  letters are meant
    done = len(found) == 1 and first == "" and found[0] in vocabulary.commands and found[0] not in TABLES
    end = " " if done or (len(found) == 1 and first) else ""
    return f":{before}{space}{longest}{end}", found
