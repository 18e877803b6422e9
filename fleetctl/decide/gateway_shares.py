"""How the slots of one Service are shared out among several gateways: towards demand, as one central queue would.

With slots enough everyone gets what it needs and an equal part of the rest; with too few everyone gets its part in
proportion to what waits there, and at least one while there are as many slots as gateways with requests.
"""

from collections.abc import Iterable, Mapping, Sequence

from fleetctl.model.gateways import Front
from fleetctl.model.names import ReplicaId, ServiceName

CALM_SHARE = 0.1
"""While all gateways have too few slots, shares that would move by less than this part of all stay as they are: queues
waver from tick to tick, and each move costs a slot the time of a handshake."""

Shares = dict[str, dict[ReplicaId, int]]
"""Slots of each Replica, by the gateway's incarnation."""


def shared_out(
    service: ServiceName,
    left: Mapping[ReplicaId, int],
    fronts: Sequence[Front],
    present: Mapping[str, Mapping[ReplicaId, int]],
) -> Shares:
    """What each gateway shall have of `left`, the slots that can be given out: what it has, unless that must change."""
    shares: Shares = {front.incarnation: {} for front in fronts}
    demand = {front.incarnation: front.demand.get(service, 0) for front in fronts}
    for reached, group in _by_reach(left, fronts):
        names = [front.incarnation for front in group]
        has = {name: {one: present[name].get(one, 0) for one in reached} for name in names}
        wants = {name: demand[name] for name in names}
        waits = {front.incarnation: front.oldest_wait_s.get(service, 0.0) for front in group}
        totals = _totals(sum(reached.values()), wants, waits)
        given = has if _stays(reached, wants, has, totals) else _spread(reached, totals)
        for name in names:
            shares[name].update(given[name])
            demand[name] = max(0, demand[name] - sum(given[name].values()))
    return shares


def _by_reach(
    left: Mapping[ReplicaId, int], fronts: Sequence[Front]
) -> Iterable[tuple[dict[ReplicaId, int], list[Front]]]:
    """Replicas together with the gateways that reach them; first those that the fewest reach. Each Replica once."""
    groups: dict[tuple[str, ...], dict[ReplicaId, int]] = {}
    for replica in sorted(left):
        reach = tuple(sorted(front.incarnation for front in fronts if replica not in front.unreachable))
        if reach:
            groups.setdefault(reach, {})[replica] = left[replica]
    for reach, reached in sorted(groups.items(), key=lambda group: (len(group[0]), group[0])):
        yield reached, sorted((one for one in fronts if one.incarnation in reach), key=lambda one: one.name)


def _totals(capacity: int, demand: Mapping[str, int], waits: Mapping[str, float]) -> dict[str, int]:
    """How many of `capacity` slots each shall have; their sum is `capacity`."""
    if sum(demand.values()) <= capacity:
        spare, odd = divmod(capacity - sum(demand.values()), len(demand))
        # The odd ones go to who needs least: an idle gateway's first request is then served at once.
        order = sorted(demand, key=lambda one: (demand[one], one))
        return {one: demand[one] + spare + (place < odd) for place, one in enumerate(order)}
    asking = {one: count for one, count in demand.items() if count > 0}
    if len(asking) >= capacity:
        # Not one for each: those whose requests have waited longest, so that every gateway has its turn.
        turn = sorted(asking, key=lambda one: (-waits[one], -asking[one], one))[:capacity]
        return {one: int(one in turn) for one in demand}
    # One each, and the rest in proportion to what each needs beyond that.
    rest, needs = capacity - len(asking), sum(asking.values()) - len(asking)
    given = {one: 1 + rest * (count - 1) // needs for one, count in asking.items()}
    order = sorted(asking, key=lambda one: (-(rest * (asking[one] - 1) % needs), one))
    for one in order[: capacity - sum(given.values())]:
        given[one] += 1
    return {one: given.get(one, 0) for one in demand}


def _stays(
    reached: Mapping[ReplicaId, int],
    demand: Mapping[str, int],
    has: Mapping[str, Mapping[ReplicaId, int]],
    totals: Mapping[str, int],
) -> bool:
    """Whether what everyone has is good enough: all slots are given out, and nobody lacks what another does not use."""
    if any(sum(slots[replica] for slots in has.values()) != capacity for replica, capacity in reached.items()):
        return False
    mine = {one: sum(slots.values()) for one, slots in has.items()}
    if any(mine[one] == 0 < totals[one] for one in mine):
        return False
    if all(mine[one] >= demand[one] for one in mine):
        return True
    if any(mine[one] > max(demand[one], 1) for one in mine):
        return False
    return sum(abs(totals[one] - mine[one]) for one in mine) / 2 <= CALM_SHARE * sum(reached.values())


def _spread(reached: Mapping[ReplicaId, int], totals: Mapping[str, int]) -> Shares:
    """Every gateway's total, spread so that each has its part of each Replica: prompts that begin alike go to the
    Replica that knows them, whichever gateway they come through.

    Each part is rounded down, and the slots that are left over go to who has come off worst so far; after the last
    Replica everyone has exactly its total.
    """
    everything = sum(totals.values())
    spread: Shares = {one: dict.fromkeys(reached, 0) for one in totals}
    if not everything:
        return spread
    owed = dict.fromkeys(totals, 0)  # in parts of `everything`, so that nothing is lost to rounding
    for replica, capacity in reached.items():
        over = capacity
        for one, total in totals.items():
            part, rest = divmod(capacity * total, everything)
            spread[one][replica] = part
            owed[one] += rest
            over -= part
        for _ in range(over):
            first = max(owed, key=lambda one: (owed[one], one))
            spread[first][replica] += 1
            owed[first] -= everything
    return spread
