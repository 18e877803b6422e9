"""Which gateway may use how many slots of which Replica, where several gateways serve one fleet.

The law: for every Replica, what all gateways together may at most be using never grows beyond its slots. What a gateway
may be using is `held`: the largest of the grants that it may be following, or, where that is more, the requests that
it had in flight when it said that it follows the newest. So a slot is taken from one gateway, and that gateway has
said so, before another gets it. A gateway that is silent keeps what it held for `SILENT_S`: its process may be alive
behind a broken net, and knows to stop after `FENCED_S`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from fleetctl.decide.gateway_shares import shared_out
from fleetctl.model.gateways import Front, GatewayBeat, GatewayGrant, Heard
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Routes

SILENT_S = 60.0
"""A gateway that has not been heard for so long loses its slots: longer than a database takes to fail over."""
FENCED_S = 45.0
"""A gateway that could not say for so long that it lives gives no request to any Replica until it can again. What runs
then has the rest of `SILENT_S` to end, before others use its slots."""
LATE_S = 5.0
"""A gateway whose beats are so late gets no slots more until it is heard again: several beats in a row are missing."""

Slots = Mapping[ServiceName, Mapping[ReplicaId, int]]
"""Requests that each Replica serves at once, by Service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one tick makes of what it has heard of the gateways."""

    grants: tuple[GatewayGrant, ...]
    """Of every incarnation that may be using slots, or shall."""
    over: tuple[str, ...]
    """Incarnations that have their slots no more: silent for too long, or known to be gone."""
    heard: Mapping[str, Heard]
    """By incarnation: what the next step goes on from."""
    pending: bool
    """Slots are on their way from one gateway to another: a tick soon may complete it."""


def step(
    slots: Slots,
    beats: Sequence[GatewayBeat],
    grants: Sequence[GatewayGrant],
    heard: Mapping[str, Heard],
    now: float,
    *,
    unreachable: Mapping[str, frozenset[ReplicaId]],
    silent_s: float = SILENT_S,
) -> Step:
    """New grants in place of `grants`. `beats`: the newest of each gateway; `unreachable`: by its incarnation.

    A grant whose incarnation was never heard by this controller is held from `now` on, and so after a restart.
    """
    beat_of = {beat.incarnation: beat for beat in beats}
    replaced = {beat.replaces for beat in beats}
    known = {grant.incarnation: grant for grant in grants}
    for beat in beats:
        known.setdefault(beat.incarnation, GatewayGrant(name=beat.name, incarnation=beat.incarnation))
    hears: dict[str, Heard] = {}
    for incarnation in known:
        said, before = beat_of.get(incarnation), heard.get(incarnation)
        news = said is not None and (before is None or said.number > before.number)
        hears[incarnation] = (
            Heard(number=0 if said is None else said.number, at=now) if news or before is None else before
        )
    over = [
        incarnation
        for incarnation, grant in known.items()
        if incarnation in replaced or now - hears[incarnation].at >= silent_s
    ]
    fronts = [
        _front(beat, unreachable.get(beat.incarnation, frozenset()))
        for beat in beats
        if beat.incarnation not in over and now - hears[beat.incarnation].at < LATE_S
    ]
    staying = [grant for incarnation, grant in known.items() if incarnation not in over]
    made = divide(slots, fronts, staying)
    follows = {front.incarnation: front.follows for front in fronts}
    return Step(
        grants=made,
        over=tuple(over),
        heard={incarnation: one for incarnation, one in hears.items() if incarnation not in over},
        pending=any(follows.get(grant.incarnation, grant.number) != grant.number for grant in made),
    )


def divide(slots: Slots, fronts: Sequence[Front], grants: Sequence[GatewayGrant]) -> tuple[GatewayGrant, ...]:
    """New grants of the gateways in `fronts`; those of others, who are silent, stay.

    A gateway that has not said yet that it follows its newest grant gets no other, save that slots which are there no
    more are taken from it.
    """
    front_of = {front.incarnation: front for front in fronts}
    known = {grant.incarnation: _acknowledged(grant, front_of.get(grant.incarnation)) for grant in grants}
    wanted: dict[str, dict[ReplicaId, int]] = {incarnation: {} for incarnation in known}
    silent = [grant for incarnation, grant in known.items() if incarnation not in front_of]
    taking = [front for front in fronts if not front.leaving]
    free: dict[ReplicaId, int] = {}
    capacity_of: dict[ReplicaId, int] = {}
    for service, capacities in sorted(slots.items()):
        for replica, capacity in capacities.items():
            capacity_of[replica] = capacity
            free[replica] = max(0, capacity - may_use(known.values(), replica))
        left = {one: max(0, capacity - may_use(silent, one)) for one, capacity in capacities.items()}
        present = {incarnation: grant.slots for incarnation, grant in known.items()}
        for incarnation, shares in shared_out(service, left, taking, present).items():
            wanted[incarnation].update(shares)
    return tuple(
        grant
        if incarnation not in front_of
        else _moved(grant, front_of[incarnation], wanted[incarnation], free, capacity_of)
        for incarnation, grant in sorted(known.items())
    )


def may_use(grants: Iterable[GatewayGrant], replica: ReplicaId) -> int:
    """What all of them together may at most be using of one Replica."""
    return sum(grant.held.get(replica, 0) for grant in grants)


def leased(routes: Routes, slots: Mapping[ReplicaId, int]) -> Routes:
    """The routes of one gateway: the same Replicas, each with the slots that are this gateway's."""
    return replace(
        routes,
        routes=tuple(
            replace(
                route,
                upstreams=tuple(
                    replace(upstream, slots=min(upstream.slots, slots.get(upstream.replica, 0)))
                    for upstream in route.upstreams
                ),
            )
            for route in routes.routes
        ),
    )


