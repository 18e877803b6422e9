"""What the files will cost: asked of the providers, compared with what was agreed before, and confirmed."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from fleetctl.catalog import STALE_S
from fleetctl.cli.asking import ask
from fleetctl.cli.offer_rows import ask_offers, price_origin
from fleetctl.cli.output import Column
from fleetctl.decide.cost import Line, lines
from fleetctl.decide.standing import own_pool
from fleetctl.errors import FleetError, OverBudget
from fleetctl.model.instances import Offer
from fleetctl.model.names import PoolName, ProviderName
from fleetctl.model.services import Pool, Service
from fleetctl.paths import Home
from fleetctl.spec.fleet import Fleet, FleetConfig
from fleetctl.views.figures import dollars
from fleetctl.views.fleet import FleetView
from fleetctl.wiring import OWNED, configured, providers

HOURS_A_MONTH = 730.0
"""A twelfth of a year, as the clouds' own calculators have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """One billable line."""

    pool: str
    services: tuple[str, ...]
    provider: str
    type: str
    gpu: str
    zone: str
    market: str
    price_per_hour: float | None
    """Of one machine."""
    price_source: str
    price_age_s: float | None
    price_stale: bool
    now: int
    then: int
    most: int
    quota_left: int | None
    rise_per_hour: float | None
    then_per_hour: float | None
    most_per_hour: float | None
    rented: bool
    """Somebody bills for it: it is not a machine of one's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceCost:
    """What one Service adds; those of all Services add up to what the files add."""

    name: str
    unit_per_hour: float | None
    """Of one machine of the kind that its next one is counted at."""
    rise_per_hour: float | None


def delta(value: float | None) -> str:
    return "?" if value is None else f"{'+' if value > 0 else ''}{dollars(value)}".replace("$-", "-$")


COSTS: tuple[Column[CostRow], ...] = (
    Column(header="POOL", cell=lambda row: row.pool),
    Column(header="PROVIDER", cell=lambda row: row.provider or "-", drop=3),
    Column(header="TYPE", cell=lambda row: row.type or "no offer"),
    Column(header="GPU", cell=lambda row: row.gpu or "-", drop=5),
    Column(header="MARKET", cell=lambda row: row.market or "-", drop=4),
    Column(header="UNIT $/H", cell=lambda row: dollars(row.price_per_hour), right=True),
    Column(
        header="PRICE FROM",
        cell=lambda row: price_origin(row.price_source, row.price_age_s, stale=row.price_stale),
        drop=2,
    ),
    Column(header="NOW→THEN", cell=lambda row: f"{row.now}→{row.then}", right=True),
    Column(header="MOST", cell=lambda row: str(row.most), right=True),
    Column(header="QUOTA", cell=lambda row: "?" if row.quota_left is None else str(row.quota_left), right=True, drop=1),
    Column(header="Δ $/H", cell=lambda row: delta(row.rise_per_hour), right=True),
    Column(header="MOST $/H", cell=lambda row: dollars(row.most_per_hour), right=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What the fleet costs, will cost and may cost, in US dollars an hour; None: a price in it is unknown."""

    rows: tuple[CostRow, ...]
    now: float | None
    then: float | None
    most: float | None
    limit: float | None
    """`max_cost_per_hour`; None: none."""
    rises: bool
    """More rented machines than were agreed before, at the least load or at the most."""
    warnings: tuple[str, ...] = ()
    services: tuple[ServiceCost, ...] = ()
    """Of the wanted ones, in their order."""

    @property
    def per_month(self) -> float | None:
        """With the least load around the clock, in US dollars."""
        return None if self.then is None else self.then * HOURS_A_MONTH

    @property
    def grows(self) -> bool:
        """Whether more rented machines are needed at the least load than run now."""
        return any(row.then > row.now and row.rented for row in self.rows)


