"""What the ledger says of a stretch of time, and what the days to come will cost at the rates of now."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from fleetctl.decide.schedules import bounds
from fleetctl.model.instances import Instance
from fleetctl.model.ledger import Account, Amount, Use
from fleetctl.model.records import dataclass
from fleetctl.model.services import Schedule
from fleetctl.views.fleet import FleetView
from fleetctl.views.timetables import price_of_one, wanted_without
from fleetctl.views.token_counts import NOTHING, TokenCount, together

By = Literal["service", "pool", "provider", "market"]
HOUR_S = 3600.0
STEP_S = 900.0
"""Schedules are looked at this often in a forecast: crons begin at quarters of an hour, and the rest is small."""
SHARED = "(shared)"
"""What no single Service has: GPUs that several of a Pool could use."""
TOTAL = "TOTAL"
BESIDE = "(standby and free GPUs)"
SUMS = frozenset({SHARED, BESIDE, TOTAL})
"""Lines that are of nothing with a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NowLine:
    """One billable machine, or with `--by` all of one kind."""

    name: str
    machines: int
    pool: str
    provider: str
    type: str
    gpu: str
    market: str
    price_per_hour: float | None
    """US dollars; None: some of it is not known."""
    price_source: str
    price_age_s: float | None
    """Of the oldest price in it."""
    age_s: float
    """Of the oldest machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookLine:
    """What one service, pool, provider or market used. Hours are of one GPU."""

    name: str
    gpu_hours: float
    serving: float
    idle: float
    standby: float
    starting: float
    dollars: float
    """At the prices quoted when each machine was ordered; of what has a known price."""
    unpriced_gpu_hours: float
    """Of `gpu_hours`, those whose price is unknown."""
    tokens: float | None
    """Read and written, as far as they were counted; None: none were."""
    dollars_per_million_tokens: float | None
    at_most: bool = False
    """Some tokens were not counted: a million cost no more than that."""
    note: str = ""
    """Why a million tokens' price is not known, or only what it is at most; empty: it is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastLine:
    """What one Service costs in the time to come, in US dollars; None: no price of it is known."""

    name: str
    replicas: int
    """That it has now."""
    per_hour: float | None
    day: float | None
    """In 24 hours, at the rate of now…"""
    month: float | None
    """…and in 30 days."""
    day_by_schedule: float | None
    """As its schedules have it, the load as it is now…"""
    month_by_schedule: float | None
    most_month: float | None
    """With `max` replicas all the time; standby lies within it."""


def now_lines(view: FleetView, by: By | None) -> list[NowLine]:
    """What is billed now, the dearest first; of unknown price first of all."""
    billed = [one for one in view.instances if one.billed]
    if by == "service":
        return _now_services(view, billed)
    groups: dict[str, list[Instance]] = {}
    for one in billed:
        key = {None: one.id, "pool": one.pool, "provider": one.offer.provider, "market": one.offer.market.value}[by]
        groups.setdefault(key, []).append(one)
    lines = [_now(view, name, held, 1.0) for name, held in groups.items()]
    return sorted(lines, key=lambda one: (one.price_per_hour is not None, -(one.price_per_hour or 0.0), one.name))


def _now_services(view: FleetView, billed: Sequence[Instance]) -> list[NowLine]:
    """By the GPUs that the Replicas of each take; what nobody takes is a line of its own."""
    shares: dict[str, dict[str, float]] = {}
    for one in billed:
        left = float(one.offer.gpu.count)
        for replica in view.by_instance.get(one.id, ()):
            part = min(left, float(len(replica.gpus)))
            left -= part
            held = shares.setdefault(replica.service, {})
            held[one.id] = held.get(one.id, 0.0) + part / one.offer.gpu.count
        if left > 0:
            shares.setdefault(SHARED, {})[one.id] = left / one.offer.gpu.count
    lines = []
    for service, held in shares.items():
        machines = [view.instance_of[key] for key in held]
        prices = [(one.offer.price_per_hour, held[one.id]) for one in machines]
        total = (
            None if any(price is None for price, _ in prices) else sum((price or 0.0) * part for price, part in prices)
        )
        lines.append(_now(view, service, machines, None, price=total))
    return sorted(lines, key=lambda one: (one.name == SHARED, -(one.price_per_hour or 0.0), one.name))


