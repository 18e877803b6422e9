"""From words to a command: finds it, runs it, and turns every error into one clear answer and an exit code."""

import os
import sys
from collections.abc import Sequence
from typing import Any

from fleetctl.cli.asked import ASKED, ask
from fleetctl.cli.commands import Command, commands, example
from fleetctl.cli.everywhere import environment, taken
from fleetctl.cli.options import LINES
from fleetctl.cli.settings import defaults
from fleetctl.errors import FleetError, UsageError

INTERRUPTED = 130
ELSEWHERE = {
    "check": "validate",
    "create": "up",
    "delete": "down",
    "destroy": "down",
    "launch": "up",
    "list": "ps",
    "ls": "ps",
    "machines": "ps -i",
    "nodes": "ps -i",
    "pods": "ps -r",
    "rm": "down",
    "show": "describe",
    "start": "up",
    "status": "ps",
    "stop": "down",
    "terminate": "down",
}
"""Commands that people bring from elsewhere, and what they are here."""
QUICK = {"ps": "fleet_lists"}
"""Commands that need no typer when their line is plain, and the module whose function of that name they are."""
HELPED = ("--help", "-h")


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code."""
    try:
        usual = defaults(strict=not path_of(arguments)[0].startswith("config "))
        words, meant = taken(ask(arguments, _valued(arguments), {**os.environ, **usual}))
        with environment({**usual, **meant}):
            return _logged(words) if ASKED.verbosity > 0 else _run(words)
    except FleetError as error:
        return _fail(error)
    except KeyboardInterrupt as stopped:
        # Who was interrupted may know better than we what became of the work.
        sys.stderr.write(f"\n{stopped.args[0] if stopped.args else 'interrupted'}\n")
        return INTERRUPTED


def _valued(arguments: Sequence[str]) -> list[str]:
    """The names of the command's options that take a word more, but for the form of the output."""
    path, _ = path_of(arguments)
    options = LINES[path][1] if path in LINES else ()
    return [name for names, _, takes, _ in options if takes for name in names.split()]


def path_of(words: Sequence[str]) -> tuple[str, list[str]]:
    """The command that the line names, as in `daemon start`, or nothing; and what follows it."""
    for index, word in enumerate(words):
        for count in (2, 1):
            path = " ".join(words[index : index + count])
            if path in LINES and not word.startswith("-") and path.count(" ") == count - 1:
                return path, list(words[index + count :])
    return "", []


def _run(words: list[str]) -> int:
    if not words:
        from fleetctl.cli.commands import root_help, terminal_columns

        sys.stdout.write(root_help(terminal_columns()))
        return 0
    name, rest = words[0], words[1:]
    if (given := _quick(name, rest)) is not None:
        code = 0
        _function(QUICK[name], name)(**given)
    else:
        every = commands()
        command = next((command for command in every if command.name == name), None)
        if command is None:
            raise _unknown(name, every)
        code = _typed(command, _with_form(words))
    if (ASKED.columns or ASKED.sort_by) and not ASKED.listed and not code and not ASKED.quiet:
        sys.stderr.write("--columns and --sort-by are for lists, and this is none\n")
    return code


def _with_form(words: Sequence[str]) -> list[str]:
    """What follows the command's name, with the form that it is to make; a group alone makes nothing."""
    path, _ = path_of(words)
    rest = list(words[1:])
    if ASKED.made == "table" or any(other.startswith(f"{path} ") for other in LINES):
        return rest
    end = rest.index("--") if "--" in rest else len(rest)
    return [*rest[:end], "-o", ASKED.made, *rest[end:]]


def _unknown(name: str, every: Sequence[Command]) -> UsageError:
    from fleetctl.cli.slips import near_command, near_option
    from fleetctl.cli.topics import TOPICS

    if name.startswith("-"):
        hint = near_option(name, _general()) or "see them all: fleetctl help output"
        return UsageError(f"there is no option {name!r}", hint=hint)
    topics = {topic: f"help {topic}" for topic in TOPICS}
    hint = near_command(name, [*(command.name for command in every), *topics], {**ELSEWHERE, **topics})
    return UsageError(f"there is no command {name!r}", hint=hint)


def _general() -> list[str]:
    """The options of every command."""
    from fleetctl.cli import asked, everywhere

    return [*asked.FLAGS, *asked.VALUED, *everywhere.FLAGS, *everywhere.VALUED, "--help", "--version", "--output"]


def _function(module: str, name: str) -> Any:
    import importlib

    return getattr(importlib.import_module(f"fleetctl.cli.{module}"), name)


