"""`fleetctl standby` (Control): Capacity that stands by: ls, set, promote.

Example: fleetctl standby set chat --steps 2 --tier asleep
Example: fleetctl standby ls
Example: fleetctl standby promote chat --for 2h
"""

import sys
import time
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

import typer

from fleetctl.cli.changing import DryRun, keep, told_dry, told_stored
from fleetctl.cli.following import agree
from fleetctl.cli.output import Column, Format, Listing, Output, document, say, show
from fleetctl.cli.session import duration_s, known_service, session
from fleetctl.errors import Conflict, UsageError
from fleetctl.model.records import dataclass
from fleetctl.model.services import Standby, Tier
from fleetctl.model.snapshots import Override
from fleetctl.views.figures import several
from fleetctl.views.fleet import FleetView, service_rows

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Capacity that stands by.")

STEPS_MAX = 100
Service = Annotated[str, typer.Argument(help="The service", metavar="SVC")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before machines are rented")]


class TierName(StrEnum):
    HOT = "hot"
    ASLEEP = "asleep"
    WARM = "warm"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class StandbyRow:
    """What stands by for one Service."""

    service: str
    tier: str
    ready: int
    wanted: int
    pool: str
    origin: str
    """service: stated for it; pool: its pool's; auto: sized by the policy."""
    why: str
    """Why fewer are wanted than is stated, or fewer are ready than are wanted; empty: neither is so."""


STANDBY: tuple[Column[StandbyRow], ...] = (
    Column(header="SERVICE", cell=lambda row: row.service),
    Column(header="TIER", cell=lambda row: row.tier),
    Column(header="READY", cell=lambda row: f"{row.ready}/{row.wanted}", right=True),
    Column(header="POOL", cell=lambda row: row.pool, drop=2),
    Column(header="STATED BY", cell=lambda row: row.origin, drop=1),
    Column(header="WHY", cell=lambda row: row.why or "-", drop=3),
)


def standby_list(view: FleetView) -> Listing[StandbyRow]:
    """One row for each Service that is up."""
    intents = {str(one.service.name): one for one in view.intents if one.up}
    rows = []
    for row in service_rows(view):
        intent = intents.get(row.name)
        if intent is None:
            continue
        own = intent.service.standby
        pool = view.pool_of(intent)
        stated = own or pool.standby
        rows.append(
            StandbyRow(
                service=row.name,
                tier=row.tier,
                ready=row.standby_ready,
                wanted=row.standby_wanted,
                pool=pool.name,
                origin="auto" if stated.auto else "service" if own is not None else "pool",
                why=row.standby_why,
            )
        )
    return Listing(rows=rows, columns=STANDBY, name=lambda row: f"service/{row.service}", empty="no services are up")


@app.command()
def ls(output: Output = Format.TABLE) -> None:
    """List what stands by for each service, in which tier, of how much. Reads the store only."""
    with session() as now:
        show(standby_list(now.view()), output)


@app.command("set")
def set_standby(
    service: Service,
    steps: Annotated[
        int | None, typer.Option("--steps", min=0, max=STEPS_MAX, help="Scale steps that stand by; 0: nothing")
    ] = None,
    tier: Annotated[TierName | None, typer.Option("--tier", help="How warm")] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Set how much stands by for a service, and how warm. The next `up` declares again what its file says."""
    if steps is None and tier is None:
        raise UsageError("nothing to set", hint=f"fleetctl standby set {service} --steps 1 --tier warm")
    with session(change=not dry_run) as now:
        name = known_service(now, service)
        intent = next(one for one in now.store.intents()[0] if one.service.name == name)
        if not intent.up:
            raise Conflict(f"{name} is down", hint=f"write standby: into its file, then: fleetctl up {name}")
        before = intent.service.standby or now.view().pool_of(intent).standby
        wanted = before.tier if tier is None else Tier(tier.value)
        made = replace(before, auto=before.auto and steps is None, tier=wanted)
        if steps is not None:
            made = replace(made, steps=steps, slots=None)
        changed = replace(intent.service, standby=made)
        words = [*(["--steps", str(steps)] if steps is not None else []), *(["--tier", tier.value] if tier else [])]
        line = f"standby set {name} {' '.join(words)}"
        agree(now, changed, yes=yes, again=f"fleetctl {line}", dry_run=dry_run)
        if not dry_run:
            keep(now, line, [name])
            now.store.put_service(changed, revision=intent.revision, at=time.time(), paused=intent.paused)
        say(f"{name}: {_told(before)} → {_told(made)}")
        say("its file is as it was: write it there too, or the next `fleetctl up` takes it back")
        if dry_run:
            told_dry()
        else:
            told_stored(now)
        if output is Format.NAME:
            sys.stdout.write(f"service/{name}\n")
        elif output is not Format.TABLE:
            document({"service": name, "before": before, "standby": made}, output)


@app.command()
def promote(
    service: Service,
    steps: Annotated[int, typer.Option("--steps", min=1, max=STEPS_MAX, help="So many scale steps more")] = 1,
    duration: Annotated[str, typer.Option("--for", help="So long; afterwards the policy rules again")] = "1h",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Let what stands by serve, for a while: `scale` by steps. The standby is then made anew."""
    until = time.time() + duration_s(duration)
    with session(change=not dry_run) as now:
        name = known_service(now, service)
        view = now.view()
        intent = next(one for one in view.intents if one.service.name == name)
        if not intent.up:
            raise Conflict(f"{name} is down", hint=f"fleetctl up {name}")
        scaling = intent.service.scaling
        decision = view.decisions.get(name)
        before = decision.desired if decision is not None else scaling.min
        after = min(scaling.max, before + steps * scaling.step)
        if after <= before:
            raise Conflict(
                f"{name} has its max of {scaling.max} already",
                hint="raise scaling.max in its file and run: fleetctl up",
            )
        least = replace(intent.service, scaling=replace(scaling, min=max(scaling.min, after)))
        agree(
            now,
            least,
            yes=yes,
            again=f"fleetctl standby promote {name} --steps {steps} --for {duration}",
            dry_run=dry_run,
        )
        if not dry_run:
            keep(now, f"standby promote {name}", [name])
            now.store.set_override(name, Override(replicas=after, until=until), at=time.time())
        say(f"{name}: {before} → {after} for {duration}; hand it back sooner with: fleetctl scale {name}=auto")
        if dry_run:
            told_dry()
        else:
            told_stored(now)
        if output is Format.NAME:
            sys.stdout.write(f"service/{name}\n")
        elif output is not Format.TABLE:
            document({"service": name, "before": before, "replicas": after, "until": until}, output)


def _told(standby: Standby) -> str:
    count = several(standby.slots, "slot") if standby.slots is not None else several(standby.steps, "step")
    return f"auto {standby.tier}" if standby.auto else f"{count} {standby.tier}"
