"""Which Offer the next Instance is made from: what rests after a failure, which market's turn it is, what is cheapest.

A failure rests as much as it speaks of: for want of capacity this type in this zone on this market; for a quota, every
zone of the region that draws on it; for credentials, the whole Provider. Each rest doubles with the failures in a row.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from fleetctl.decide.draft import Draft
from fleetctl.decide.placement import gpus_needed
from fleetctl.decide.rests import rest_s
from fleetctl.model.instances import Instance, Listing, Offer
from fleetctl.model.places import Experience, place_of
from fleetctl.model.services import Market, Mix, Pool, Service

SHORTAGE_WEIGHT = 1.0
"""A Place that refuses half of all launches ranks as if it were this much of its price dearer by half again."""
LOSS_WEIGHT = 2.0
"""A machine that is taken away costs a cold start and what it was serving, so losses weigh more than refusals."""
SPREAD_WEIGHT = 0.05
"""Each machine that is in a zone already makes it so much dearer on the spot market: one zone's shortage takes all of
its machines at once."""


def best(draft: Draft, pool: Pool, service: Service) -> Offer | None:
    """The Offer for one more Instance, or None: nothing can be rented now that fits."""
    return next(candidates(draft, pool, service), None)


def candidates(draft: Draft, pool: Pool, service: Service) -> Iterator[Offer]:
    """What fits, does not rest, and whose Provider answers (one that is silent may hold what we need), best first."""
    offers = [
        offer
        for offer in draft.snapshot.offers.get(pool.name, ())
        if isinstance(draft.snapshot.listings.get(offer.provider), Listing)
        and gpus_needed(service, offer.gpu) is not None
        and not resting(draft, pool, offer)
        and _near_enough(draft, pool, offer)
        and not (offer.sole and _held(draft, offer))
    ]
    markets = _turns(draft, pool)
    ranked = sorted(enumerate(offers), key=lambda item: (_cost(draft, pool, item[1]), item[0]))
    for market in markets:
        yield from (offer for _, offer in ranked if offer.market is market)


def _near_enough(draft: Draft, pool: Pool, offer: Offer) -> bool:
    """Whether the Offer is where the Pool's Instances are, and those of the Services it is to be beside."""
    same = pool.placement.same
    if same is None:
        return True
    others = [draft.intents[name].service.pool_name for name in pool.placement.beside if name in draft.intents]
    pools = [pool.name, *others]
    there = [instance for name in dict.fromkeys(pools) for instance in draft.in_pool(name)]
    if not there:
        return True
    first = min(there, key=lambda instance: (instance.created_at, instance.id)).offer
    return (first.provider, first.region) == (offer.provider, offer.region) and (
        same == "region" or first.zone == offer.zone
    )


def _held(draft: Draft, offer: Offer) -> bool:
    """Whether an Instance of ours has the one machine that this Offer is."""
    return any(
        not row.over
        and (row.offer.provider, row.offer.zone, row.offer.instance_type)
        == (offer.provider, offer.zone, offer.instance_type)
        for row in draft.instances.values()
    )


def _turns(draft: Draft, pool: Pool) -> Sequence[Market]:
    """The markets to try for the next Instance, in turn."""
    mix = pool.placement.mix
    if mix is None:
        return (pool.placement.market,)
    held = [instance.offer.market for instance in draft.in_pool(pool.name) if not instance.reclaimed]
    return turns(mix, spot=held.count(Market.SPOT), others=len(held) - held.count(Market.SPOT))


def turns(mix: Mix, *, spot: int, others: int) -> Sequence[Market]:
    """The same for so many Instances of each kind: first the base, then whichever is behind its share."""
    behind = spot < mix.spot * (spot + max(0, others - mix.on_demand_base) + 1) - 1e-9
    if others < mix.on_demand_base or not behind:
        return (Market.ON_DEMAND,)
    return (Market.SPOT, Market.ON_DEMAND) if mix.fallback else (Market.SPOT,)