def _front(beat: GatewayBeat, unreachable: frozenset[ReplicaId]) -> Front:
    in_flight: dict[ReplicaId, int] = {}
    for queue in beat.queues:
        for replica, count in queue.in_flight:
            in_flight[replica] = in_flight.get(replica, 0) + count
    return Front(
        name=beat.name,
        incarnation=beat.incarnation,
        demand={one.service: one.queued + sum(count for _, count in one.in_flight) for one in beat.queues},
        oldest_wait_s={one.service: one.oldest_wait_s for one in beat.queues},
        in_flight=in_flight,
        follows=beat.follows,
        unreachable=unreachable,
        leaving=beat.leaving,
    )


def _acknowledged(grant: GatewayGrant, front: Front | None) -> GatewayGrant:
    """The grant with `held` as small as what the gateway says allows."""
    if front is None or front.follows != grant.number:
        return grant
    held = {
        replica: most
        for replica in {*grant.slots, *front.in_flight}
        if (most := max(grant.slots.get(replica, 0), front.in_flight.get(replica, 0))) > 0
    }
    return grant if held == grant.held else replace(grant, held=held)


def _moved(
    grant: GatewayGrant,
    front: Front,
    wanted: Mapping[ReplicaId, int],
    free: dict[ReplicaId, int],
    capacity_of: Mapping[ReplicaId, int],
) -> GatewayGrant:
    """One step from what it has towards what it shall have; what it takes is taken out of `free`."""
    if front.follows != grant.number:
        wanted = {one: min(count, capacity_of.get(one, 0)) for one, count in grant.slots.items()}
    granted: dict[ReplicaId, int] = {}
    held = dict(grant.held)
    for replica, count in wanted.items():
        may = held.get(replica, 0)
        given = min(count, may + free.get(replica, 0))
        if given > may:
            free[replica] -= given - may
            held[replica] = given
        if given > 0:
            granted[replica] = given
    if granted == grant.slots and grant.number:
        return grant
    return replace(grant, number=grant.number + 1, slots=granted, held=held)