def _now(
    view: FleetView, name: str, held: Sequence[Instance], share: float | None, *, price: float | None = None
) -> NowLine:
    offers = [one.offer for one in held]
    prices = [one.price_per_hour for one in offers]
    known = [one for one in offers if one.price_per_hour is not None and one.price_as_of > 0]
    if share is not None:
        price = None if None in prices else sum(one or 0.0 for one in prices)

    def one_of(texts: Iterable[str]) -> str:
        every = sorted(set(texts))
        return every[0] if len(every) == 1 else f"{len(every)} kinds"

    return NowLine(
        name=name,
        machines=len(held),
        pool=one_of(one.pool for one in held),
        provider=one_of(one.provider for one in offers),
        type=one_of(one.instance_type for one in offers),
        gpu=one_of(str(one.gpu) for one in offers),
        market=one_of(one.market.value for one in offers),
        price_per_hour=price,
        price_source=one_of(one.price_source for one in known) if known else "",
        price_age_s=max((max(0.0, view.at - one.price_as_of) for one in known), default=None),
        age_s=max(view.at - one.created_at for one in held),
    )


_KEYS: Mapping[By, Callable[[Account], str]] = {
    "service": lambda one: one.service or SHARED,
    "pool": lambda one: one.pool,
    "provider": lambda one: one.provider,
    "market": lambda one: one.market,
}


def book_lines(amounts: Iterable[Amount], by: By, tokens: Mapping[str, TokenCount]) -> list[BookLine]:
    """One for each of what is asked for, the dearest first, then the total. `tokens` are by Service."""
    amounts = tuple(amounts)
    sums: dict[str, dict[str, float]] = {}
    for one in amounts:
        for name in (_KEYS[by](one.account), TOTAL):
            held = sums.setdefault(name, {})
            held[one.account.use] = held.get(one.account.use, 0.0) + one.gpu_s / HOUR_S
            held["dollars"] = held.get("dollars", 0.0) + one.dollars
            held["unpriced"] = held.get("unpriced", 0.0) + one.unpriced_gpu_s / HOUR_S
    lines = [_book(name, held, *_tokens_of(name, amounts, by, tokens)) for name, held in sums.items()]
    return sorted(lines, key=lambda one: (one.name == TOTAL, one.name == SHARED, -one.dollars, one.name))


def _tokens_of(
    name: str, amounts: Sequence[Amount], by: By, tokens: Mapping[str, TokenCount]
) -> tuple[TokenCount, str]:
    """The tokens of one line, and why they are not known."""
    if name == SHARED:
        return NOTHING, ""
    used = {one.account.service for one in amounts if name in (TOTAL, _KEYS[by](one.account))} - {""}
    if name != TOTAL:
        apart = sorted(
            one.account.service for one in amounts if one.account.service in used and _KEYS[by](one.account) != name
        )
        if apart:
            return NOTHING, f"tokens are counted by service, and {apart[0]} was served by more than {name}"
    counts = {service: tokens.get(service, NOTHING) for service in used}
    found = together(counts)
    lacking = [why for service, one in sorted(counts.items()) if (why := one.lacking(service))]
    if name == TOTAL and (found.tokens is not None or by == "service"):
        return found, ""  # the lines above it say what they lack
    return found, "; ".join(lacking)


