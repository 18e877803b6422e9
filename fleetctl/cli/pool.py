"""`fleetctl pool` (Control): Pools of machines: ls, cordon, uncordon, drain.

Example: fleetctl pool drain gpus --dry-run
Example: fleetctl pool ls -o wide
Example: fleetctl pool cordon gpus
Example: fleetctl pool uncordon gpus
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Annotated, NoReturn

import typer

from fleetctl.cli.asking import ask
from fleetctl.cli.changing import DryRun, told_dry, told_stored
from fleetctl.cli.labels import labels_column
from fleetctl.cli.output import Column, Format, Listing, Output, document, say, show
from fleetctl.cli.session import Session, session
from fleetctl.cli.subjects import subject_of
from fleetctl.errors import UsageError
from fleetctl.model.orders import Order, Wish
from fleetctl.model.records import dataclass
from fleetctl.views.figures import dollars, several
from fleetctl.views.fleet import FleetView, service_rows
from fleetctl.views.looks import pool_lines

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Pools of machines.")

Where = Annotated[str, typer.Argument(help="A pool, or one machine as instance/ID", metavar="POOL|instance/ID")]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRow:
    """One Pool, for people and programs."""

    name: str
    state: str
    """open, cordoned, draining."""
    services: tuple[str, ...]
    """Those that are up."""
    instances: int
    ready: int
    closed_instances: tuple[str, ...]
    """Cordoned or draining one by one."""
    gpus: int
    gpus_used: int
    spot: int
    standby: str
    max: int
    price_per_hour: float | None
    labels: Mapping[str, str] = field(default_factory=dict)


POOLS: tuple[Column[PoolRow], ...] = (
    Column(header="POOL", cell=lambda row: row.name),
    Column(header="STATE", cell=lambda row: _state(row)),
    Column(header="INSTANCES", cell=lambda row: f"{row.ready}/{row.instances}", right=True),
    Column(header="MAX", cell=lambda row: str(row.max), right=True, drop=5),
    Column(header="GPUS", cell=lambda row: f"{row.gpus_used} of {row.gpus}", right=True, drop=3),
    Column(header="SPOT", cell=lambda row: str(row.spot), right=True, drop=6),
    Column(header="STANDBY", cell=lambda row: row.standby, drop=2),
    Column(header="$/H", cell=lambda row: dollars(row.price_per_hour), right=True, drop=1),
    Column(header="SERVICES", cell=lambda row: ",".join(row.services) or "-", drop=4),
    labels_column(lambda row: row.labels),
)


def _state(row: PoolRow) -> str:
    return row.state + (f", {len(row.closed_instances)} machines not" if row.closed_instances else "")


def pool_list(now: Session) -> Listing[PoolRow]:
    """Every Pool that is declared, has machines, or belongs to a Service that is up."""
    view = now.view()
    orders = {order.subject: order.wish for order in now.store.orders()}
    lines = {line.name: line for line in pool_lines(view, service_rows(view))}
    limits = {str(view.pool_of(one).name): view.pool_of(one).max for one in view.intents}
    labels = view.pool_labels
    limits |= {str(pool.name): pool.max for pool in view.pools}
    rows = []
    for name in sorted({*lines, *(str(pool.name) for pool in view.pools)}):
        line = lines.get(name)
        held = [one for one in view.by_pool.get(name, ()) if not one.over]
        rows.append(
            PoolRow(
                name=name,
                state=_WORDS.get(orders.get(f"pool/{name}"), "open"),
                services=tuple(_services_in(view, name)),
                instances=len(held),
                ready=line.ready if line is not None else 0,
                closed_instances=tuple(one.id for one in held if f"instance/{one.id}" in orders),
                gpus=line.gpus if line is not None else 0,
                gpus_used=line.gpus_used if line is not None else 0,
                spot=line.spot if line is not None else 0,
                standby=line.standby if line is not None else "-",
                max=limits.get(name, 0),
                price_per_hour=line.price_per_hour if line is not None else 0.0,
                labels=labels.get(name, {}),
            )
        )
    return Listing(rows=rows, columns=POOLS, name=lambda row: f"pool/{row.name}", empty="no pools; see: fleetctl ps -a")


_WORDS = {Wish.CORDON: "cordoned", Wish.DRAIN: "draining", None: "open"}


def _services_in(view: FleetView, pool: str) -> list[str]:
    return sorted(one.service.name for one in view.intents if one.up and one.service.pool_name == pool)


@app.command("ls")
def list_pools(output: Output = Format.TABLE) -> None:
    """List pools: what each holds, whether anything may be placed there, and what it costs. Reads the store only."""
    with session() as now:
        show(pool_list(now), output)


@app.command()
def cordon(where: Where, dry_run: DryRun = False, output: Output = Format.TABLE) -> None:
    """Place nothing new there: no machine is launched, no replica put on one. What runs goes on."""
    _order(where, Wish.CORDON, dry_run=dry_run, yes=True, output=output)


@app.command()
def drain(
    where: Where,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Cordon it and move off what runs there: others first take over; machines are given back once they are empty.

    What has no other pool to go to stays: declare its services in another pool first.
    """
    _order(where, Wish.DRAIN, dry_run=dry_run, yes=yes, output=output)


