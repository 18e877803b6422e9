"""What was meant by a word of the command line that is none: a command, a topic, an option, a value."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fleetctl.spec.suggestions import LIKENESS_MIN, nearest

if TYPE_CHECKING:
    from typer._click.exceptions import ClickException

SUGGESTS = re.compile(r"(\. Did you mean .*\?| \(Possible options: .*\))$")
"""What typer and click say of it in words of their own, each in another place."""
QUOTED = re.compile(r"'([^']*)'")
SHORT_LIKENESS = 0.65
"""Of words up to `SHORT` letters, where one slip already makes 0.67."""
SHORT = 4
KINDS = ("service", "pool", "instance", "replica")
"""Of what has a name with a slash in it."""


def near_command(word: str, names: Iterable[str], elsewhere: Mapping[str, str]) -> str:
    """The hint for a word that is no command: the nearest, or where all of them are."""
    near = elsewhere.get(word) or _near(word, [*names, *elsewhere]) or ""
    near = elsewhere.get(near, near)
    return f"did you mean: fleetctl {near}" if near else "see them all: fleetctl --help"


def near_option(word: str, names: Iterable[str]) -> str:
    """`did you mean --watch?`, or nothing. The dashes are not compared: all options have them."""
    plain = {name.lstrip("-"): name for name in names if name.startswith("--")}
    found = _near(word.partition("=")[0].lstrip("-"), plain)
    return f"did you mean {plain[found]}?" if found else ""


def hint_for(error: "ClickException", path: str, general: Iterable[str]) -> str:
    """The nearest option of the command or of all commands, the nearest command of the group, or the nearest value."""
    command = getattr(getattr(error, "ctx", None), "command", None)
    if option := getattr(error, "option_name", None):
        own = [name for param in getattr(command, "params", ()) for name in getattr(param, "opts", ())]
        return near_option(option, [*own, *general])
    word = _quoted(error)
    inner = getattr(command, "commands", None)
    if inner and "no such command" in error.format_message().lower():
        near = _near(word, inner)
        return f"did you mean: fleetctl {path} {near}" if near else ""
    choices: Any = getattr(getattr(getattr(error, "param", None), "type", None), "choices", None) or ()
    near = _near(word, [str(getattr(one, "value", one)) for one in choices])
    return f"did you mean {near!r}?" if near else ""


def in_one_word(command: str, words: Sequence[str], message: str) -> str:
    """The hint for a subject that was written in two, `replica chat-1` for `replica/chat-1`; or nothing."""
    if "extra argument" not in message or len(words) < 2:
        return ""
    kind = words[0].removesuffix("s")
    return f"did you mean: fleetctl {command} {kind}/{words[1]}" if kind in KINDS else ""


def without_suggestion(message: str) -> str:
    """What is wrong, alone: what may have been meant stands in the hint."""
    return SUGGESTS.sub("", message)


def _quoted(error: "ClickException") -> str:
    given = QUOTED.search(error.message)
    return given[1] if given else ""


def _near(word: str, names: Iterable[str]) -> str | None:
    """The nearest name; the only one that begins with the word is nearer than any that is like it."""
    names = list(names)
    begun = [name for name in names if word and name.startswith(word)]
    return (
        begun[0]
        if len(begun) == 1
        else nearest(word, names, likeness=SHORT_LIKENESS if len(word) <= SHORT else LIKENESS_MIN)
    )
