"""`fleetctl config` (Look): What holds for this command line and this fleet, and from where: view, set.

Example: fleetctl config view --origin
Example: fleetctl config set output json
Example: fleetctl config unset output
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import typer

from fleetctl.cli.changing import DryRun, told_dry
from fleetctl.cli.output import Column, Format, Output, document, emit, say
from fleetctl.cli.settings import FROM_FILE, SETTINGS, checked, in_file, known, written
from fleetctl.paths import Home, config_file
from fleetctl.spec.contexts import Contexts, read_contexts
from fleetctl.spec.fleet import FleetConfig
from fleetctl.views.differences import NOTHING, plain_values, without_password
from fleetctl.wiring import home, load_config

app = typer.Typer(add_completion=False, no_args_is_help=True, help="What holds here, and where it is from.")

VARIABLES = (
    ("output", "FLEETCTL_OUTPUT", "table"),
    ("yes", "FLEETCTL_YES", "no"),
    ("no_input", "FLEETCTL_NO_INPUT", "no"),
    ("max_cost_per_hour", "FLEETCTL_MAX_COST_PER_HOUR", None),
    ("timeout", "FLEETCTL_TIMEOUT", "each command's own"),
    ("log", "FLEETCTL_LOG", "warning"),
)
"""What an environment variable sets for each command line: its name here, the variable, and what holds without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value, and where it is from."""

    name: str
    value: str | None
    """None: nothing is set, and nothing holds without."""
    origin: str
    """environment NAME, FILE:LINE, the context NAME, or default."""


def _columns(*, origin: bool) -> tuple[Column[Value], ...]:
    shown: tuple[Column[Value], ...] = (
        Column(header="NAME", cell=lambda row: row.name),
        Column(header="VALUE", cell=lambda row: row.value or NOTHING),
    )
    return (*shown, Column(header="FROM", cell=lambda row: row.origin)) if origin else shown


@app.callback()
def config() -> None:
    """What holds here, and where it is from."""


@app.command()
def view(
    origin: Annotated[bool, typer.Option("--origin", help="With where each value is from")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Show what holds: the context, the fleet's folder and store, and the fleet's settings as `up` last saved them.

    A flag wins over the environment, that over the files, those over the context, and that over what is built in.
    """
    where = home()
    file = config_file()
    contexts = read_contexts(file)
    values = [*_places(where, contexts, str(file)), *_variables(str(file)), *_settings(where)]
    emit(values, _columns(origin=origin), output, name=lambda row: f"config/{row.name}")


Key = Annotated[str, typer.Argument(help=f"One of {', '.join(SETTINGS)}")]


@app.command("set")
def set_value(
    key: Key,
    value: Annotated[str, typer.Argument(help="What holds from now on, where no flag and no variable says otherwise")],
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Keep a setting in your own file, for every command line from now on. Other lines of the file stay as they are."""
    _write(key, checked(key, value), dry_run=dry_run, output=output)


@app.command()
def unset(key: Key, dry_run: DryRun = False, output: Output = Format.TABLE) -> None:
    """Take a setting out of your own file, so that what is built in holds again."""
    known(key)
    _write(key, None, dry_run=dry_run, output=output)


def _write(key: str, value: str | None, *, dry_run: bool, output: Format) -> None:
    file = config_file()
    before = in_file().get(key)
    changes = (before.value if before is not None else None) != value
    if changes and not dry_run:
        written(key, value)
    if output is Format.NAME:
        sys.stdout.write(f"config/{key}\n")
    elif output is not Format.TABLE:
        document({"name": key, "value": value, "file": str(file), "changed": changes and not dry_run}, output)
    said = f"{key} is {value}" if value is not None else f"{key} is not set"
    say(f"{said}{'' if changes else ' already'}: {file}")
    if (variable := os.environ.get(SETTINGS[key].variable)) and SETTINGS[key].variable not in FROM_FILE:
        say(f"warning: {SETTINGS[key].variable}={variable} is set and wins over it")
    if dry_run:
        told_dry()


def _places(where: Home, known: Contexts, file: str) -> Iterator[Value]:
    by_variable = "environment FLEETCTL_CONTEXT" if os.environ.get("FLEETCTL_CONTEXT") else f"{file}:{known.line}"
    yield Value(name="context", value=where.context or None, origin=by_variable if where.context else "default")
    held = known.contexts.get(where.context)
    line = "" if held is None else f"{file}:{held.line}"
    named = "environment FLEETCTL_HOME" if os.environ.get("FLEETCTL_HOME") else "default"
    folder = line if held is not None and held.folder else named if held is None else "default"
    yield Value(name="home", value=str(where.root), origin=folder)
    store = line if held is not None else "environment FLEETCTL_STORE"
    if where.store_url is not None:
        yield Value(name="store", value=without_password(where.store_url), origin=store)
    yield Value(
        name="read_only", value="yes" if where.read_only else "no", origin=line if where.read_only else "default"
    )
    yield Value(name="confirm", value="name" if where.typed else None, origin=line if where.typed else "default")


def _variables(file: str) -> Iterator[Value]:
    for name, variable, otherwise in VARIABLES:
        given = os.environ.get(variable)
        origin = f"environment {variable}" if given else "default"
        if (saved := FROM_FILE.get(variable)) is not None:
            origin = f"{file}:{saved.line}"
        yield Value(name=name, value=given or otherwise, origin=origin)


def _settings(where: Home) -> Iterator[Value]:
    """The fleet's own, by the line of the file that `up` saved them in."""
    config = load_config(where)
    lines = where.config.read_text(encoding="utf-8").splitlines() if where.config.exists() else []
    usual = dict(plain_values(FleetConfig()))
    for path, text in plain_values(config):
        name = path.partition(".")[0]
        at = next((number for number, line in enumerate(lines, 1) if line.lstrip().startswith(f'"{name}":')), None)
        saved = at is not None and usual.get(path) != text
        if path == "store_url" and where.store_url is not None:
            continue  # told above, with the context
        value = None if text == NOTHING else text
        yield Value(name=f"fleet.{path}", value=value, origin=f"{where.config}:{at}" if saved else "default")