@app.command()
def uncordon(where: Where, dry_run: DryRun = False, output: Output = Format.TABLE) -> None:
    """Let machines and replicas be placed there again; ends a drain, too."""
    with session(change=not dry_run) as now:
        subject = _subject(where, now)
        if subject not in {order.subject for order in now.store.orders()}:
            say(f"{subject} was open already")
        elif dry_run:
            say(f"{subject} would be open again")
        else:
            now.store.drop_order(subject)
            say(f"{subject} is open again")
            told_stored(now)
        if dry_run:
            told_dry()
        _report(subject, "unchanged" if dry_run else "open", output)


@app.command(hidden=True)
def add(words: Annotated[list[str] | None, typer.Argument()] = None, output: Output = Format.TABLE) -> None:
    """Pools are declared in files."""
    name = next(iter(words or ()), "gpus")
    _by_file(f"write kind: pool, name: {name} and gpu: into a file of fleet/, and run: fleetctl up")


@app.command(hidden=True)
def rm(words: Annotated[list[str] | None, typer.Argument()] = None, output: Output = Format.TABLE) -> None:
    """Pools are declared in files."""
    name = next(iter(words or ()), "POOL")
    _by_file(f"take it out of its file and run: fleetctl up; to empty it before: fleetctl pool drain {name}")


def _by_file(hint: str) -> NoReturn:
    raise UsageError("pools are declared in files, not by command", hint=hint)


def _order(where: str, wish: Wish, *, dry_run: bool, yes: bool, output: Format) -> None:
    with session(change=not dry_run) as now:
        view = now.view()
        subject = _subject(where, now)
        machines, replicas = _held(view, subject)
        stuck = _stuck(view, subject)
        if wish is Wish.DRAIN:
            what = f"drain {subject}: {several(len(replicas), 'replica')} on {several(machines, 'machine')} move off"
            if not dry_run:
                ask(what, yes=yes, retry=f"fleetctl pool drain {where}", home=now.home)
            else:
                say(what)
            if stuck:
                say(
                    f"warning: {', '.join(stuck)} has no other pool, so its replicas stay until its file names one"
                    " (pool:), or until it is down"
                )
        if dry_run:
            told_dry()
        else:
            now.store.put_order(Order(subject=subject, wish=wish, at=time.time()))
            again = f"fleetctl pool uncordon {where}"
            say(f"{subject} is {_WORDS[wish]}; take it back with: {again}")
            told_stored(now)
        _report(subject, "unchanged" if dry_run else _WORDS[wish], output)


def _subject(where: str, now: Session) -> str:
    """The pool or instance meant. Raises `UsageError` for anything else."""
    view = now.view()
    pools = {str(pool.name) for pool in view.pools} | {str(one.service.pool_name) for one in view.intents}
    found = f"pool/{where}" if where in pools | set(view.by_pool) else subject_of(where, view)
    if found.partition("/")[0] not in ("pool", "instance"):
        raise UsageError(f"{found} is neither a pool nor an instance", hint="see: fleetctl pool ls, fleetctl ps -i")
    return found


def _held(view: FleetView, subject: str) -> tuple[int, Sequence[str]]:
    kind, _, name = subject.partition("/")
    held = [one for one in view.live_instances if (one.pool == name if kind == "pool" else one.id == name)]
    return len(held), [replica.id for one in held for replica in view.by_instance.get(one.id, ())]


def _stuck(view: FleetView, subject: str) -> list[str]:
    kind, _, name = subject.partition("/")
    return _services_in(view, name) if kind == "pool" else []


def _report(subject: str, state: str, output: Format) -> None:
    if output is Format.NAME:
        sys.stdout.write(f"{subject}\n")
    elif output is not Format.TABLE:
        document({"subject": subject, "state": state}, output)
