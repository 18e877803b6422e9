"""The fleet as a tree: each Service, its Pool, the machines in it, and the Replicas on them."""

from dataclasses import dataclass
from typing import Literal

from fleetctl.model.replicas import Replica
from fleetctl.views.figures import several
from fleetctl.views.fleet import FleetView
from fleetctl.views.looks import Look


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One line of the tree."""

    depth: int
    kind: Literal["service", "pool", "instance", "replica"]
    name: str
    state: str
    note: str
    created_at: float | None = None


def branches(look: Look, *, within: str = "") -> list[Branch]:
    """Depth first, Services as the look has them. `within`: `service/NAME`; empty: all."""
    view, found = look.view, []
    told: set[str] = set()
    pool_of = {str(intent.service.name): str(view.pool_of(intent).name) for intent in view.intents}
    for row in look.services:
        if (within and within != f"service/{row.name}") or row.state == "down":
            continue
        replicas = view.replicas_of(row.name)
        found.append(
            Branch(depth=0, kind="service", name=row.name, state=row.state, note=f"{row.ready} of {row.desired} ready")
        )
        pool = pool_of.get(row.name, row.name)
        standing = [one for one in view.by_pool.get(pool, ()) if not one.over]
        note = several(len(standing), "machine") if look.now else "machines are not in the record"
        found.append(Branch(depth=1, kind="pool", name=pool, state="", note=note))
        on: dict[str | None, list[Replica]] = {}
        for one in replicas:
            on.setdefault(one.instance, []).append(one)
        for instance, held in on.items():
            found.append(_machine(view, instance))
            found += [_replica(one) for one in held]
        if pool not in told:  # the empty machines of a shared one stand below the first of its Services
            told.add(pool)
            found += [_machine(view, one.id) for one in standing if not view.by_instance.get(one.id)]
    return found


def _machine(view: FleetView, instance: str | None) -> Branch:
    machine = None if instance is None else view.instance_of.get(instance)
    if machine is None:
        return Branch(depth=2, kind="instance", name=instance or "(no machine yet)", state="pending", note="")
    offer = machine.offer
    used = view.used_gpus(machine.id)
    note = f"{used} of {offer.gpu.count} GPUs used, {offer.gpu.name} {offer.market} at {offer.provider} {offer.zone}"
    return Branch(
        depth=2,
        kind="instance",
        name=machine.id,
        state=machine.phase,
        note=note.rstrip(),
        created_at=machine.created_at,
    )


def _replica(one: Replica) -> Branch:
    state = "draining" if one.role == "draining" else str(one.phase)
    gpus = ", ".join(map(str, one.gpus))
    note = f"GPU {gpus}" if gpus else ""
    if one.failure:
        note = one.failure
    return Branch(depth=3, kind="replica", name=one.id, state=state, note=note, created_at=one.created_at)
