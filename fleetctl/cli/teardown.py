"""`fleetctl teardown` (Change): Remove the networks, keys and disks that a fleet which is down still owns.

Example: fleetctl teardown --yes
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Annotated

import typer

from fleetctl.cli.asking import ask
from fleetctl.cli.changing import DryRun, told_dry
from fleetctl.cli.output import Column, Format, Output, emit, say
from fleetctl.cli.session import Session, session
from fleetctl.controller.sweep import remove_all, sweep
from fleetctl.errors import Conflict
from fleetctl.model.instances import Leftover
from fleetctl.views.figures import dollars, several
from fleetctl.wiring import open_providers

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftoverRow:
    """One thing that the fleet owned, and what became of it."""

    name: str
    provider: str
    kind: str
    region: str
    price_per_hour: float | None
    state: str


COLUMNS: tuple[Column[LeftoverRow], ...] = (
    Column(header="NAME", cell=lambda row: row.name),
    Column(header="KIND", cell=lambda row: row.kind),
    Column(header="PROVIDER", cell=lambda row: row.provider),
    Column(header="REGION", cell=lambda row: row.region, drop=1),
    Column(header="$/H", cell=lambda row: dollars(row.price_per_hour), right=True),
    Column(header="STATE", cell=lambda row: row.state),
)


@app.command()
def teardown(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> int:
    """Remove what was made once per region for the fleet: networks, firewalls, keys, and any disk that is left.

    Refused while the fleet has instances: `fleetctl down --all` first. Only what carries this fleet's tag is touched.
    Exit code 1 if something could not be removed or a provider did not answer.
    """
    with session(create=not dry_run) as here:
        return asyncio.run(_teardown(here, yes=yes, dry_run=dry_run, output=output))


async def _teardown(here: Session, *, yes: bool, dry_run: bool, output: Format) -> int:
    async with open_providers(here.home, here.config) as providers:
        found = await sweep(
            providers,
            fleet=here.config.name,
            rows={row.id: row for row in here.view().live_instances},
            pools=frozenset(),
            now=time.time(),
        )
        alive = [one.id for one in found.orphans if one.kind == "instance"]
        alive += [str(row.id) for row in found.missing if row.id not in alive]
        if alive:
            raise Conflict(
                f"the fleet still has {several(len(alive), 'instance')}: {', '.join(sorted(alive)[:3])}"
                + (", …" if len(alive) > 3 else ""),
                hint="fleetctl down --all, then this again; what nothing claims: fleetctl gc",
            )
        gone: tuple[Leftover, ...] = ()
        refusals: dict[str, str] = {}
        if found.leftovers and not dry_run:
            ask(
                f"remove {several(len(found.leftovers), 'thing')} of fleet {here.config.name}?",
                yes=yes,
                retry="fleetctl teardown",
                home=here.home,
            )
            gone, why = await remove_all(providers, found.leftovers)
            refusals = dict(why)
    rows = [
        LeftoverRow(
            name=one.id,
            provider=one.provider,
            kind=one.kind,
            region=one.region,
            price_per_hour=one.price_per_hour,
            state="removed" if one in gone else refusals.get(f"{one.kind}/{one.id}", "left"),
        )
        for one in found.leftovers
    ]
    emit(rows, COLUMNS, output, name=lambda row: f"{row.kind}/{row.name}")
    for name, reason in found.unreachable.items():
        say(f"warning: {name} did not answer, so nothing of it was removed: {reason}")
    if output is Format.TABLE and not rows:
        say("nothing is left")
    if dry_run:
        told_dry()
    return 1 if refusals or found.unreachable else 0
