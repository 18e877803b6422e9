"""`fleetctl ps` (Look): Services, replicas, standby and price."""

from typing import Annotated

import typer

from fleetctl.cli.fleet_gateways import gateway_lines, told
from fleetctl.cli.output import Column, Format, Output, emit, say
from fleetctl.cli.session import data_age, session
from fleetctl.cli.streams import pause
from fleetctl.views.figures import ago, dollars, figure, several
from fleetctl.views.fleet import (
    FleetView,
    InstanceRow,
    ReplicaRow,
    ServiceRow,
    instance_rows,
    replica_rows,
    service_rows,
)

app = typer.Typer(add_completion=False)

CENT = 0.01
"""Prices are shown to the cent, so less than half of one is no difference."""


def _load(row: ServiceRow) -> str:
    """The load, or from what to what it may be. A replica that is just ready is not asked yet: that is no news."""
    if row.concurrency is None or not row.trouble or row.concurrency_most in (None, row.concurrency):
        return figure(row.concurrency)
    return f"{figure(row.concurrency)}–{figure(row.concurrency_most)}"


def _standing(row: ServiceRow) -> str:
    """Its state; in a rollout with how many of the new revision are counted on, of how many."""
    if row.rollout is None or row.state not in ("rolling", "paused"):
        return row.state
    return f"{row.state} {row.rollout.counts.passed}/{row.rollout.counts.wanted}"


SERVICES: tuple[Column[ServiceRow], ...] = (
    Column(header="SERVICE", cell=lambda row: row.name),
    Column(header="STATE", cell=_standing),
    Column(header="READY", cell=lambda row: f"{row.ready}/{row.desired}", right=True),
    Column(header="CONC", cell=_load, right=True, drop=2),
    Column(header="QUEUE", cell=lambda row: figure(row.queued), right=True, drop=1),
    Column(header="STANDBY", cell=lambda row: f"{row.standby_ready} {row.tier}", drop=3),
    Column(header="MIN-MAX", cell=lambda row: f"{row.min}-{row.max}", drop=5),
    Column(header="$/H", cell=lambda row: dollars(row.price_per_hour), right=True, drop=4),
    Column(header="AGE", cell=lambda row: ago(row.age_s), right=True, drop=6),
)
REPLICAS: tuple[Column[ReplicaRow], ...] = (
    Column(header="REPLICA", cell=lambda row: row.name),
    Column(header="ROLE", cell=lambda row: row.role),
    Column(header="PHASE", cell=lambda row: row.phase),
    Column(header="INSTANCE", cell=lambda row: row.instance or "-", drop=1),
    Column(header="GPUS", cell=lambda row: ",".join(map(str, row.gpus)) or "-", drop=3),
    Column(header="REVISION", cell=lambda row: row.revision, drop=7),
    Column(header="FROM", cell=lambda row: row.origin, drop=4),
    Column(
        header="READY AFTER",
        cell=lambda row: "-" if row.ready_after_s is None else f"{row.ready_after_s:.1f}s",
        right=True,
        drop=5,
    ),
    Column(header="AGE", cell=lambda row: ago(row.age_s), right=True, drop=6),
)
INSTANCES: tuple[Column[InstanceRow], ...] = (
    Column(header="INSTANCE", cell=lambda row: row.name),
    Column(header="POOL", cell=lambda row: row.pool + (" (undeclared)" if row.orphan else "")),
    Column(header="PHASE", cell=lambda row: row.phase),
    Column(header="GPUS", cell=lambda row: f"{row.used_gpus} of {row.gpu}"),
    Column(header="PROVIDER", cell=lambda row: row.provider, drop=2),
    Column(header="$/H", cell=lambda row: dollars(row.price_per_hour), right=True, drop=1),
    Column(header="AGE", cell=lambda row: ago(row.age_s), right=True, drop=3),
)


def beside_services(view: FleetView) -> str:
    """Why the total is more than the services' prices: one line, empty where it is not, or where a price is unknown."""
    total, unpriced = view.price_per_hour
    prices = [row.price_per_hour for row in service_rows(view)]
    serving = sum(price for price in prices if price is not None)
    if unpriced or None in prices or total - serving < CENT / 2:
        return ""
    return f"services take {dollars(serving)}/h of it; the rest is their pools' standby and free GPUs: fleetctl ps -i"


@app.command()
def ps(
    replicas: Annotated[bool, typer.Option("--replicas", "-r", help="List replicas")] = False,
    instances: Annotated[bool, typer.Option("--instances", "-i", help="List instances")] = False,
    every: Annotated[bool, typer.Option("--all", "-a", help="Services that are down, too")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again every two seconds, until Ctrl-C")] = False,
    output: Output = Format.TABLE,
) -> None:
    """List services, or replicas (-r), or instances (-i). Reads the store only."""
    with session() as now:
        while True:
            view = now.view()
            if replicas:
                emit(
                    replica_rows(view),
                    REPLICAS,
                    output,
                    name=lambda row: f"replica/{row.name}",
                    empty="no replicas; see the services: fleetctl ps",
                )
            elif instances:
                emit(
                    instance_rows(view),
                    INSTANCES,
                    output,
                    name=lambda row: f"instance/{row.name}",
                    empty="no instances",
                )
            else:
                rows = [row for row in service_rows(view) if every or row.state != "down"]
                emit(
                    rows,
                    SERVICES,
                    output,
                    name=lambda row: f"service/{row.name}",
                    empty="no services are up; declare one: fleetctl init, then fleetctl up",
                )
                for row in rows:
                    if row.trouble and output is Format.TABLE:
                        say(f"{row.name}: {row.trouble}. Next: fleetctl explain {row.name}")
            if output is Format.TABLE:
                total, unpriced = view.price_per_hour
                more = f" + {unpriced} of unknown price" if unpriced else ""
                say(f"{several(len(view.live_instances), 'instance')}, {dollars(total)}/h{more}; {data_age(view)}")
                if not replicas and not instances and (legend := beside_services(view)):
                    say(legend)
                if not replicas and not instances:
                    for sentence in told(gateway_lines(now.store, view.at)):
                        say(sentence)
            if not watch:
                return
            pause(2.0)
