"""`fleetctl undo` (Change): Take back the last change of what is wanted: down, up, apply, scale, deploy.

Example: fleetctl undo --dry-run
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from fleetctl.cli.changing import DryRun, Yes, told_dry, told_stored
from fleetctl.cli.costs import bills, confirm, costs_of, within_limit
from fleetctl.cli.counting import as_scaled
from fleetctl.cli.declaring import keeps_providers, told_running
from fleetctl.cli.output import Column, Format, Output, document, emit, say
from fleetctl.cli.planning import differences_text
from fleetctl.cli.session import Session, session
from fleetctl.errors import NotFound
from fleetctl.model.changes import Change
from fleetctl.model.services import Service
from fleetctl.model.snapshots import Intent, Override
from fleetctl.spec.fleet import Fleet, FleetConfig
from fleetctl.store.changes import CHANGES_AGE_S
from fleetctl.views.differences import Difference, differences
from fleetctl.views.figures import ago
from fleetctl.wiring import save_config, settings_of

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRow:
    """One command that can be taken back."""

    number: int
    command: str
    services: tuple[str, ...]
    also: tuple[str, ...]
    """`pool/…`, `tenant/…`, and `fleet` where it changed the settings."""
    at: float
    age_s: float


CHANGES: tuple[Column[ChangeRow], ...] = (
    Column(header="AGE", cell=lambda row: ago(row.age_s), right=True),
    Column(header="SERVICES", cell=lambda row: ", ".join(row.services) or "-", drop=1),
    Column(header="ALSO", cell=lambda row: ", ".join(row.also) or "-", drop=2),
    Column(header="COMMAND", cell=lambda row: row.command),
)


@app.command()
def undo(
    every: Annotated[bool, typer.Option("--list", help="List what can be taken back, the newest first")] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Want again what was wanted before the last command that changed it; once more takes back the one before.

    What a `down` took away comes back as it was declared, for seven days; so do pools, tenants and the fleet's
    settings, but for where its store is. Asks, as `up` does, where more machines may be rented; does not wait.
    """
    with session(change=not (dry_run or every)) as now:
        made = now.store.changes_made(since=time.time() - CHANGES_AGE_S)
        if every:
            emit(_rows(made), CHANGES, output, name=lambda row: f"change/{row.number}", empty="nothing to take back")
            return
        if not made:
            raise NotFound(
                f"nothing was changed in the last {ago(CHANGES_AGE_S)} that could be taken back",
                hint="declare what is wanted: fleetctl up",
            )
        change = made[0]
        found = _found(change, now)
        if not dry_run:
            settings = _settings(change, now)
            keeps_providers(Fleet(config=settings), now.view())
            _agree(change, now, settings, yes=yes)
            if change.settings:
                told_running(now, settings, again="fleetctl up")
                # Before the change is forgotten: who is killed in between runs `undo` again, to the same end.
                save_config(now.home, settings)
            now.store.take_back(change, at=time.time())
        _report(change, found, output)
        if dry_run:
            told_dry()
        else:
            say(f"taken back: fleetctl {change.command}")
            told_stored(now)


def _rows(made: Sequence[Change]) -> list[ChangeRow]:
    now = time.time()
    return [
        ChangeRow(
            number=one.number,
            command=one.command,
            services=tuple(str(each.service) for each in one.intents),
            also=_also(one),
            at=one.at,
            age_s=now - one.at,
        )
        for one in made
    ]


def _also(change: Change) -> tuple[str, ...]:
    """What else it changed, perhaps, besides Services."""
    pools = [f"pool/{kept.pool}" for kept in change.pools]
    return (*(["fleet"] if change.settings else []), *pools, *(f"tenant/{one.tenant}" for one in change.tenants))


def _settings(change: Change, now: Session) -> FleetConfig:
    """The fleet's settings once it is taken back."""
    return settings_of(change.settings, present=now.config) if change.settings else now.config


def _found(change: Change, now: Session) -> list[Difference]:
    """What taking it back changes, field by field."""
    intents = {one.service.name: one for one in now.store.intents()[0]}
    pools = {pool.name: pool for pool in now.store.intents()[1]}
    tenants = {tenant.name: tenant for tenant in now.store.tenants()}
    found = list(differences("fleet", now.config, _settings(change, now)))
    for one in change.tenants:
        found += differences(f"tenant/{one.tenant}", tenants.get(one.tenant), one.declared)
    for kept in change.pools:
        if kept.declared is not None:
            found += differences(f"pool/{kept.pool}", pools.get(kept.pool), kept.declared)
    for each in change.intents:
        present = intents.get(each.service)
        subject = f"service/{each.service}"
        wanted = each.intent
        if wanted is None:
            if present is not None and present.up:
                found.append(Difference(subject=subject, field="", before="up", after="down"))
            continue
        found += _states(subject, present, wanted)
        found += differences(subject, None if present is None else present.service, wanted.service)
    return found


def _states(subject: str, present: Intent | None, wanted: Intent) -> list[Difference]:
    if present is None:
        return []
    pairs = (
        ("", "up" if present.up else "down", "up" if wanted.up else "down"),
        ("count", _count(present.override), _count(wanted.override)),
        ("rollout", "paused" if present.paused else "goes on", "paused" if wanted.paused else "goes on"),
    )
    return [Difference(subject=subject, field=name, before=was, after=will) for name, was, will in pairs if was != will]


def _count(override: Override | None) -> str:
    if override is None:
        return "by its policy"
    return f"{'held at' if override.held else 'set to'} {override.replicas}"


def _agree(change: Change, now: Session, config: FleetConfig, *, yes: bool) -> None:
    """Ask where what comes back may rent more than what is up now."""
    present = {one.service.name: one for one in now.store.intents()[0]}
    back = [
        _as_counted(each.intent)
        for each in change.intents
        # What is wanted just so already rents nothing that was not agreed to.
        if each.intent is not None and each.intent.up and not _alike(each.intent, present.get(each.service))
    ]
    if not back or (not bills(config) and config.max_cost_per_hour is None):
        return
    pools = tuple(kept.declared for kept in change.pools if kept.declared is not None)
    costs = costs_of(Fleet(config=config, pools=pools), back, now.view(), now.home)
    for warning in costs.warnings:
        say(f"warning: {warning}")
    within_limit(costs, retry="fleetctl undo")
    if bills(config):
        confirm(replace(costs, rises=costs.rises or costs.grows), yes=yes, retry="fleetctl undo", home=now.home)


def _alike(intent: Intent, present: Intent | None) -> bool:
    """Whether the Service is wanted in the same way already."""
    return present is not None and (intent.service, intent.up, intent.override, intent.added) == (
        present.service,
        present.up,
        present.override,
        present.added,
    )


def _as_counted(intent: Intent) -> Service:
    given = intent.override
    over = given is None or (given.until is not None and given.until <= time.time())
    service = intent.timetabled().service
    return service if given is None or over else as_scaled(service, given.replicas)


def _report(change: Change, found: Sequence[Difference], output: Format) -> None:
    if output is Format.NAME:
        sys.stdout.writelines(f"service/{each.service}\n" for each in change.intents)
        sys.stdout.writelines(f"{one}\n" for one in _also(change))
    elif output is not Format.TABLE:
        document({"command": change.command, "at": change.at, "items": list(found)}, output)
    elif found:
        sys.stdout.write(differences_text(found))
    else:
        say("nothing differs from what was wanted before")