def costs_of(fleet: Fleet, wanted: Sequence[Service], view: FleetView | None, home: Home) -> Costs:
    """The costs of having `wanted` up besides what is up already. Asks the providers that bill; changes nothing.

    Schedules that were added by command count like those of the files.
    """
    intents = [one.timetabled() for one in view.intents] if view is not None else []
    wanted = with_added(wanted, view)
    stored_pools = view.pools if view is not None else ()
    instances = view.instances if view is not None else ()
    before = [intent.service for intent in intents if intent.up]
    names = {service.name for service in wanted}
    after = [service for service in before if service.name not in names] + list(wanted)
    pools = tuple({**{pool.name: pool for pool in stored_pools}, **{pool.name: pool for pool in fleet.pools}}.values())
    answers = asyncio.run(_ask(home, fleet.config, _pools(after, pools)))
    offers, warnings = _by_pool(answers)
    at = time.time()
    found = [_known(line) for line in lines(after, pools, instances, offers, at)]
    agreed = lines(before, stored_pools, instances, offers, at)
    rows = tuple(_row(line, at) for line in found)
    return Costs(
        rows=rows,
        now=_sum([_price(row, row.now) for row in rows]),
        then=_sum([row.then_per_hour for row in rows]),
        most=_sum([row.most_per_hour for row in rows]),
        limit=fleet.config.max_cost_per_hour,
        rises=_rises(found, agreed),
        warnings=warnings,
        services=_by_service(
            before, wanted, rows, lambda those: [_known(one) for one in lines(those, pools, instances, offers, at)]
        ),
    )


def with_added(wanted: Sequence[Service], view: FleetView | None) -> list[Service]:
    """The Services with the Schedules by command that stay beside their own."""
    added = {intent.service.name: intent.added for intent in view.intents} if view is not None else {}
    found = []
    for service in wanted:
        more = tuple(one for one in added.get(service.name, ()) if one not in service.schedule)
        found.append(replace(service, schedule=(*service.schedule, *more)) if more else service)
    return found


def _by_service(
    before: Sequence[Service],
    wanted: Sequence[Service],
    rows: Sequence[CostRow],
    count: Callable[[Sequence[Service]], Sequence[Line]],
) -> tuple[ServiceCost, ...]:
    """What each adds to those before it: where several share a machine, the first that needs it pays.

    Machines are shared within a Pool, so a price that is not known makes unknown what is added to its own Pool alone.
    """
    those = {service.name: service for service in before}
    found = []
    for service in wanted:
        there = count(list(those.values()))
        those[service.name] = service
        after = count(list(those.values()))
        units = [row.price_per_hour for row in rows if row.pool == service.pool_name]
        found.append(
            ServiceCost(
                name=service.name,
                unit_per_hour=units[-1] if units else None,
                rise_per_hour=rise_between(there, after, service.pool_name),
            )
        )
    return tuple(found)


def rise_between(there: Sequence[Line], after: Sequence[Line], pool: PoolName) -> float | None:
    """How much more a Pool costs at the least load; where no machine is added, nothing, whatever they cost."""
    before, then = ([line for line in lines if line.pool == pool] for lines in (there, after))
    if sum(line.then for line in before) == sum(line.then for line in then):
        return 0.0
    known, more = (_sum([line.per_hour(line.then) for line in lines]) for lines in (before, then))
    return None if known is None or more is None else more - known


def _pools(services: Sequence[Service], pools: Sequence[Pool]) -> list[Pool]:
    named = {pool.name: pool for pool in pools}
    return list({service.pool_name: named.get(service.pool_name) or own_pool(service) for service in services}.values())


async def _ask(
    home: Home, config: FleetConfig, pools: Sequence[Pool]
) -> Mapping[tuple[str, ProviderName], tuple[Offer, ...] | FleetError]:
    made = providers(home, config)
    try:
        return await ask_offers(made, pools)
    finally:
        for provider in made.values():
            await provider.close()


