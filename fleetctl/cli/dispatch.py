"""From words to a command: finds it, runs it, and turns every error into one clear answer and an exit code."""

import difflib
import importlib
import os
import sys
from collections.abc import Sequence

from fleetctl.cli.commands import commands
from fleetctl.errors import FleetError, UsageError

INTERRUPTED = 130
ELSEWHERE = {
    "apply": "up",
    "check": "validate",
    "cost": "plan",
    "costs": "plan",
    "create": "up",
    "delete": "down",
    "destroy": "down",
    "get": "ps",
    "list": "ps",
    "ls": "ps",
    "rm": "down",
    "status": "ps",
    "top": "ps",
}
"""Commands that people bring from elsewhere, and what they are here."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code."""
    try:
        return _run(arguments)
    except FleetError as error:
        return _fail(error, arguments)
    except KeyboardInterrupt as stopped:
        # Who was interrupted may know better than we what became of the work.
        sys.stderr.write(f"\n{stopped.args[0] if stopped.args else 'interrupted'}\n")
        return INTERRUPTED


def _run(arguments: Sequence[str]) -> int:
    name, rest = arguments[0], list(arguments[1:])
    every = commands()
    command = next((command for command in every if command.name == name), None)
    if command is None:
        alike = difflib.get_close_matches(name, [command.name for command in every], n=1)
        near = ELSEWHERE.get(name) or "".join(alike)
        what = "option" if name.startswith("-") else "command"
        hint = f"did you mean: fleetctl {near}" if near else "see them all: fleetctl --help"
        raise UsageError(f"there is no {what} {name!r}", hint=hint)
    # Rich help and tracebacks cost 70 ms and box characters in pipes; plain text is right here.
    os.environ.setdefault("TYPER_USE_RICH", "0")
    import typer
    from typer._click.exceptions import ClickException, NoArgsIsHelpError

    app = importlib.import_module(f"fleetctl.cli.{command.module}").app
    try:
        # Not `main`: it would answer Ctrl-C and a closed pipe by itself, and without a word.
        with typer.main.get_command(app).make_context(f"fleetctl {name}", rest) as context:
            result = context.command.invoke(context)
    except NoArgsIsHelpError as error:
        sys.stderr.write(error.format_message() + "\n")
        return UsageError.exit_code
    except ClickException as error:
        raise UsageError(_sentence(error.format_message()), hint=f"fleetctl {name} --help") from error
    except typer.Exit as exited:
        return exited.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    return result if isinstance(result, int) else 0


def _sentence(text: str) -> str:
    text = text.strip().rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether the command line or the environment asks for JSON; judged before the line is parsed, for errors."""
    for index, word in enumerate(arguments):
        if word in ("-o", "--output") and index + 1 < len(arguments):
            return arguments[index + 1] == "json"
        if word in ("-ojson", "--output=json", "-o=json"):
            return True
    return os.environ.get("FLEETCTL_OUTPUT") == "json"


def _fail(error: FleetError, arguments: Sequence[str]) -> int:
    if wants_json(arguments):
        import json

        body = {
            "error": {
                "code": error.code,
                "message": error.message,
                "hint": error.hint,
                "retryable": error.retryable,
            }
        }
        sys.stdout.write(json.dumps(body) + "\n")
    else:
        sys.stderr.write(f"error: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"hint: {error.hint}\n")
    return error.exit_code
