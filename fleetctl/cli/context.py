"""`fleetctl context` (Control): Fleets by name: ls, show, use, add, rm.

Example: fleetctl context add prod --home /srv/fleet --read-only
Example: fleetctl context ls
Example: fleetctl context show prod
Example: fleetctl context use prod
Example: fleetctl context rm prod
"""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from fleetctl.cli.changing import DryRun, told_dry
from fleetctl.cli.output import Column, Format, Output, document, emit, say
from fleetctl.errors import Conflict
from fleetctl.paths import config_file, usual_home
from fleetctl.spec.contexts import Context, Contexts, checked, chosen, read_contexts, write_contexts

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Fleets by name, in the user's own file.")

Name = Annotated[str, typer.Argument(help="The context")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextRow:
    """One context, for people and programs."""

    name: str
    current: bool
    home: str | None
    store: str | None
    password_env: str | None
    read_only: bool
    confirm: str | None
    """`name`: what spends or destroys is confirmed by typing it."""


CONTEXTS: tuple[Column[ContextRow], ...] = (
    Column(header="CONTEXT", cell=lambda row: row.name),
    Column(header="IN USE", cell=lambda row: "yes" if row.current else "-"),
    Column(header="HOME", cell=lambda row: row.home or "-", drop=1),
    Column(header="STORE", cell=lambda row: row.store or "-", drop=2),
    Column(header="READ-ONLY", cell=lambda row: "yes" if row.read_only else "-"),
    Column(header="CONFIRM", cell=lambda row: row.confirm or "-"),
)


@app.command()
def ls(output: Output = Format.TABLE) -> None:
    """List the contexts, and which one is in use."""
    known = read_contexts(config_file())
    in_use = _in_use(known)
    emit(
        [_row(one, in_use) for one in known.contexts.values()],
        CONTEXTS,
        output,
        name=lambda row: f"context/{row.name}",
        empty="no contexts; make one: fleetctl context add NAME --home FOLDER",
    )
    if os.environ.get("FLEETCTL_HOME"):
        say("FLEETCTL_HOME is set and wins over every context")


@app.command()
def show(
    context: Annotated[str, typer.Argument(help="A context; default the one in use")] = "",
    output: Output = Format.TABLE,
) -> None:
    """Show one context: where its fleet is, and what may be done there."""
    file = config_file()
    known = read_contexts(file)
    found = chosen(known, context.removeprefix("context/") or _in_use(known), file)
    if found is None:
        root = os.environ.get("FLEETCTL_HOME") or str(usual_home().root)
        if output in (Format.JSON, Format.YAML):
            document({"name": None, "current": False, "home": root}, output)
        say(f"no context is in use; the fleet is the one in {root}")
        return
    row = _row(found, _in_use(known))
    if output is Format.NAME:
        sys.stdout.write(f"context/{row.name}\n")
    elif output is not Format.TABLE:
        document(row, output)
    else:
        sys.stdout.write(_text(row, f"{file}:{found.line}"))


@app.command()
def use(context: Name, dry_run: DryRun = False, output: Output = Format.TABLE) -> None:
    """Use a context from now on, wherever no other is named."""
    file = config_file()
    known = read_contexts(file)
    found = chosen(known, context.removeprefix("context/"), file)
    if found is not None:
        if not dry_run:
            write_contexts(file, replace(known, current=found.name))
        _report(found, found.name, output)
        say(f"in use from now on: {found.name}")
    if os.environ.get("FLEETCTL_HOME"):
        say("warning: FLEETCTL_HOME is set and wins over it")
    if dry_run:
        told_dry()


@app.command()
def add(
    name: Name,
    home: Annotated[str | None, typer.Option("--home", help="The fleet's folder on this machine")] = None,
    store: Annotated[
        str | None, typer.Option("--store", help="Its store, as postgresql://USER@HOST/DATABASE; no password in it")
    ] = None,
    password_env: Annotated[
        str | None, typer.Option("--password-env", help="The environment variable that holds the store's password")
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse every command that changes something")] = False,
    typed: Annotated[
        bool, typer.Option("--typed", help="Have the context's name typed before something is rented or taken down")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="In place of one of that name")] = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Add a context; the first one is in use at once."""
    file = config_file()
    known = read_contexts(file)
    if name in known.contexts and not force:
        raise Conflict(f"there is a context {name} already", hint=f"fleetctl context show {name}, or give --force")
    folder = None if home is None else str(Path(home).expanduser().absolute())
    made = checked(
        Context(name=name, folder=folder, store=store, password_env=password_env, read_only=read_only, typed=typed)
    )
    contexts = {**known.contexts, name: made}
    if not dry_run:
        write_contexts(file, replace(known, current=known.current or name, contexts=contexts))
    _report(made, known.current or name, output)
    say(f"added to {file}" + ("" if known.current else " and in use from now on"))
    if dry_run:
        told_dry()


@app.command()
def rm(context: Name, dry_run: DryRun = False, output: Output = Format.TABLE) -> None:
    """Forget a context. The fleet itself stays as it is."""
    file = config_file()
    known = read_contexts(file)
    found = chosen(known, context.removeprefix("context/"), file)
    if found is None:
        return
    left = {one: kept for one, kept in known.contexts.items() if one != found.name}
    current = "" if known.current == found.name else known.current
    if not dry_run:
        write_contexts(file, replace(known, current=current, contexts=left))
    _report(found, current, output)
    say(f"forgotten; the fleet itself is as it was{'' if current else '; no context is in use now'}")
    if dry_run:
        told_dry()


def _in_use(known: Contexts) -> str:
    return os.environ.get("FLEETCTL_CONTEXT") or known.current


def _row(one: Context, in_use: str) -> ContextRow:
    return ContextRow(
        name=one.name,
        current=one.name == in_use and not os.environ.get("FLEETCTL_HOME"),
        home=one.folder,
        store=one.store,
        password_env=one.password_env,
        read_only=one.read_only,
        confirm="name" if one.typed else None,
    )


def _report(one: Context, in_use: str, output: Format) -> None:
    if output in (Format.JSON, Format.YAML):
        document(_row(one, in_use), output)
    else:
        sys.stdout.write(f"context/{one.name}\n")


def _text(row: ContextRow, where: str) -> str:
    lines = [f"context/{row.name}{'  in use' if row.current else ''}  ({where})"]
    lines.append(f"  home       {row.home or '-'}")
    lines.append(f"  store      {row.store or 'fleet.db in its home'}")
    if row.password_env:
        lines.append(f"  password   from {row.password_env}")
    lines.append(f"  read-only  {'yes: every command that changes something is refused' if row.read_only else 'no'}")
    lines.append(f"  confirm    {'its name is typed' if row.confirm else 'y or --yes'}")
    return "\n".join(lines) + "\n"
