"""The words that each command's line may hold, as its Typer app declares them. Imports every command: `options.py`,
which is written from it, is what completion and the quick commands read.
"""

import importlib
import sys
from collections.abc import Iterator
from typing import Any

import typer
from typer._click import Command

from fleetctl.cli.commands import commands

Option = tuple[str, str, str, str]
"""Its names, its parameter, what it takes, and its help."""
Argument = tuple[str, str, bool, str]
"""Its parameter, what it takes, whether there may be many, and its help."""
Line = tuple[str, tuple[Option, ...], tuple[Argument, ...]]
"""What the command is good for, and what its line may hold."""

NAMES = {
    "service": "service",
    "services": "service",
    "counts": "service",
    "pool": "pool",
    "replica": "replica",
    "replicas": "replica",
    "instance": "instance",
    "policy": "policy",
    "name": "service replica",
    "names": "service replica",
    "subject": "service replica instance pool",
    "context": "context",
}
"""By parameter: the names of what, as the store has them, it may be completed with."""
EVERYWHERE = "output"
"""The one parameter that all have, and none needs to list."""
OWN_NAMES = ("create", "add")
"""Commands whose arguments are new names."""


def lines() -> dict[str, Line]:
    """By command, as in `daemon start`; a command of several has a line of its own without anything."""
    found: dict[str, Line] = {}
    for one in commands():
        made = typer.main.get_command(importlib.import_module(f"fleetctl.cli.{one.module}").app)
        found.update(_lines(one.name, made, one.summary))
    return found


def written(found: dict[str, Line]) -> str:
    """The source of `options.py`."""
    rows = "".join(
        f"    {path!r}: (\n        {summary!r},\n        {_tuple(options)},\n        {_tuple(arguments)},\n    ),\n"
        for path, (summary, options, arguments) in found.items()
    )
    return (
        '"""What each command takes, written by `make completions` from the commands themselves: change those.\n\n'
        'The shapes are those of `lines.py`.\n"""\n\n# fmt: off\n# ruff: noqa: E501\nLINES: '
        "dict[str, tuple[str, tuple[tuple[str, str, str, str], ...], tuple[tuple[str, str, bool, str], ...]]] = {\n"
        f"{rows}}}\n"
    )


def _tuple(rows: tuple[Any, ...]) -> str:
    return "(" + "".join(f"\n            {row!r}," for row in rows) + "\n        )" if rows else "()"


def _lines(path: str, command: Command, summary: str) -> Iterator[tuple[str, Line]]:
    below: dict[str, Command] = getattr(command, "commands", {})
    if below:
        yield path, (summary, (), ())
        for name, one in below.items():
            if not one.hidden:
                yield from _lines(f"{path} {name}", one, _sentence(one.help or ""))
        return
    shown = [param for param in command.params if param.name != EVERYWHERE and not getattr(param, "hidden", False)]
    options = tuple(_option(path, param) for param in shown if param.param_type_name == "option")
    arguments = tuple(
        (param.name or "", _takes(path, param), param.nargs != 1, _sentence(getattr(param, "help", "") or ""))
        for param in shown
        if param.param_type_name == "argument"
    )
    yield path, (summary, options, arguments)


def _option(path: str, param: Any) -> Option:
    names = " ".join([*param.opts, *param.secondary_opts])
    return names, param.name or "", "" if param.is_flag else _takes(path, param), _sentence(param.help or "")


def _takes(path: str, param: Any) -> str:
    """`one of A B`, `file`, `name of KIND`, or `word`."""
    if choices := getattr(param.type, "choices", None):
        return f"one of {' '.join(str(getattr(choice, 'value', choice)) for choice in choices)}"
    if param.type.name == "path":
        return "file"
    kind = NAMES.get(param.name or "")
    new = param.param_type_name == "argument" and not set(path.split()).isdisjoint(OWN_NAMES)
    if kind is None or param.type.name != "str" or new:
        return "word"
    return f"name of {kind}"


def _sentence(text: str) -> str:
    """The first, on one line."""
    return " ".join(text.partition("\n\n")[0].split()).partition(". ")[0].rstrip(".")


if __name__ == "__main__":
    sys.stdout.write(written(lines()))
