"""Every command line that a message, a docstring or the README tells people to type is one that `fleetctl` takes."""

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer
from typer._click import Command, Context
from typer._click.exceptions import ClickException, MissingParameter

from fleetctl.cli.asked import ask
from fleetctl.cli.commands import commands
from fleetctl.cli.everywhere import taken
from fleetctl.cli.topics import TOPICS
from fleetctl.errors import UsageError

ROOT = Path(__file__).parents[2]
LINE = re.compile(
    r"(?:^|[`(;:$]\s*|&&\s*|\b(?:or|then|with|run)\s)fleetctl +(?=[a-z{-])(.+?)(?=[`()<>|#&]|[,;:](?:\s|$)|$)", re.M
)
"""What begins as a command line does, up to what ends one in a sentence or in a shell."""
SENTENCES = frozenset({"has", "needs", "touches"})
"""What `fleetctl` itself does, in sentences that begin with it."""
PLACE = "1"
"""Stands for what a message fills in: a name, a count, a path; all options take it."""
FEWEST = 150
"""Below the number there are; a pattern that finds less has gone blind."""


def wrong(words: str, *, whole: bool = True) -> str:
    """Why this command line is none; empty: it is one. One that is only mentioned need not be `whole`."""
    given = [word for word in shlex.split(words.rstrip(". ")) if word not in ("…", "--help")]
    if given[:1] == ["help"] and " ".join(given[1:]) in (*TOPICS, "TOPIC"):
        return ""
    try:
        given, _ = taken(ask(given))
    except UsageError as error:
        return str(error)
    if given[:1] == ["help"]:  # `fleetctl help up` is `fleetctl up --help`
        given, whole = given[1:], False
    if not given or given[0] in (PLACE, "COMMAND"):
        return ""
    command = _apps().get(given[0])
    if command is None:
        return f"there is no command {given[0]}"
    try:
        return _misfit(command, given[0], given[1:], whole=whole)
    except MissingParameter as error:
        return error.format_message() if whole and "--help" not in words else ""
    except ClickException as error:
        return error.format_message()


def _misfit(command: Command, name: str, rest: list[str], *, whole: bool) -> str:
    if isinstance(command, typer.core.TyperGroup):
        if not rest:
            return ""
        above = Context(command, info_name=name)
        below, found, rest = command.resolve_command(above, rest)
        assert found is not None
        assert below is not None
        return _misfit(found, below, rest, whole=whole)
    context = command.make_context(name, list(rest))
    names = [
        word
        for param in command.params
        if param.param_type_name == "argument" and param.type.name != "path"
        for word in _words(context.params[param.name or ""])
    ]
    for word in names:
        if word.endswith((".yaml", ".yml")) or word == "FILE":
            return f"{word} is taken for a name: files are given with -f"
    if whole and name == "down" and not names and not context.params["every"]:
        return "down needs names, or --all"
    return ""


def _words(value: object) -> list[str]:
    """The words that an argument was given."""
    return [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]


@cache
def _apps() -> dict[str, Command]:
    return {
        one.name: typer.main.get_command(importlib.import_module(f"fleetctl.cli.{one.module}").app)
        for one in commands()
    }


def told() -> Iterator[tuple[str, str, bool]]:
    """(where, command line, whether it is to be typed as it stands) of each that is told."""
    for path in sorted((ROOT / "fleetctl").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node, text in _texts(tree):
            where = f"{path.relative_to(ROOT)}:{node.lineno}"
            yield from ((where, words, id(node) not in docstrings) for words in command_lines(text))
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            where = f"{path.name}:{number}"
            yield from ((where, words, text.startswith("$")) for words in command_lines(text))


def command_lines(text: str) -> list[str]:
    return [words.strip() for words in LINE.findall(text) if words.split()[0] not in SENTENCES]


def _texts(tree: ast.Module) -> Iterator[tuple[ast.expr, str]]:
    """Texts and where they are; what is filled in is PLACE."""
    parts: set[int] = set()
    for node in ast.walk(tree):
        match node:
            case ast.JoinedStr(values=values):
                parts.update(id(value) for value in values)
                yield node, "".join(str(one.value) if isinstance(one, ast.Constant) else PLACE for one in values)
            case ast.Constant(value=str(text)) if id(node) not in parts:
                yield node, text
            case _:
                pass


def test_every_command_line_that_is_told_is_one() -> None:
    found = list(told())

    assert len(found) >= FEWEST
    assert [
        f"{where}: fleetctl {words}: {why}" for where, words, whole in found if (why := wrong(words, whole=whole))
    ] == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("fleetctl ps -i", ["ps -i"]),
        ("run `fleetctl up -f FILE`, which makes one", ["up -f FILE"]),
        ("see: fleetctl ps; fleetctl daemon start", ["ps", "daemon start"]),
        ("fleetctl init, then: fleetctl up", ["init", "up"]),
        ("fleetctl daemon start (or fleetctl up) starts it", ["daemon start", "up"]),
        ("$ fleetctl down --all && fleetctl daemon stop  # both", ["down --all", "daemon stop"]),
        ("$ fleetctl gateway --check &", ["gateway --check"]),
        (
            "--against hpa,ray:0.35: fleetctl simulate a.csv --against hpa,ray:0.35",
            ["simulate a.csv --against hpa,ray:0.35"],
        ),
        ("another fleetctl hangs in a transaction", []),
        ("fleetctl touches nothing that it did not label", []),
    ],
)
def test_command_lines_are_told_from_prose(text: str, lines: list[str]) -> None:
    assert command_lines(text) == lines


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("status", "there is no command status"),
        ("up SERVICE.yaml", "SERVICE.yaml is taken for a name: files are given with -f"),
        ("gc --remove", "No such option: --remove"),
        ("explain", "Missing argument 'service'."),
        ("daemon restart", "No such command 'restart'. Did you mean 'start', 'status'?"),
        ("doctor shows each quota", "Got unexpected extra argument(s) (shows each quota)"),
        ("down", "down needs names, or --all"),
        ("help status", "there is no command status"),
        ("help up", ""),
        ("help output", ""),
        ("help outputs", "there is no command outputs"),
        ("ps -o wide --columns service,state", ""),
        ("ps -o pdf", "'pdf' is no form of output (-o)"),
        ("up -f FILE", ""),
        ("validate fleet.yaml", ""),
        ("daemon stop", ""),
        ("provider permissions aws", ""),
    ],
)
def test_what_is_no_command_line_is_refused(words: str, why: str) -> None:
    assert wrong(words) == why
