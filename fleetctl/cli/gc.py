"""`fleetctl gc` (Change): Find what the clouds hold for this fleet and nothing claims, and give it back.

Example: fleetctl gc --delete
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
from fleetctl.controller.sweep import Sweep, remove, sweep, with_ages
from fleetctl.errors import ProviderError
from fleetctl.model.names import InstanceId
from fleetctl.model.orphans import Orphan
from fleetctl.views.figures import ago, dollars, several
from fleetctl.wiring import open_providers

app = typer.Typer(add_completion=False)

QUARANTINE_S = 3600.0
"""Between finding something and deleting it: longer than any launch, rollout or restored store takes to claim it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanRow:
    """One thing that is nobody's."""

    name: str
    provider: str
    kind: str
    region: str
    why: str
    age_s: float
    price_per_hour: float | None
    state: str
    """`quarantined`, `due`, `deleted`, or why it could not be deleted."""


COLUMNS: tuple[Column[OrphanRow], ...] = (
    Column(header="NAME", cell=lambda row: row.name),
    Column(header="KIND", cell=lambda row: row.kind),
    Column(header="PROVIDER", cell=lambda row: row.provider),
    Column(header="REGION", cell=lambda row: row.region, drop=2),
    Column(header="AGE", cell=lambda row: ago(row.age_s), right=True),
    Column(header="$/H", cell=lambda row: dollars(row.price_per_hour), right=True),
    Column(header="STATE", cell=lambda row: row.state),
    Column(header="WHY", cell=lambda row: row.why, drop=1),
)


@app.command()
def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Delete what has been in quarantine for an hour")] = False,
    now_too: Annotated[bool, typer.Option("--now", help="With --delete: do not wait for the quarantine")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> int:
    """Look at every provider for machines, disks and addresses of this fleet that nothing claims, with age and price.

    What is found is put in quarantine; `gc --delete` deletes what has been there for an hour. Only what carries this
    fleet's tag is ever looked at or touched. Exit code 1 if a provider did not answer or something could not be
    deleted.
    """
    with session(create=True, dry_run=dry_run) as here:
        return asyncio.run(_gc(here, delete=delete, at_once=now_too, yes=yes, dry_run=dry_run, output=output))


async def _gc(here: Session, *, delete: bool, at_once: bool, yes: bool, dry_run: bool, output: Format) -> int:
    async with open_providers(here.home, here.config) as providers:
        view = here.view()
        now = time.time()
        found = await sweep(
            providers,
            fleet=here.config.name,
            rows={row.id: row for row in view.instances},
            pools=frozenset({pool.name for pool in view.pools} | {one.service.pool_name for one in view.intents}),
            now=now,
        )
        orphans = with_ages(found.orphans, here.store.orphans()) if dry_run else _remembered(here, found)
        due = [one for one in orphans if at_once or now - one.seen_at >= QUARANTINE_S]
        outcomes: dict[str, str] = {}
        if delete and due and not dry_run:
            ask(f"delete {several(len(due), 'orphan')}?", yes=yes, retry="fleetctl gc --delete", home=here.home)
            for orphan in due:
                try:
                    await remove(providers, orphan, found.leftovers)
                    outcomes[orphan.key] = "deleted"
                except ProviderError as error:
                    outcomes[orphan.key] = error.message
            here.store.put_orphans([one for one in orphans if outcomes.get(one.key) != "deleted"])
            here.store.given_back(
                [InstanceId(one.id) for one in due if one.kind == "instance" and outcomes[one.key] == "deleted"],
                at=time.time(),
            )
    rows = [_row(one, now, outcomes.get(one.key) or ("due" if one in due else "quarantined")) for one in orphans]
    emit(rows, COLUMNS, output, name=lambda row: f"{row.kind}/{row.name}")
    for name, why in found.unreachable.items():
        say(f"warning: {name} did not answer, so nothing is known of it: {why}")
    for row in found.missing:
        say(f"warning: instance/{row.id} is {row.phase} in the store and {row.offer.provider} does not list it")
    if output is Format.TABLE:
        _tell(rows, due=len(due), deleting=delete)
    if dry_run:
        told_dry()
    failed = any(outcome != "deleted" for outcome in outcomes.values())
    return 1 if found.unreachable or failed else 0


def _remembered(here: Session, found: Sweep) -> tuple[Orphan, ...]:
    """The Orphans with the moments they were first found; of Providers that were silent, what was known before."""
    known = here.store.orphans()
    orphans = with_ages(found.orphans, known)
    silent = [one for one in known.values() if one.provider in found.unreachable]
    here.store.put_orphans((*orphans, *silent))
    return orphans


def _row(orphan: Orphan, now: float, state: str) -> OrphanRow:
    born = orphan.created_at if orphan.created_at is not None else orphan.seen_at
    return OrphanRow(
        name=orphan.id,
        provider=orphan.provider,
        kind=orphan.kind,
        region=orphan.region,
        why=orphan.why,
        age_s=now - born,
        price_per_hour=orphan.price_per_hour,
        state=state,
    )


def _tell(rows: list[OrphanRow], *, due: int, deleting: bool) -> None:
    if not rows:
        say("nothing is left over")
        return
    known = [row.price_per_hour for row in rows if row.price_per_hour is not None]
    unknown = f" and {len(rows) - len(known)} without a known price" if len(known) < len(rows) else ""
    say(f"{several(len(rows), 'orphan')}: {dollars(sum(known))}/h{unknown}")
    if due and not deleting:
        say(f"{due} may be deleted: fleetctl gc --delete")
    elif not deleting:
        say("in quarantine for an hour, then: fleetctl gc --delete; or at once: fleetctl gc --delete --now")