def _quick(name: str, words: Sequence[str]) -> dict[str, Any] | None:
    """What the function of a quick command is called with; None: typer must read the line, or say what is wrong."""
    if name not in QUICK or name not in LINES:
        return None
    from fleetctl.cli.output import Format

    options = {one: (param, takes) for names, param, takes, _ in LINES[name][1] for one in names.split()}
    given: dict[str, Any] = {"output": Format(ASKED.made)}
    following = iter(words)
    for word in following:
        param, takes = options.get(word, ("", ""))
        value = next(following, None) if takes else True
        if not param or value is None:
            return None
        given[param] = value
    return given


def _typed(command: Command, rest: list[str]) -> int:
    """Run the command's Typer app."""
    import importlib

    # Rich help and tracebacks cost 70 ms and box characters in pipes; plain text is right here.
    os.environ.setdefault("TYPER_USE_RICH", "0")
    import typer
    from typer._click.exceptions import ClickException, MissingParameter, NoArgsIsHelpError

    from fleetctl.cli.slips import hint_for, in_one_word, without_suggestion

    app = importlib.import_module(f"fleetctl.cli.{command.module}").app
    try:
        # Not `main`: it would answer Ctrl-C and a closed pipe by itself, and without a word.
        # A copy: who reads the words takes them out of the list.
        with _told_whole(typer.main.get_command(app)).make_context(f"fleetctl {command.name}", list(rest)) as context:
            result = context.command.invoke(context)
    except NoArgsIsHelpError as error:
        if ASKED.made != "table":
            below = ", ".join(path.partition(" ")[2] for path in LINES if path.startswith(f"{command.name} "))
            raise UsageError(
                f"which command of {command.name}? There are {below}", hint=f"fleetctl {command.name} --help"
            ) from error
        sys.stderr.write(error.format_message() + "\n")
        return UsageError.exit_code
    except ClickException as error:
        path = path_of([command.name, *rest])[0] or command.name
        hint = hint_for(error, path, _general()) or in_one_word(command.name, rest, error.format_message())
        shows = isinstance(error, MissingParameter) or not (hint or hasattr(error, "option_name"))
        hint = hint or f"fleetctl {path} --help"
        if shows and (shown := example(command, path)):
            hint = f"as in: {shown}; all that it takes: {hint}"
        raise UsageError(_sentence(without_suggestion(error.format_message())), hint=hint) from error
    except typer.Exit as exited:
        path, _ = path_of([command.name, *rest])
        if not exited.exit_code and not set(HELPED).isdisjoint(rest) and (shown := example(command, path)):
            sys.stdout.write(f"\nExample: {shown}\nFor every command: fleetctl help output\n")
        return exited.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    return result if isinstance(result, int) else 0


def _told_whole(command: Any) -> Any:
    """The command; a group tells the whole first sentence of each of its own, which would be cut at some letters."""
    for inner in getattr(command, "commands", {}).values():
        if not inner.short_help and inner.help:
            inner.short_help = " ".join(inner.help.partition("\n\n")[0].split()).partition(". ")[0].rstrip(".") + "."
    return command


def _sentence(text: str) -> str:
    text = " ".join(text.split()).rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _logged(words: list[str]) -> int:
    import logging
    import time

    from fleetctl.cli import verbosity

    verbosity.begin(ASKED.verbosity)
    log = logging.getLogger("fleetctl")
    log.info("fleetctl %s, of %s", " ".join(words), os.environ.get("FLEETCTL_HOME") or "no FLEETCTL_HOME")
    began = time.monotonic()
    try:
        code = _run(words)
    except FleetError as error:
        log.info("ends with %s after %.3f s", error.exit_code, time.monotonic() - began)
        log.debug("where it failed:", exc_info=error)
        raise
    log.info("ends with %s after %.3f s", code, time.monotonic() - began)
    return code


def _fail(error: FleetError) -> int:
    """Tell the error in the form that the results would have had. A template is of results, so its error is told."""
    body = {"code": error.code, "message": error.message, "hint": error.hint, "retryable": error.retryable}
    match ASKED.form:
        case "json":
            import json

            sys.stdout.write(json.dumps({"error": body}) + "\n")
        case "yaml":
            from fleetctl.spec.rendering import to_yaml

            sys.stdout.write(to_yaml({"error": body}))
        case "csv":
            import csv

            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow([f"error.{name}" for name in body])
            writer.writerow(["true" if one is True else "false" if one is False else one for one in body.values()])
        case "jsonpath" if "error" in ASKED.template:
            from fleetctl.cli.jsonpath import rendered

            sys.stdout.write(rendered(ASKED.template, {"error": body}) + "\n")
        case _:
            sys.stderr.write(f"error: {error.message}\n")
            if error.hint:
                sys.stderr.write(f"hint: {error.hint}\n")
    return error.exit_code
