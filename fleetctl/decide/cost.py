"""What the files will cost before anything is done: each Pool's machines now, then and at most, and their prices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from fleetctl.decide.placement import gpus_needed
from fleetctl.decide.schedules import bounds
from fleetctl.decide.sleeping import shares
from fleetctl.decide.standing import own_pool, standby_of, standby_slots
from fleetctl.model.instances import Instance, Offer
from fleetctl.model.names import PoolName
from fleetctl.model.services import Gpu, Market, Pool, Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Machines of one Pool and one Offer. `then` is once all is up at the least load, never fewer than run now."""

    pool: PoolName
    services: tuple[str, ...]
    """Those that are to be up in the Pool."""
    offer: Offer | None
    """None: nobody offers what the Pool needs, or its Provider did not say."""
    now: int
    then: int
    most: int
    """Once every Service is at its max; a Pool never has more than its own."""

    @property
    def rise_per_hour(self) -> float | None:
        """US dollars an hour; None: machines are added whose price is unknown."""
        return 0.0 if self.then == self.now else self.per_hour(self.then - self.now)

    def per_hour(self, count: int) -> float | None:
        """What so many of its machines cost; None: not known."""
        if count == 0:
            return 0.0
        price = None if self.offer is None else self.offer.price_per_hour
        return None if price is None else price * count


def lines(
    services: Sequence[Service],
    pools: Sequence[Pool],
    instances: Sequence[Instance],
    offers: Mapping[PoolName, Sequence[Offer]],
    now: float,
) -> tuple[Line, ...]:
    """One Line for each Offer that a Pool has machines of, the best one last, where new machines are counted.

    `services` are those that are to be up; `offers` are by Pool, in the order of their Providers.
    """
    declared = {pool.name: pool for pool in pools}
    by_pool: dict[PoolName, list[Service]] = {}
    for service in services:
        by_pool.setdefault(service.pool_name, []).append(service)
    held: dict[PoolName, list[Instance]] = {}
    for instance in instances:
        if instance.billed:
            held.setdefault(instance.pool, []).append(instance)
    found: list[Line] = []
    for name in sorted({*by_pool, *held}):
        ours = by_pool.get(name, [])
        pool = declared.get(name) or (own_pool(ours[0]) if ours else None)
        found.extend(_lines(name, pool, ours, held.get(name, []), offers.get(name, ()), now))
    return tuple(found)


def _lines(
    name: PoolName,
    pool: Pool | None,
    services: Sequence[Service],
    held: Sequence[Instance],
    offers: Sequence[Offer],
    now: float,
) -> list[Line]:
    best = _best(pool, services, offers) if pool is not None else None
    counts: dict[tuple[str, str, str, str], list[Instance]] = {}
    for instance in held:
        counts.setdefault(_kind(instance.offer), []).append(instance)
    named = tuple(sorted(service.name for service in services))
    least, most = machines(pool, services, best.gpu if best is not None else None, now=now) if pool else (0, 0)
    there = len(held)
    most = max(most, least, there)
    new, could = max(0, least - there), most - there
    same = None if best is None else _kind(best)
    made = []
    for kind, group in counts.items():
        if kind != same:
            count = len(group)
            made.append(Line(pool=name, services=named, offer=group[0].offer, now=count, then=count, most=count))
    own = len(counts.get(same, ())) if same is not None else 0
    if services and (own or new or could or not made):
        made.append(Line(pool=name, services=named, offer=best, now=own, then=own + new, most=own + could))
    elif own and best is not None:
        made.append(Line(pool=name, services=named, offer=best, now=own, then=own, most=own))
    return made


def _best(pool: Pool, services: Sequence[Service], offers: Sequence[Offer]) -> Offer | None:
    """The Offer that the Pool's next machines are counted at: the least for a GPU of those that fit.

    Of a mix of markets it is one on demand: nobody can promise that spot machines are to be had.
    """
    market = pool.placement.market if pool.placement.mix is None else Market.ON_DEMAND
    fitting = [
        offer for offer in offers if offer.market is market and any(gpus_needed(one, offer.gpu) for one in services)
    ]
    return min(fitting, key=_per_gpu, default=None)


def _per_gpu(offer: Offer) -> tuple[bool, float]:
    return (offer.price_per_hour is None, (offer.price_per_hour or 0.0) / offer.gpu.count)


def _kind(offer: Offer) -> tuple[str, str, str, str]:
    return (offer.provider, offer.instance_type, str(offer.gpu), offer.market)


def machines(pool: Pool, services: Sequence[Service], machine: Gpu | None, *, now: float) -> tuple[int, int]:
    """How many machines with these GPUs the Services need at the least load and at their max, Standby counted.

    No GPUs known: the Pool's first alternative. Schedules count as they stand at `now`.
    """
    held = machine or pool.gpu[0]
    least: list[int] = []
    most: list[int] = []
    beds: list[int] = []
    for service in services:
        needed = gpus_needed(service, held)
        if needed is None:
            continue
        low, high, spare = _replicas(pool, service, now)
        if shares(pool, service):
            # Those of one Service lie apart, those of several on each other.
            beds = [max(pair) for pair in zip_longest(beds, [needed] * spare, fillvalue=0)]
            spare = 0
        least += [needed] * (low + spare)
        most += [needed] * high
    least += beds
    floor = min(pool.min, pool.max) if services else 0
    return (
        min(pool.max, max(floor, _packed(least, held.count))),
        min(pool.max, max(floor, _packed(most, held.count))),
    )


def _replicas(pool: Pool, service: Service, now: float) -> tuple[int, int, int]:
    """Replicas at the least load and at the most, and the Standby beside the least: it lies within `max`."""
    scaling = service.scaling
    timed = bounds(service.schedule, now)
    count = scaling.replicas if scaling.policy == "fixed" and scaling.replicas is not None else scaling.min
    serving = min(scaling.max, max(scaling.min, timed.applied(count)))
    standby = standby_of(pool, service)
    # A machine that stands by stopped runs first, to get its image and weights: it is counted as one that runs.
    spare = min(standby_slots(standby, service), scaling.max - serving)
    return serving, scaling.max, spare


def _packed(needs: Sequence[int], room: int) -> int:
    """Machines that hold Slots of these sizes, the largest first, each in the first machine with room for it."""
    free: list[int] = []
    for need in sorted(needs, reverse=True):
        for at, left in enumerate(free):
            if left >= need:
                free[at] = left - need
                break
        else:
            free.append(room - need)
    return len(free)