def _book(name: str, held: Mapping[str, float], counted: TokenCount, note: str) -> BookLine:
    unpriced, dollars = held["unpriced"], held["dollars"]
    tokens = counted.tokens
    if unpriced and name not in (SHARED, TOTAL):
        note = f"part of the price of {name} is not known, so no price of its tokens is"
    return BookLine(
        name=name,
        gpu_hours=sum(held.get(use, 0.0) for use in Use),
        serving=held.get(Use.SERVING, 0.0),
        idle=held.get(Use.IDLE, 0.0),
        standby=held.get(Use.STANDBY, 0.0),
        starting=held.get(Use.STARTING, 0.0),
        dollars=dollars,
        unpriced_gpu_hours=unpriced,
        tokens=tokens,
        # Part of a price is no price.
        dollars_per_million_tokens=dollars / tokens * 1e6 if tokens and not unpriced else None,
        at_most=bool(tokens) and not unpriced and not counted.whole,
        note=note,
    )


def forecast_lines(view: FleetView) -> list[ForecastLine]:
    """Each Service that is up, the dearest first; then the total with everything billed besides them."""
    lines = []
    for declared in view.intents:
        if not declared.up:
            continue
        intent = declared.timetabled()
        service, scaling = intent.service, intent.service.scaling
        decision = view.decisions.get(service.name)
        price = price_of_one(view, intent)
        count = decision.desired if decision is not None else scaling.min
        policy = wanted_without(intent, decision)
        held = [
            _held(intent.service.schedule, policy, scaling.min, scaling.max, view.at + step * STEP_S)
            for step in _steps()
        ]
        day = held[: int(24 * HOUR_S / STEP_S)]
        lines.append(
            ForecastLine(
                name=service.name,
                replicas=count,
                per_hour=_times(price, count),
                day=_times(price, count * 24),
                month=_times(price, count * 720),
                day_by_schedule=_times(price, sum(day) * STEP_S / HOUR_S),
                month_by_schedule=_times(price, sum(held) * STEP_S / HOUR_S),
                most_month=_times(price, scaling.max * 720),
            )
        )
    lines.sort(key=lambda one: (-(one.per_hour or 0.0), one.name))
    total, unpriced = view.price_per_hour
    rest = _beside(None if unpriced else total, lines)
    if rest is None or rest > 0.005 or not lines:
        lines.append(_flat(BESIDE, rest))
    return [*lines, _total(lines)]


def _steps() -> range:
    return range(int(30 * 24 * HOUR_S / STEP_S))


def _held(schedule: tuple[Schedule, ...], policy: int, least: int, most: int, at: float) -> int:
    applied = bounds(schedule, at).applied(policy)
    return min(most, max(least, applied))


def _times(price: float | None, hours: float) -> float | None:
    return 0.0 if hours == 0 else None if price is None else price * hours


def _beside(total: float | None, lines: Sequence[ForecastLine]) -> float | None:
    rates = [one.per_hour for one in lines]
    return None if total is None or None in rates else max(0.0, total - sum(one or 0.0 for one in rates))


def _flat(name: str, rate: float | None) -> ForecastLine:
    day, month = _times(rate, 24), _times(rate, 720)
    return ForecastLine(
        name=name,
        replicas=0,
        per_hour=rate,
        day=day,
        month=month,
        day_by_schedule=day,
        month_by_schedule=month,
        most_month=month,
    )


def _total(lines: Sequence[ForecastLine]) -> ForecastLine:
    def added(pick: Callable[[ForecastLine], float | None]) -> float | None:
        values = [pick(one) for one in lines]
        return None if None in values else sum(one or 0.0 for one in values)

    return ForecastLine(
        name=TOTAL,
        replicas=sum(one.replicas for one in lines),
        per_hour=added(lambda one: one.per_hour),
        day=added(lambda one: one.day),
        month=added(lambda one: one.month),
        day_by_schedule=added(lambda one: one.day_by_schedule),
        month_by_schedule=added(lambda one: one.month_by_schedule),
        most_month=added(lambda one: one.most_month),
    )
