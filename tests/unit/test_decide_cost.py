"""What the files will cost: machines now, then and at most, and at which price, from the files and the store alone."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from fleet_world import NO_STANDBY, START, World, a_service, an_offer, scaled

from fleetctl.decide.cost import Line, lines, machines
from fleetctl.model.instances import Instance, InstancePhase, Offer
from fleetctl.model.names import InstanceId, PoolName
from fleetctl.model.services import Gpu, Market, Pool, Schedule, Service, Standby, Tier

CHAT = PoolName("chat")


def the_lines(
    *services: Service,
    pools: Sequence[Pool] = (),
    instances: Sequence[Instance] = (),
    offers: Sequence[Offer] = (an_offer(price=2.0),),
) -> tuple[Line, ...]:
    names = {*(one.pool_name for one in services), *(pool.name for pool in pools)}
    every: Mapping[PoolName, Sequence[Offer]] = dict.fromkeys(names, offers)
    return lines(services, pools, instances, every, START)


def an_instance(number: int = 1, *, offer: Offer | None = None, phase: InstancePhase = InstancePhase.READY) -> Instance:
    return Instance(
        id=InstanceId(f"chat-e1-{number}"),
        pool=CHAT,
        offer=offer or an_offer(price=2.0),
        phase=phase,
        phase_at=START,
        created_at=START,
    )


def test_a_service_of_its_own_pool_costs_its_min_now_and_its_max_at_most() -> None:
    (line,) = the_lines(scaled(a_service(), min=2, max=6))

    assert (line.now, line.then, line.most) == (0, 2, 6)
    assert line.rise_per_hour == 4.0
    assert line.per_hour(line.most) == 12.0


@pytest.mark.parametrize(
    ("standby", "expected"),
    [
        pytest.param(Standby(slots=1), (3, 6), id="standby lies within max"),
        pytest.param(Standby(steps=2), (4, 6), id="in scale steps"),
        pytest.param(Standby(slots=99), (6, 6), id="never more than max"),
        pytest.param(Standby(slots=1, tier=Tier.STOPPED), (3, 6), id="a stopped one runs first"),
        pytest.param(NO_STANDBY, (2, 6), id="none"),
    ],
)
def test_standby_is_counted(standby: Standby, expected: tuple[int, int]) -> None:
    service = replace(scaled(a_service(), min=2, max=6), standby=standby)

    (line,) = the_lines(service)

    assert (line.then, line.most) == expected


def test_slots_share_the_machines_of_a_pool_and_never_more_than_its_max() -> None:
    pool = Pool(name=PoolName("box"), gpu=(Gpu(name="L40S", count=4),), max=2, standby=NO_STANDBY)
    small = replace(scaled(a_service("small"), min=3, max=8), pool=pool.name)
    large = replace(scaled(a_service("large"), min=1, max=2), pool=pool.name, gpu=(Gpu(name="L40S", count=2),))

    (line,) = the_lines(small, large, pools=[pool], offers=[an_offer(gpus=4, price=8.0)])

    assert line.services == ("large", "small")
    assert (line.then, line.most) == (2, 2)
    assert machines(pool, [small], Gpu(name="L40S", count=4), now=START) == (1, 2)
    assert machines(replace(pool, max=9), [small, large], Gpu(name="L40S", count=4), now=START) == (2, 3)


def test_what_runs_under_load_is_not_counted_away() -> None:
    held = [an_instance(1), an_instance(2), an_instance(3)]

    (line,) = the_lines(scaled(a_service(), min=1, max=6), instances=held)

    assert (line.now, line.then, line.most) == (3, 3, 6)
    assert line.rise_per_hour == 0.0


@pytest.mark.parametrize("phase", [InstancePhase.STOPPED, InstancePhase.TERMINATED, InstancePhase.LOST])
def test_what_is_not_billed_is_not_there(phase: InstancePhase) -> None:
    (line,) = the_lines(scaled(a_service(), min=1, max=1), instances=[an_instance(phase=phase)])

    assert (line.now, line.then) == (0, 1)


def test_machines_of_another_offer_have_a_line_of_their_own_at_their_own_price() -> None:
    old = an_instance(offer=replace(an_offer(price=9.0), instance_type="older"))

    lines_ = the_lines(scaled(a_service(), min=3, max=4), instances=[old])

    assert [(line.offer.instance_type, line.now, line.then, line.most) for line in lines_ if line.offer] == [
        ("older", 1, 1, 1),
        ("l40sx1", 0, 2, 3),
    ]
    assert sum(line.per_hour(line.then) or 0.0 for line in lines_) == 13.0


def test_an_unknown_price_is_never_zero() -> None:
    (line,) = the_lines(scaled(a_service(), min=1, max=2), offers=[an_offer(price=None)])
    (nobody,) = the_lines(scaled(a_service(), min=1, max=2), offers=[])

    assert (line.rise_per_hour, line.per_hour(2)) == (None, None)
    assert (nobody.offer, nobody.then, nobody.most, nobody.rise_per_hour) == (None, 1, 2, None)


def test_the_least_for_a_gpu_is_the_one_counted_and_unknown_prices_come_last() -> None:
    pool = Pool(name=CHAT, gpu=(Gpu(name="ANY"),), standby=NO_STANDBY)
    offers = [an_offer(price=None), an_offer(gpus=8, price=8.0), an_offer(gpus=1, price=2.0)]

    (line,) = the_lines(scaled(a_service(), min=1, max=1), pools=[pool], offers=offers)

    assert line.offer is not None
    assert line.offer.instance_type == "l40sx8"


def test_only_the_pools_own_market_is_counted() -> None:
    spot = replace(an_offer(price=0.5), market=Market.SPOT)

    (line,) = the_lines(scaled(a_service(), min=1, max=1), offers=[spot, an_offer(price=2.0)])

    assert line.offer is not None
    assert line.offer.market is Market.ON_DEMAND


def test_a_schedules_floor_counts_while_it_holds() -> None:
    always = Schedule(cron="* * * * *", duration_s=3600.0, min=4)
    service = replace(scaled(a_service(), min=1, max=6), schedule=(always,))

    (line,) = the_lines(service)

    assert line.then == 4


def test_a_fixed_count_is_its_own_least() -> None:
    service = scaled(a_service(), policy="fixed", replicas=3, max=3)

    (line,) = the_lines(service)

    assert (line.then, line.most) == (3, 3)


def test_a_pool_that_no_service_is_up_in_keeps_what_it_has_and_gets_no_more() -> None:
    (line,) = the_lines(instances=[an_instance()])

    assert (line.services, line.now, line.then, line.most) == ((), 1, 1, 1)


@pytest.mark.parametrize("gpus", [1, 2, 4])
@pytest.mark.parametrize("least", [1, 3, 5])
def test_the_loop_launches_as_many_as_were_counted(gpus: int, least: int) -> None:
    pool = Pool(name=PoolName("box"), gpu=(Gpu(name="L40S", count=gpus),), standby=Standby(slots=2))
    service = replace(scaled(a_service(), min=least, max=8), pool=pool.name, standby=None)
    offer = an_offer(gpus=gpus, price=1.0)
    (line,) = the_lines(service, pools=[pool], offers=[offer])
    world = World(service, pools=[pool], offers=[offer])

    world.settle()

    assert len(world.held()) == line.then
