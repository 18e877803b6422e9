"""Which Offer comes next: what rests after which failure, whose market's turn it is, what is known of a Place."""

from dataclasses import replace
from typing import Literal

import pytest
from fleet_world import CLOUD, OTHER_CLOUD, START, World, a_service, an_offer
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.decide.draft import Draft
from fleetctl.decide.offers import candidates, experienced, turns
from fleetctl.model.instances import Instance, InstancePhase, Offer, Wanted
from fleetctl.model.names import InstanceId, PoolName, ServiceName
from fleetctl.model.places import HALF_LIFE_S, Experience, place_of
from fleetctl.model.services import Market, Mix, Placement

A = replace(an_offer(), zone="a", region="r1", price_per_hour=2.0)
B = replace(A, zone="b", price_per_hour=2.1)
FAR = replace(A, zone="far", region="r2", price_per_hour=2.2)
ELSEWHERE = replace(A, provider=OTHER_CLOUD, zone="z", region="r9", price_per_hour=9.0)
SPOT = replace(A, market=Market.SPOT, price_per_hour=0.7)
SPOT_B = replace(B, market=Market.SPOT, price_per_hour=0.71)


def failed(offer: Offer, code: str, *, at: float, failures: int = 1) -> Instance:
    return Instance(
        id=InstanceId(f"chat-e1-{offer.zone}-{at:g}"),
        pool=PoolName("chat"),
        offer=offer,
        wanted=Wanted.TERMINATED,
        phase=InstancePhase.TERMINATED,
        phase_at=at,
        created_at=at,
        failures=failures,
        failed_at=at,
        failure=f"refused: {code}",
        failure_code=code,
    )


def ranked(world: World, *offers: Offer) -> list[str]:
    """Zones of what could be launched next, best first; the first market's before the second's."""
    snapshot = replace(world.snapshot(), offers={PoolName("chat"): offers})
    draft = Draft(snapshot)
    service = snapshot.intents[0].service
    return [
        offer.zone if offer.market is Market.ON_DEMAND else f"{offer.zone} spot"
        for offer in candidates(draft, draft.pools[PoolName("chat")], service)
    ]


def a_world(*rows: Instance, **changes: object) -> World:
    world = World(a_service(**changes), offers=[A, ELSEWHERE])
    world.instances = {row.id: row for row in rows}
    return world


@pytest.mark.parametrize(
    ("code", "left"),
    [
        ("capacity", ["b", "far", "z"]),
        ("a code nobody knows", ["b", "far", "z"]),
        ("quota", ["far", "z"]),
        ("auth", ["z"]),
    ],
)
def test_a_failure_rests_as_much_as_it_speaks_of(code: str, left: list[str]) -> None:
    world = a_world(failed(A, code, at=START - 1.0))

    assert ranked(world, A, B, FAR, ELSEWHERE) == left


def test_a_rest_ends_and_doubles_with_each_further_failure() -> None:
    once = a_world(failed(A, "capacity", at=START - 3.0))
    often = a_world(failed(A, "capacity", at=START - 3.0, failures=4))

    assert ranked(once, A) == ["a"]
    assert ranked(often, A) == []


def test_a_success_since_then_ends_the_rest() -> None:
    worked = replace(
        failed(A, "", at=START - 0.5), failed_at=None, failure_code=None, failures=0, booted_at=START - 0.5
    )

    assert ranked(a_world(failed(A, "capacity", at=START - 1.0), worked), A) == ["a"]


def test_a_place_that_is_often_short_comes_after_one_that_is_a_little_dearer() -> None:
    world = a_world()
    world.places = {str(place_of(A)): Experience(place=place_of(A), at=START, short=3.0)}

    assert ranked(world, A, B) == ["b", "a"]


def test_what_is_known_of_a_place_fades() -> None:
    known = Experience(place=place_of(A), at=START, short=8.0, launched=2.0, taken=1.0)

    later = known.faded(START + 2 * HALF_LIFE_S)

    assert (later.short, later.launched, later.taken) == (2.0, 0.5, 0.25)
    assert later.shortage < known.shortage
    assert known.faded(START - 5.0).short == 8.0, "a clock set back makes nothing stronger"


def test_spot_spreads_over_zones() -> None:
    there = replace(
        failed(SPOT, "", at=START - 99.0),
        wanted=Wanted.RUNNING,
        phase=InstancePhase.READY,
        failed_at=None,
        failures=0,
        booted_at=START - 90.0,
    )
    placement = Placement(market=Market.SPOT)

    assert ranked(a_world(placement=placement), SPOT, SPOT_B) == ["a spot", "b spot"]
    assert ranked(a_world(there, placement=placement), SPOT, SPOT_B) == ["b spot", "a spot"]


def test_on_demand_is_what_is_left_while_spot_is_short() -> None:
    mix = Placement(market=Market.SPOT, mix=Mix(spot=1.0))
    strict = Placement(market=Market.SPOT, mix=Mix(spot=1.0, fallback=False))
    short = failed(SPOT, "capacity", at=START - 1.0)

    assert ranked(a_world(placement=mix), SPOT, A) == ["a spot", "a"]
    assert ranked(a_world(short, placement=mix), SPOT, A) == ["a"]
    assert ranked(a_world(short, placement=strict), SPOT, A) == []


@pytest.mark.parametrize(("same", "left"), [("zone", ["a"]), ("region", ["a", "b"]), (None, ["a", "b", "far", "z"])])
def test_machines_stay_where_the_first_is(same: Literal["zone", "region"] | None, left: list[str]) -> None:
    first = replace(failed(A, "", at=START - 99.0), phase=InstancePhase.READY, failed_at=None, failures=0)

    assert ranked(a_world(first, placement=Placement(same=same)), A, B, FAR, ELSEWHERE) == left


def test_machines_go_where_the_service_is_that_they_are_beside() -> None:
    first = replace(failed(B, "", at=START - 99.0), phase=InstancePhase.READY, failed_at=None, failures=0)
    theirs = replace(first, id=InstanceId("code-e1-1"), pool=PoolName("code"))
    beside = Placement(same="zone", beside=(ServiceName("code"),))
    world = World(a_service(placement=beside), a_service("code"), offers=[A])
    world.instances = {theirs.id: theirs}

    assert ranked(world, A, B, FAR) == ["b"]


@given(
    share=st.floats(0.0, 1.0),
    base=st.integers(0, 4),
    wanted=st.integers(1, 40),
)
def test_the_mix_is_kept_to_within_one_machine(share: float, base: int, wanted: int) -> None:
    mix = Mix(spot=share, on_demand_base=base)
    spot = others = 0
    for _ in range(wanted):
        if turns(mix, spot=spot, others=others)[0] is Market.SPOT:
            spot += 1
        else:
            others += 1

    assert others >= min(base, wanted)
    assert abs(spot - share * max(0, wanted - base)) <= 1.0


def test_what_happened_at_a_place_is_remembered() -> None:
    world = World(a_service(), offers=[replace(A, provider=CLOUD), ELSEWHERE])
    world.refusals[CLOUD] = ("capacity", True)
    world.load(5)
    world.run(6.0)

    found = {one.place.zone: one for one in world.places.values()}
    assert found["a"].short >= 1.0

    world.refusals.clear()
    world.run(60.0)
    assert sum(one.launched for one in world.places.values()) >= 1.0
    assert experienced(Draft(world.snapshot())) == ()
