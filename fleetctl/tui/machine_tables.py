"""Tables of what runs and what it costs: replicas, nodes, cost."""

import time
from collections.abc import Sequence

from fleetctl.model.instances import Instance
from fleetctl.model.replicas import Replica, ReplicaPhase, Role
from fleetctl.tui.listing import Listing
from fleetctl.tui.table import Cell, TableColumn
from fleetctl.tui.tones import state_text, state_tone
from fleetctl.views.figures import ago, dollars
from fleetctl.views.looks import Look


def replicas(ascii_only: bool) -> Listing[Replica]:
    def price(replica: Replica) -> str:
        return str(replica.instance or "-")

    def since_ready(replica: Replica) -> float | None:
        return None if replica.ready_at is None else replica.ready_at - replica.created_at

    def rows(look: Look, of: str) -> Sequence[Replica]:
        kind, _, name = of.partition("/")
        if kind == "service":
            found: Sequence[Replica] = look.view.replicas_of(name)
        elif kind == "instance":
            found = look.view.by_instance.get(name, [])
        else:
            found = look.view.replicas
        return sorted(found, key=_worst) if len(found) < _SORTED_MAX else found

    return Listing(
        kind="replica",
        crumb="replicas",
        columns=(
            TableColumn(header="REPLICA", cell=lambda one: Cell(one.id, "strong"), width=12, order=lambda one: one.id),
            TableColumn(header="ROLE", cell=lambda one: Cell(one.role), width=8, drop=3, order=lambda one: one.role),
            TableColumn(
                header="PHASE",
                cell=lambda one: Cell(state_text(one.phase, ascii_only=ascii_only), state_tone(one.phase)),
                width=11,
                order=lambda one: one.phase,
            ),
            TableColumn(
                header="INSTANCE",
                cell=lambda one: Cell(price(one)),
                width=14,
                drop=1,
                order=lambda one: one.instance or "",
            ),
            TableColumn(header="GPUS", cell=lambda one: Cell(",".join(map(str, one.gpus)) or "-"), width=7, drop=5),
            TableColumn(
                header="FROM", cell=lambda one: Cell(one.origin), width=7, drop=4, order=lambda one: one.origin
            ),
            TableColumn(
                header="READY AFTER",
                cell=lambda one: Cell("-" if since_ready(one) is None else f"{since_ready(one):.1f}s"),
                width=11,
                right=True,
                drop=2,
                order=since_ready,
            ),
            TableColumn(
                header="AGE",
                cell=lambda one: Cell(_ago(one.created_at)),
                width=5,
                right=True,
                order=lambda one: -one.created_at,
            ),
            TableColumn(
                header="REVISION", cell=lambda one: Cell(one.revision, "quiet"), width=10, drop=6, stretch=True
            ),
        ),
        rows=rows,
        name_of=lambda one: one.id,
        empty="no replicas",
    )


_SORTED_MAX = 2000
"""More rows stay in the store's order, by service and age: the cursor, `/` and the sort keys find what is wanted."""
_ORDER = {
    ReplicaPhase.FAILED: 0,
    ReplicaPhase.PENDING: 1,
    ReplicaPhase.PREPARING: 2,
    ReplicaPhase.LOADING: 3,
    ReplicaPhase.READY: 4,
    ReplicaPhase.ASLEEP: 5,
}


def _worst(replica: Replica) -> tuple[int, str]:
    return (3 if replica.role is Role.DRAINING else _ORDER[replica.phase], replica.service)


def nodes(ascii_only: bool) -> Listing[Instance]:
    def rows(look: Look, of: str) -> Sequence[Instance]:
        kind, _, name = of.partition("/")
        found = look.view.by_pool.get(name, []) if kind == "pool" else look.view.instances
        if kind == "instance":
            found = [one for one in found if one.id == name]
        return [one for one in found if not one.over]

    def trouble(one: Instance) -> Cell:
        if one.notice is not None:
            return Cell(one.notice.told(time.time()), "warn")
        return Cell(one.failure or "", "bad")

    return Listing(
        kind="instance",
        crumb="nodes",
        columns=(
            TableColumn(header="INSTANCE", cell=lambda one: Cell(one.id, "strong"), width=12, order=lambda one: one.id),
            TableColumn(header="POOL", cell=lambda one: Cell(one.pool), width=12, order=lambda one: one.pool),
            TableColumn(
                header="PHASE",
                cell=lambda one: Cell(state_text(one.phase, ascii_only=ascii_only), state_tone(one.phase)),
                width=13,
                order=lambda one: one.phase,
            ),
            TableColumn(
                header="GPU",
                cell=lambda one: Cell(str(one.offer.gpu)),
                width=9,
                drop=2,
                order=lambda one: str(one.offer.gpu),
            ),
            TableColumn(
                header="MARKET",
                cell=lambda one: Cell(one.offer.market),
                width=9,
                drop=4,
                order=lambda one: one.offer.market,
            ),
            TableColumn(
                header="PROVIDER", cell=lambda one: Cell(f"{one.offer.provider} {one.offer.zone}"), width=18, drop=3
            ),
            TableColumn(
                header="$/H",
                cell=lambda one: Cell(dollars(one.offer.price_per_hour)),
                width=8,
                right=True,
                drop=1,
                order=lambda one: one.offer.price_per_hour,
            ),
            TableColumn(
                header="AGE",
                cell=lambda one: Cell(_ago(one.created_at)),
                width=5,
                right=True,
                order=lambda one: -one.created_at,
            ),
            TableColumn(header="TROUBLE", cell=trouble, width=10, drop=5, stretch=True),
        ),
        rows=rows,
        name_of=lambda one: one.id,
        empty="no machines",
    )


def cost() -> Listing[Instance]:
    """Every machine that may cost money, the dearest first, and what it has cost since it is ours."""

    def spent(one: Instance) -> float | None:
        price = one.offer.price_per_hour
        return None if price is None else price * (time.time() - one.created_at) / 3600.0

    def rows(look: Look, of: str) -> Sequence[Instance]:
        billed = [one for one in look.view.instances if one.billed]
        if of.startswith("service/"):
            mine = {one.instance for one in look.view.replicas_of(of.partition("/")[2])}
            billed = [one for one in billed if one.id in mine]
        return sorted(billed, key=lambda one: -(one.offer.price_per_hour or 0.0))

    return Listing(
        kind="instance",
        crumb="cost",
        columns=(
            TableColumn(header="INSTANCE", cell=lambda one: Cell(one.id, "strong"), width=12, order=lambda one: one.id),
            TableColumn(header="POOL", cell=lambda one: Cell(one.pool), width=12, order=lambda one: one.pool),
            TableColumn(
                header="$/H",
                cell=lambda one: Cell(dollars(one.offer.price_per_hour)),
                width=8,
                right=True,
                order=lambda one: one.offer.price_per_hour,
            ),
            TableColumn(header="SO FAR", cell=lambda one: Cell(dollars(spent(one))), width=9, right=True, order=spent),
            TableColumn(
                header="MARKET",
                cell=lambda one: Cell(one.offer.market),
                width=9,
                drop=2,
                order=lambda one: one.offer.market,
            ),
            TableColumn(header="PHASE", cell=lambda one: Cell(one.phase, state_tone(one.phase)), width=10, drop=3),
            TableColumn(
                header="PRICE FROM",
                cell=lambda one: Cell(one.offer.price_source, "quiet"),
                width=12,
                drop=4,
                stretch=True,
            ),
        ),
        rows=rows,
        name_of=lambda one: one.id,
        empty="nothing costs money now",
    )


def _ago(at: float) -> str:
    return ago(time.time() - at)