def _by_pool(
    answers: Mapping[tuple[str, ProviderName], tuple[Offer, ...] | FleetError],
) -> tuple[dict[PoolName, tuple[Offer, ...]], tuple[str, ...]]:
    """The Offers of each Pool, and what was not answered."""
    found: dict[PoolName, tuple[Offer, ...]] = {}
    warnings = []
    for (pool, name), answer in answers.items():
        if isinstance(answer, FleetError):
            warnings.append(f"{name} does not say what it offers for pool {pool}: {answer.message}")
        else:
            found[PoolName(pool)] = found.get(PoolName(pool), ()) + answer
    return found, tuple(dict.fromkeys(warnings))


def _known(line: Line) -> Line:
    """A price without a source and a date is none."""
    offer = line.offer
    if offer is None or (offer.price_source and offer.price_as_of > 0):
        return line
    return replace(line, offer=replace(offer, price_per_hour=None))


def _row(line: Line, at: float) -> CostRow:
    offer = line.offer
    priced = offer is not None and offer.price_per_hour is not None
    age_s = max(0.0, at - offer.price_as_of) if offer is not None and priced else None
    return CostRow(
        pool=line.pool,
        services=line.services,
        provider="" if offer is None else offer.provider,
        type="" if offer is None else offer.instance_type,
        gpu="" if offer is None else str(offer.gpu),
        zone="" if offer is None else offer.zone,
        market="" if offer is None else offer.market,
        price_per_hour=None if offer is None else offer.price_per_hour,
        price_source="" if offer is None or not priced else offer.price_source,
        price_age_s=age_s,
        price_stale=age_s is not None and age_s > STALE_S,
        now=line.now,
        then=line.then,
        most=line.most,
        quota_left=None if offer is None else offer.quota_left,
        rise_per_hour=line.rise_per_hour,
        then_per_hour=line.per_hour(line.then),
        most_per_hour=line.per_hour(line.most),
        rented=_rented(line),
    )


def _rented(line: Line) -> bool:
    """Without an Offer nobody knows who will bill for it: it counts."""
    return line.offer is None or line.offer.provider not in OWNED


def _price(row: CostRow, count: int) -> float | None:
    if count == 0:
        return 0.0
    return None if row.price_per_hour is None else row.price_per_hour * count


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _rises(found: Sequence[Line], agreed: Sequence[Line]) -> bool:
    """Whether any Pool may get more rented machines, now or later, than what is up already may have."""
    return any(
        _count(found, pool, least=least) > _count(agreed, pool, least=least)
        for pool in {line.pool for line in found}
        for least in (True, False)
    )


def _count(those: Sequence[Line], pool: PoolName, *, least: bool) -> int:
    return sum(line.then if least else line.most for line in those if line.pool == pool and _rented(line))


def bills(config: FleetConfig) -> bool:
    """Whether the fleet may rent anything at all."""
    return not OWNED.issuperset(configured(config))


def told(costs: Costs) -> str:
    """The sum of it, on one line."""
    limit = "" if costs.limit is None else f", at most {dollars(costs.limit)}/h are allowed"
    now, then, most = dollars(costs.now), dollars(costs.then), dollars(costs.most)
    return f"{now}/h now, {then}/h then, {most}/h with everything at its max{limit}"


def within_limit(costs: Costs, *, retry: str) -> None:
    """Raise `OverBudget` when even the least load would cost more than the fleet may, and more than now."""
    known = sum(row.then_per_hour or 0.0 for row in costs.rows)
    now = sum(_price(row, row.now) or 0.0 for row in costs.rows)
    if costs.limit is not None and known > costs.limit and known > now:
        raise OverBudget(
            f"{dollars(known)}/h are needed at the least load, and the fleet may cost at most {dollars(costs.limit)}/h",
            hint=f"lower min or standby in the files, or allow more: {retry} --max-cost-per-hour {known:.2f}",
        )


def confirm(costs: Costs, *, yes: bool, retry: str, home: Home) -> None:
    """Ask before money is spent. Raises `ConfirmationNeeded` when nobody can be asked, or the answer is no."""
    if costs.rises:
        ask(f"This may rent machines: {told(costs)}.", yes=yes, retry=retry, home=home)
