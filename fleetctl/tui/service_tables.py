"""Tables of Services and Pools."""

from collections.abc import Callable, Sequence
from typing import Final

from fleetctl.tui.listing import Listing
from fleetctl.tui.table import Cell, TableColumn
from fleetctl.tui.tones import state_text, state_tone
from fleetctl.views.charts import DemandPoint, sparkline
from fleetctl.views.figures import dollars, figure
from fleetctl.views.fleet import ServiceRow
from fleetctl.views.looks import PoolLine, pool_lines

SPARKS: Final = 12
"""Characters of the picture of what was ready lately."""


def service_columns(
    trace: Callable[[str], Sequence[DemandPoint]], limit: Callable[[str], int], *, ascii_only: bool
) -> tuple[TableColumn[ServiceRow], ...]:
    """Of the dashboard's own table. `trace` gives a Service's; `limit` what one of its Replicas serves at once."""

    def ready_lately(row: ServiceRow) -> Cell:
        points = trace(row.name)
        each = max(1, -(-len(points) // SPARKS))
        values = [max((point.ready or 0.0) for point in points[at : at + each]) for at in range(0, len(points), each)]
        return Cell(sparkline(values, ascii_only=ascii_only), "busy")

    def state(row: ServiceRow) -> Cell:
        return Cell(state_text(row.state), state_tone(row.state))

    def ready(row: ServiceRow) -> Cell:
        return Cell(f"{row.ready}/{row.desired}", "busy" if row.ready != row.desired else "")

    def load(row: ServiceRow) -> Cell:
        most, had = limit(row.name) * row.ready, row.concurrency
        over = had is not None and row.ready > 0 and had > row.target * row.ready
        return Cell(f"{figure(had)}/{most}", "bad" if over and (had or 0.0) > most else "warn" if over else "")

    def kept(row: ServiceRow) -> Cell:
        share = row.promise.kept
        if share is None:
            return Cell("-", "quiet")
        return Cell(f"{share * 100:.1f}", "bad" if share * 100 < row.promise.percentile else "good")

    return (
        TableColumn(header="SERVICE", cell=lambda row: Cell(row.name, "strong"), width=8, order=lambda row: row.name),
        TableColumn(header="GPU", cell=lambda row: Cell(row.gpu), width=7, drop=6, order=lambda row: row.gpu),
        TableColumn(header="STATE", cell=state, width=10, order=lambda row: row.state),
        TableColumn(header="READY", cell=ready, width=7, right=True, order=lambda row: row.ready),
        TableColumn(header="CONC/LIMIT", cell=load, width=10, right=True, drop=2, order=lambda row: row.concurrency),
        TableColumn(
            header="QUEUE",
            cell=lambda row: Cell(figure(row.queued), "warn" if row.queued else "quiet"),
            width=5,
            right=True,
            order=lambda row: row.queued,
        ),
        TableColumn(
            header="TTFT",
            cell=lambda row: Cell("-" if row.promise.ttft_s is None else f"{row.promise.ttft_s:.2f}s"),
            width=6,
            right=True,
            drop=4,
            order=lambda row: row.promise.ttft_s,
        ),
        TableColumn(header="KEPT%", cell=kept, width=6, right=True, drop=3, order=lambda row: row.promise.kept),
        TableColumn(
            header="$/H",
            cell=lambda row: Cell(dollars(row.price_per_hour)),
            width=8,
            right=True,
            drop=1,
            order=lambda row: row.price_per_hour,
        ),
        TableColumn(
            header="POLICY", cell=lambda row: Cell(row.policy, "quiet"), width=13, drop=8, order=lambda row: row.policy
        ),
        TableColumn(header="READY, 2H", cell=ready_lately, width=SPARKS, drop=7),
        TableColumn(
            header="WHY",
            cell=lambda row: Cell(row.trouble or row.reason, "warn" if row.trouble else "quiet"),
            width=30,
            drop=9,
            stretch=True,
        ),
    )


def pool_columns() -> tuple[TableColumn[PoolLine], ...]:
    return (
        TableColumn(header="POOL", cell=lambda one: Cell(one.name, "strong"), width=8, order=lambda one: one.name),
        TableColumn(
            header="READY",
            cell=lambda one: Cell(f"{one.ready}/{one.instances}"),
            width=6,
            right=True,
            order=lambda one: one.ready,
        ),
        TableColumn(
            header="STANDBY", cell=lambda one: Cell(one.standby, "warn" if one.standby_short else "plan"), width=10
        ),
        TableColumn(
            header="GPUS",
            cell=lambda one: Cell(f"{one.gpus_used}/{one.gpus}"),
            width=7,
            right=True,
            drop=2,
            order=lambda one: one.gpus_used,
        ),
        TableColumn(
            header="SPOT",
            cell=lambda one: Cell(str(one.spot) if one.spot else "-", "quiet"),
            width=4,
            right=True,
            drop=3,
            order=lambda one: one.spot,
        ),
        TableColumn(
            header="$/H",
            cell=lambda one: Cell(dollars(one.price_per_hour)),
            width=8,
            right=True,
            drop=1,
            order=lambda one: one.price_per_hour,
        ),
    )


def pools() -> Listing[PoolLine]:
    return Listing(
        crumb="pools",
        columns=pool_columns(),
        rows=lambda look, _: pool_lines(look.view, look.services) if look.now else [],
        name_of=lambda one: one.name,
        subject_of=lambda one: f"pool/{one.name}",
        empty="no pools; a service that is up has one",
        machines=True,
        played=False,
    )
