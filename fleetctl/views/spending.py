"""What the fleet costs now and has cost so far, in all, by Pool, by Service and by machine."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from fleetctl.model.instances import Instance
from fleetctl.views.figures import several
from fleetctl.views.fleet import FleetView

SECONDS_AN_HOUR = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendLine:
    """One line. Prices in US dollars; None: not all of them are known."""

    of: Literal["fleet", "pool", "service", "unused", "instance"]
    """`unused`: what no serving Replica takes, standby included."""
    name: str
    per_hour: float | None
    so_far: float | None
    """Of the machines that are there now, since each of them was ordered."""
    machines: float
    """How many; of a Service, the share of them that its Replicas take."""
    note: str


def spend_lines(view: FleetView, *, at: float, within: str = "") -> list[SpendLine]:
    """The total first, then Pools, Services, what nobody uses, machines, each the dearest first.

    `within` is `service/NAME` or `pool/NAME`; empty: the fleet.
    """
    kind, _, name = within.partition("/")
    billed = [one for one in view.instances if one.billed and (kind != "pool" or one.pool == name)]
    if kind == "service":
        mine = {one.instance for one in view.replicas_of(name)}
        billed = [one for one in billed if one.id in mine]
    pools: dict[str, list[Instance]] = {}
    for one in billed:
        pools.setdefault(one.pool, []).append(one)
    services = _services(view, billed, at)
    total = _line("fleet", "TOTAL", billed, at, note=_unpriced(billed))
    used = [one for one in services if kind != "service" or one.name == name]
    lines = [_line("pool", pool, held, at, note=_unpriced(held)) for pool, held in pools.items()]
    unused = SpendLine(
        of="unused",
        name="(not in use)",
        per_hour=_less(total.per_hour, services, "per_hour"),
        so_far=None,
        machines=max(0.0, total.machines - sum(one.machines for one in services)),
        note="standby, starting and idle",
    )
    machines = [_line("instance", one.id, [one], at, note=_machine(one)) for one in billed]
    return [total, *_dearest(lines), *_dearest(used), unused, *_dearest(machines)] if billed else []


def _services(view: FleetView, billed: Sequence[Instance], at: float) -> list[SpendLine]:
    """What the Replicas of each Service take of these machines, by the GPUs that are theirs."""
    by_id = {one.id: one for one in billed}
    found = []
    for service, replicas in view.by_service.items():
        share, hour, so_far, known = 0.0, 0.0, 0.0, True
        for replica in replicas:
            machine = None if replica.instance is None else by_id.get(replica.instance)
            if machine is None or replica.role == "hot" or replica.role == "asleep":
                continue
            part = len(replica.gpus) / machine.offer.gpu.count
            share += part
            price = machine.offer.price_per_hour
            known = known and price is not None
            hour += part * (price or 0.0)
            so_far += part * (price or 0.0) * max(0.0, at - replica.created_at) / SECONDS_AN_HOUR
        if share:
            found.append(
                SpendLine(
                    of="service",
                    name=service,
                    per_hour=hour if known else None,
                    so_far=so_far if known else None,
                    machines=share,
                    note=several(len(replicas), "replica"),
                )
            )
    return found


def _line(
    of: Literal["fleet", "pool", "instance"], name: str, held: Sequence[Instance], at: float, *, note: str
) -> SpendLine:
    prices = [(one.offer.price_per_hour, max(0.0, at - one.created_at)) for one in held]
    known = all(price is not None for price, _ in prices)
    return SpendLine(
        of=of,
        name=name,
        per_hour=sum(price or 0.0 for price, _ in prices) if known else None,
        so_far=sum((price or 0.0) * age_s / SECONDS_AN_HOUR for price, age_s in prices) if known else None,
        machines=len(held),
        note=note,
    )


def _machine(one: Instance) -> str:
    return f"{one.offer.gpu} {one.offer.market} at {one.offer.provider} {one.offer.zone}, {one.phase}".replace(
        "  ", " "
    )


def _unpriced(held: Iterable[Instance]) -> str:
    count = sum(1 for one in held if one.offer.price_per_hour is None)
    return f"the price of {count} is not known" if count else ""


def _less(total: float | None, parts: Sequence[SpendLine], field: Literal["per_hour"]) -> float | None:
    values = [getattr(one, field) for one in parts]
    return None if total is None or any(value is None for value in values) else max(0.0, total - sum(values))


def _dearest(lines: Iterable[SpendLine]) -> list[SpendLine]:
    return sorted(lines, key=lambda one: (-(one.per_hour or 0.0), one.name))
