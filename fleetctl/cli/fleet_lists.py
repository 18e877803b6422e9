"""The lists of `ps`: services, replicas, instances. Without typer, so that a look costs little more than the store."""

from collections.abc import Sequence
from typing import Any

from fleetctl.cli.fleet_gateways import gateway_lines, told
from fleetctl.cli.labels import chosen_by, labels_column
from fleetctl.cli.output import Column, Format, Listing, show
from fleetctl.cli.session import Session, data_age, duration_s, session
from fleetctl.errors import UsageError
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

CENT = 0.01
"""Prices are shown to the cent, so less than half of one is no difference."""


def _load(row: ServiceRow) -> str:
    """The load, or from what to what it may be. A replica that is just ready is not asked yet: that is no news."""
    if row.concurrency is None or not row.trouble or row.concurrency_most in (None, row.concurrency):
        return figure(row.concurrency)
    return f"{figure(row.concurrency)}–{figure(row.concurrency_most)}"


def _standing(row: ServiceRow) -> str:
    """Its state; in a rollout with how many of the new revision are counted on, of how many."""
    if row.held_by_hand:
        return f"{row.state}, held by hand"
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
    Column(header="GPU", cell=lambda row: row.gpu or "-", wide=True),
    Column(header="POLICY", cell=lambda row: row.policy or "-", wide=True),
    Column(header="OLDEST", cell=lambda row: "-" if row.oldest_wait_s is None else ago(row.oldest_wait_s), wide=True),
    Column(header="ENDPOINT", cell=lambda row: row.endpoint, wide=True),
    Column(header="IMAGE", cell=lambda row: row.image or "-", wide=True),
    labels_column(lambda row: row.labels),
)
REPLICAS: tuple[Column[ReplicaRow], ...] = (
    Column(header="REPLICA", cell=lambda row: row.name),
    Column(header="ROLE", cell=lambda row: row.role),
    Column(header="PHASE", cell=lambda row: row.phase),
    Column(header="INSTANCE", cell=lambda row: row.instance or "-", drop=1),
    Column(header="GPU INDEX", cell=lambda row: ",".join(map(str, row.gpus)) or "-", drop=3),
    Column(header="REVISION", cell=lambda row: row.revision, drop=7),
    Column(header="FROM", cell=lambda row: row.origin, drop=4),
    Column(
        header="READY AFTER",
        cell=lambda row: "-" if row.ready_after_s is None else f"{row.ready_after_s:.1f}s",
        right=True,
        drop=5,
    ),
    Column(header="AGE", cell=lambda row: ago(row.age_s), right=True, drop=6),
    Column(header="SERVICE", cell=lambda row: row.service, wide=True),
    Column(header="ADDRESS", cell=lambda row: row.address or "-", wide=True),
    labels_column(lambda row: row.labels),
)
INSTANCES: tuple[Column[InstanceRow], ...] = (
    Column(header="INSTANCE", cell=lambda row: row.name),
    Column(header="POOL", cell=lambda row: row.pool + (" (undeclared)" if row.orphan else "")),
    Column(header="PHASE", cell=lambda row: row.phase),
    Column(header="GPUS", cell=lambda row: f"{row.used_gpus} of {row.gpu}"),
    Column(header="PROVIDER", cell=lambda row: row.provider, drop=2),
    Column(header="$/H", cell=lambda row: dollars(row.price_per_hour), right=True, drop=1),
    Column(header="AGE", cell=lambda row: ago(row.age_s), right=True, drop=3),
    Column(header="WANTED", cell=lambda row: row.wanted, wide=True),
    Column(header="FAILURE", cell=lambda row: row.failure or "-", wide=True),
    labels_column(lambda row: row.labels),
)


def beside_services(view: FleetView, rows: Sequence[ServiceRow]) -> str:
    """Why the total is more than the services' prices: one line, empty where it is not, or where a price is unknown."""
    total, unpriced = view.price_per_hour
    prices = [row.price_per_hour for row in rows]
    serving = sum(price for price in prices if price is not None)
    if unpriced or None in prices or total - serving < CENT / 2:
        return ""
    return f"services take {dollars(serving)}/h of it; the rest is their pools' standby and free GPUs: fleetctl ps -i"


def ps(
    *,
    replicas: bool = False,
    instances: bool = False,
    every: bool = False,
    labels: str | None = None,
    watch: bool = False,
    interval: str = "2s",
    output: Format = Format.TABLE,
) -> None:
    """Print one of the lists, once or until Ctrl-C."""
    interval_s = duration_s(interval)
    if replicas and instances:
        raise UsageError("-r and -i are two lists", hint="fleetctl ps -r, then: fleetctl ps -i")
    with session() as now:

        def look() -> Listing[Any]:
            view = now.view()
            every_row: Listing[Any]
            if replicas:
                every_row = replica_list(view)
            elif instances:
                every_row = instance_list(view)
            else:
                every_row = service_list(now, view, every=every)
            return chosen_by(labels, every_row)

        if watch:
            from fleetctl.cli.watching import follow

            follow(look, output, interval_s)
        show(look(), output)


def replica_list(view: FleetView) -> Listing[ReplicaRow]:
    return Listing(
        rows=replica_rows(view),
        columns=REPLICAS,
        name=lambda row: f"replica/{row.name}",
        empty="no replicas; see the services: fleetctl ps",
        notes=[_total(view)],
    )


def instance_list(view: FleetView) -> Listing[InstanceRow]:
    return Listing(
        rows=instance_rows(view),
        columns=INSTANCES,
        name=lambda row: f"instance/{row.name}",
        empty="no instances",
        notes=[_total(view)],
    )


def service_list(now: Session, view: FleetView, *, every: bool) -> Listing[ServiceRow]:
    all_rows = service_rows(view)
    rows = [row for row in all_rows if every or row.state != "down"]
    legend = beside_services(view, all_rows)
    return Listing(
        rows=rows,
        columns=SERVICES,
        name=lambda row: f"service/{row.name}",
        empty="no services are up; "
        + ("see those that are down: fleetctl ps -a" if view.intents and not every else "declare one: fleetctl init")
        + ", then fleetctl up",
        notes=[
            *(f"{row.name}: {row.trouble}. Next: fleetctl explain {row.name}" for row in rows if row.trouble),
            _total(view),
            *([legend] if legend else []),
            *told(gateway_lines(now.store, view.at)),
        ],
    )


def _total(view: FleetView) -> str:
    total, unpriced = view.price_per_hour
    more = f" + {unpriced} of unknown price" if unpriced else ""
    return f"{several(len(view.live_instances), 'instance')}, {dollars(total)}/h{more}; {data_age(view)}"