def _cost(draft: Draft, pool: Pool, offer: Offer) -> tuple[bool, float]:
    """Dollars an hour of one GPU, with what the Place is known for; an unknown price comes last."""
    if offer.price_per_hour is None:
        return (True, 0.0)
    cost = offer.price_per_hour / max(1, offer.gpu.count)
    now = _known(draft, offer)
    if now is not None:
        cost *= (1.0 + SHORTAGE_WEIGHT * now.shortage) * (1.0 + LOSS_WEIGHT * now.loss)
    if offer.market is Market.SPOT:
        there = sum(1 for instance in draft.in_pool(pool.name) if instance.offer.zone == offer.zone)
        cost *= 1.0 + SPREAD_WEIGHT * there
    return (False, cost)


def _known(draft: Draft, offer: Offer) -> Experience | None:
    """What is known of the Offer's Place, with the machines that were announced this very tick to be taken there."""
    place = place_of(offer)
    known = draft.snapshot.places.get(str(place))
    now = None if known is None else known.faded(draft.now)
    taken = draft.taken.get(str(place), 0)
    if not taken:
        return now
    now = now or Experience(place=place, at=draft.now)
    return replace(now, taken=now.taken + taken)


def resting(draft: Draft, pool: Pool, offer: Offer) -> str:
    """Why the Offer is not tried now, as the rows of the last hour tell; empty: it may be."""
    until, why = rests_until(draft.ever_in_pool(pool.name), offer)
    return why if draft.now < until else ""


def rests_until(rows: Iterable[Instance], offer: Offer) -> tuple[float, str]:
    """When the Offer may be tried again (Unix seconds, perhaps long ago), and why not before; (0, ""): at any time."""
    same = [row for row in rows if row.offer.provider == offer.provider]
    until, why = 0.0, ""
    for scope in ("place", "quota", "provider"):
        of_scope = [row for row in same if _reach(row, offer) == scope]
        worked_at = max(
            (row.booted_at for row in same if row.booted_at is not None and _near(row, offer, scope)), default=0.0
        )
        failed = [row for row in of_scope if row.failed_at is not None and row.failed_at > worked_at]
        last = max(failed, key=lambda row: row.failed_at or 0.0, default=None)
        if last is not None and (count := sum(row.failures for row in failed)):
            ends_at = (last.failed_at or 0.0) + rest_s(count)
            if ends_at > until:
                until, why = ends_at, last.failure or "its last launch failed"
    return until, why


def _reach(row: Instance, offer: Offer) -> str:
    """By what the failed launch of a row reaches this Offer: `place`, `quota`, `provider`; empty: not at all."""
    if row.failed_at is None or row.booted_at is not None:
        return ""
    if row.failure_code == "auth":
        return "provider"
    if row.failure_code == "quota" and _near(row, offer, "quota"):
        return "quota"
    return "place" if row.failure_code != "quota" and _near(row, offer, "place") else ""


def _near(row: Instance, offer: Offer, scope: str) -> bool:
    """Whether a row is of the same Place, draws on the same quota, or is of the same Provider."""
    if scope == "place":
        return place_of(row.offer) == place_of(offer)
    if scope == "quota":
        mine, its = row.offer, offer
        return (mine.region, mine.gpu.name, mine.market) == (its.region, its.gpu.name, its.market)
    return True


def experienced(draft: Draft) -> tuple[Experience, ...]:
    """What this tick's changes of rows add to what is known of Places."""
    found: dict[str, Experience] = {}

    def add(offer: Offer, *, launched: float = 0.0, short: float = 0.0, taken: float = 0.0) -> None:
        key = str(place_of(offer))
        known = found.get(key) or draft.snapshot.places.get(key)
        was = known.faded(draft.now) if known else Experience(place=place_of(offer), at=draft.now)
        found[key] = Experience(
            place=was.place,
            at=was.at,
            launched=was.launched + launched,
            short=was.short + short,
            taken=was.taken + taken,
        )

    for key, row in draft.instances.items():
        before = draft.snapshot.instances.get(key)
        if before is None or row is before:
            continue
        if row.booted_at is not None and before.booted_at is None and row.resumed_at is None:
            add(row.offer, launched=1.0)
        if row.failure_code == "capacity" and row.failed_at != before.failed_at:
            add(row.offer, short=1.0)
        gone = row.over and not before.over and row.phase == "lost" and not row.reclaimed
        if gone or (row.reclaimed and not before.reclaimed):
            add(row.offer, taken=1.0)
    return tuple(found.values())
