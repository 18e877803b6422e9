"""`fleetctl provider` (Control): Sources of machines: ls, setup, permissions.

Example: fleetctl provider ls
Example: fleetctl provider setup sky --with lambda,runpod
Example: fleetctl provider permissions aws > policy.json
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from fleetctl import providers
from fleetctl.cli.asking import ask
from fleetctl.cli.changing import DryRun, told_dry
from fleetctl.cli.output import Column, Format, Output, document, emit, say
from fleetctl.errors import ProviderError, UsageError
from fleetctl.providers import Environment
from fleetctl.wiring import configured, home, load_config

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Sources of machines.")

_INSTALL_LIMIT_S = 1800.0
"""For each command of a setup: half a gigabyte over a slow line, and no longer than anybody waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRow:
    """A provider that there is."""

    name: str
    configured: bool
    """Whether the fleet may rent from it."""
    environment: str
    """Of its own: `ready`, `missing`, or empty where it needs none."""
    permissions: bool
    """Whether `fleetctl provider permissions` has a document for it."""
    next: str
    """What to do to use it; empty when nothing is left to do."""


PROVIDERS: tuple[Column[ProviderRow], ...] = (
    Column(header="PROVIDER", cell=lambda row: row.name),
    Column(header="CONFIGURED", cell=lambda row: "yes" if row.configured else "no"),
    Column(header="ENVIRONMENT", cell=lambda row: row.environment or "-", drop=2),
    Column(header="PERMISSIONS", cell=lambda row: "yes" if row.permissions else "-", drop=3),
    Column(header="NEXT", cell=lambda row: row.next or "-", drop=1),
)


@app.command("ls")
def list_providers(output: Output = Format.TABLE) -> None:
    """List the providers there are, and which of them this fleet may use. Asks none of them."""
    emit(provider_rows(), PROVIDERS, output, name=lambda row: f"provider/{row.name}")


def provider_rows() -> list[ProviderRow]:
    """Every provider that there is. Asks none of them."""
    where = home()
    used = configured(load_config(where))
    rows = []
    for name in providers.names():
        plan = providers.environment_of(name)
        made = None if plan is None else plan(where, ()).ready
        steps = [] if name in used else [f"write providers: {{{name}: {{…}}}} into kind: fleet"]
        if made is False:
            steps.insert(0, f"fleetctl provider setup {name}")
        rows.append(
            ProviderRow(
                name=name,
                configured=name in used,
                environment="" if made is None else "ready" if made else "missing",
                permissions=providers.permissions_of(name) is not None,
                next="; ".join(steps),
            )
        )
    return rows


@app.command()
def permissions(
    provider: Annotated[str, typer.Argument(help="aws, gcp or azure")], output: Output = Format.TABLE
) -> None:
    """Print the least that the provider's credentials must be allowed, as the cloud's own tools take it."""
    provider = provider.removeprefix("provider/")
    make = providers.permissions_of(provider)
    if make is None:
        known = ", ".join(name for name in providers.names() if providers.permissions_of(name) is not None)
        raise UsageError(f"{provider} has no document of permissions", hint=f"one of: {known}")
    config = load_config(home())
    body = make(config.providers.get(provider, {}))
    document(body, Format.YAML if output is Format.YAML else Format.JSON)
    if places := sorted(set(_placeholders(body))):
        say(f"put yours in place of {' and '.join(places)}: the fleet's settings of {provider} do not say it")


def _placeholders(body: object) -> Iterator[str]:
    """Words in capitals that stand for what is not configured."""
    if isinstance(body, Mapping):
        body = list(body.values())
    if isinstance(body, Sequence) and not isinstance(body, str):
        for value in body:
            yield from _placeholders(value)
    elif isinstance(body, str) and (found := re.fullmatch(r"(?:.*/)?([A-Z]{4,})", body)):
        yield found[1]


@app.command()
def setup(
    provider: Annotated[str, typer.Argument(help="sky")],
    extras: Annotated[
        str, typer.Option("--with", help="What to add, by commas: for sky its clouds, as in lambda,runpod")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Make the environment that a provider needs beside fleetctl, or bring it up to date."""
    where, provider = home(), provider.removeprefix("provider/")
    plan = providers.environment_of(provider)
    if plan is None:
        known = ", ".join(name for name in providers.names() if providers.environment_of(name) is not None)
        raise UsageError(f"{provider} needs no environment of its own", hint=f"those that do: {known}")
    made = plan(where, tuple(dict.fromkeys(word.strip() for word in extras.split(",") if word.strip())))
    again = f"fleetctl provider setup {provider}{f' --with {extras}' if extras else ''}"
    if dry_run:
        say(_what(provider, made))
        for words in made.commands:
            say(f"+ {' '.join(words)}")
    else:
        ask(_what(provider, made), yes=yes, retry=again)
        _run(made.commands)
    if output in (Format.JSON, Format.YAML):
        document({"provider": provider, "folder": str(made.folder), "installed": made.requirement}, output)
    elif output is Format.NAME:
        sys.stdout.write(f"provider/{provider}\n")
    if dry_run:
        told_dry()
        return
    say(f"{provider} is ready in {made.folder}")
    if provider not in configured(load_config(where)):
        say(f"to rent from it: write providers: {{{provider}: {{}}}} into kind: fleet, then fleetctl up")


def _what(provider: str, made: Environment) -> str:
    verb = "brings up to date" if made.ready else "installs"
    return (
        f"{provider}: {verb} {made.requirement}, some {made.packages} packages and {made.size_mb} MB,"
        f" in an environment of its own: {made.folder}"
    )


def _run(commands: Sequence[Sequence[str]]) -> None:
    """Run each; what they print goes to people. Raises `ProviderError` with the one that failed."""
    for words in commands:
        command = " ".join(words)
        say(f"+ {command}")
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False, timeout=_INSTALL_LIMIT_S
            )
        except subprocess.TimeoutExpired:
            raise ProviderError(f"not done within {_INSTALL_LIMIT_S:g} s: {command}", hint="run it again") from None
        except OSError as error:
            raise ProviderError(f"{command}: {error.strerror}", hint="fleetctl doctor") from error
        if done.returncode != 0:
            raise ProviderError(f"exit code {done.returncode} of: {command}", hint="see its words above; run it again")
