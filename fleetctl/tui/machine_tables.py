"""Tables of what runs and what it costs: replicas, nodes, cost, and all of it as a tree."""

from collections.abc import Callable, Sequence
from operator import attrgetter

from fleetctl.model.instances import Instance
from fleetctl.model.replicas import Replica, ReplicaPhase, Role
from fleetctl.tui.listing import Listing
from fleetctl.tui.table import Cell, TableColumn
from fleetctl.tui.tones import state_text, state_tone
from fleetctl.views.figures import ago, dollars
from fleetctl.views.looks import Look
from fleetctl.views.spending import SpendLine, spend_lines
from fleetctl.views.xray import Branch, branches


def replicas(now: Callable[[], float]) -> Listing[Replica]:
    def machine(replica: Replica) -> Cell:
        return Cell(replica.instance or "none yet", "" if replica.instance else "warn")

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
        # Those in trouble first, the others as they were: tens of thousands of them are not sorted once a second.
        worst = [one for one in found if one.phase is not ReplicaPhase.READY or one.role is Role.DRAINING]
        if not worst:
            return found
        rest = [one for one in found if one.phase is ReplicaPhase.READY and one.role is not Role.DRAINING]
        return [*sorted(worst, key=_worst), *rest]

    return Listing(
        crumb="replicas",
        columns=(
            TableColumn(header="REPLICA", cell=lambda one: Cell(one.id, "strong"), width=12, order=lambda one: one.id),
            TableColumn(header="ROLE", cell=lambda one: Cell(one.role), width=8, drop=3, order=lambda one: one.role),
            TableColumn(
                header="PHASE",
                cell=lambda one: Cell(state_text(_standing(one)), state_tone(_standing(one))),
                width=11,
                order=_standing,
            ),
            TableColumn(
                header="INSTANCE",
                cell=machine,
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
                cell=lambda one: Cell(ago(now() - one.created_at)),
                width=5,
                right=True,
                order=lambda one: -one.created_at,
            ),
            TableColumn(
                header="REVISION", cell=lambda one: Cell(one.revision, "quiet"), width=10, drop=6, stretch=True
            ),
        ),
        rows=rows,
        name_of=attrgetter("id"),
        subject_of=lambda one: f"replica/{one.id}",
        empty="no replicas; a service that is up has some: fleetctl scale SERVICE=1",
        machines=True,
        played=False,
    )


def _standing(replica: Replica) -> str:
    return "draining" if replica.role is Role.DRAINING else replica.phase


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


def nodes(now: Callable[[], float]) -> Listing[Instance]:
    def rows(look: Look, of: str) -> Sequence[Instance]:
        kind, _, name = of.partition("/")
        found = look.view.by_pool.get(name, []) if kind == "pool" else look.view.instances
        if kind == "instance":
            found = [one for one in found if one.id == name]
        return [one for one in found if not one.over]

    def trouble(one: Instance) -> Cell:
        if one.notice is not None:
            return Cell(one.notice.told(now()), "warn")
        return Cell(one.failure or "", "bad")

    return Listing(
        crumb="nodes",
        columns=(
            TableColumn(header="INSTANCE", cell=lambda one: Cell(one.id, "strong"), width=12, order=lambda one: one.id),
            TableColumn(header="POOL", cell=lambda one: Cell(one.pool), width=12, drop=3, order=lambda one: one.pool),
            TableColumn(
                header="PHASE",
                cell=lambda one: Cell(state_text(one.phase), state_tone(one.phase)),
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
                drop=5,
                order=lambda one: one.offer.market,
            ),
            TableColumn(
                header="PROVIDER", cell=lambda one: Cell(f"{one.offer.provider} {one.offer.zone}"), width=18, drop=4
            ),
            TableColumn(
                header="$/H",
                cell=lambda one: Cell(dollars(one.offer.price_per_hour)),
                width=8,
                right=True,
                drop=2,
                order=lambda one: one.offer.price_per_hour,
            ),
            TableColumn(
                header="AGE",
                cell=lambda one: Cell(ago(now() - one.created_at)),
                width=5,
                right=True,
                order=lambda one: -one.created_at,
            ),
            TableColumn(header="TROUBLE", cell=trouble, width=10, drop=1, stretch=True),
        ),
        rows=rows,
        name_of=attrgetter("id"),
        subject_of=lambda one: f"instance/{one.id}",
        empty="no machines; they come with the first replica",
        machines=True,
        played=False,
    )


_OF = {"fleet": "strong", "pool": "plan", "service": "busy", "unused": "quiet", "instance": ""}


def cost(now: Callable[[], float]) -> Listing[SpendLine]:
    """What it costs an hour and has cost so far: in all, then by Pool, Service and machine, the dearest first."""

    def subject(one: SpendLine) -> str:
        return f"{one.of}/{one.name}" if one.of in ("pool", "service", "instance") else ""

    return Listing(
        crumb="cost",
        columns=(
            TableColumn(header="NAME", cell=lambda one: Cell(one.name, "strong"), width=12, order=lambda one: one.name),
            TableColumn(header="OF", cell=lambda one: Cell(one.of, _OF[one.of]), width=8, order=lambda one: one.of),
            TableColumn(
                header="$/H",
                cell=lambda one: Cell(dollars(one.per_hour), "warn" if one.per_hour is None else ""),
                width=9,
                right=True,
                order=lambda one: one.per_hour,
            ),
            TableColumn(
                header="SO FAR",
                cell=lambda one: Cell("-" if one.of == "unused" else dollars(one.so_far)),
                width=10,
                right=True,
                order=lambda one: one.so_far,
            ),
            TableColumn(
                header="MACHINES",
                cell=lambda one: Cell(f"{one.machines:.2f}" if one.machines % 1 else f"{one.machines:.0f}"),
                width=8,
                right=True,
                drop=2,
                order=lambda one: one.machines,
            ),
            TableColumn(header="WHAT", cell=lambda one: Cell(one.note, "quiet"), width=20, drop=3, stretch=True),
        ),
        rows=lambda look, of: spend_lines(look.view, at=now(), within=of),
        name_of=lambda one: f"{one.of} {one.name}",
        subject_of=subject,
        empty="nothing costs money now",
        machines=True,
        played=False,
    )


def xray(now: Callable[[], float]) -> Listing[Branch]:
    """Each Service, its Pool, the machines in it and the Replicas on them."""
    return Listing(
        crumb="xray",
        columns=(
            TableColumn(
                header="SERVICE > POOL > INSTANCE > REPLICA",
                cell=lambda one: Cell("  " * one.depth + one.name, "strong" if one.depth == 0 else ""),
                width=38,
                order=None,
            ),
            TableColumn(header="KIND", cell=lambda one: Cell(one.kind, "quiet"), width=8, drop=2),
            TableColumn(
                header="STATE",
                cell=lambda one: Cell(state_text(one.state), state_tone(one.state)) if one.state else Cell(""),
                width=13,
            ),
            TableColumn(
                header="AGE",
                cell=lambda one: Cell("" if one.created_at is None else ago(now() - one.created_at)),
                width=4,
                right=True,
                drop=3,
            ),
            TableColumn(header="WHAT", cell=lambda one: Cell(one.note, "quiet"), width=16, drop=1, stretch=True),
        ),
        rows=lambda look, of: branches(look, within=of),
        name_of=lambda one: f"{one.kind} {one.name}",
        subject_of=lambda one: f"{one.kind}/{one.name}" if one.state or one.kind == "pool" else "",
        empty="no services are up; declare one: fleetctl init, then fleetctl up",
        machines=True,
        unnamed=True,
        played=False,
    )
