"""What a plan counts: schedules by command as those of the file, and unknown prices only where they matter."""

from dataclasses import replace

import pytest
from fleet_world import START, World, a_service, an_offer, scaled

from fleetctl.cli.costs import rise_between, with_added
from fleetctl.decide.cost import Line, machines
from fleetctl.model.names import PoolName
from fleetctl.model.services import Gpu, Pool, Schedule
from fleetctl.model.snapshots import State
from fleetctl.views.fleet import FleetView, view_of

ALL_DAY = Schedule(cron="0 0 * * *", tz="UTC", duration_s=86_400.0, min=3)
NIGHT = Schedule(cron="0 0 * * *", tz="UTC", duration_s=3_600.0, max=1)


def a_view(*added: Schedule) -> FleetView:
    world = World(scaled(a_service(), min=1, max=4), offers=[an_offer()])
    (intent,) = world.snapshot().intents
    state = State(instances={}, replicas={}, memories={}, counters={})
    intents = (replace(intent, added=added),)
    return view_of((intents, ()), state, {}, None, listen="127.0.0.1:1", now=START)


def test_schedules_by_command_stay_beside_those_of_the_file() -> None:
    service = replace(scaled(a_service(), min=1, max=4), schedule=(NIGHT,))

    (counted,) = with_added([service], a_view(ALL_DAY, NIGHT))

    assert counted.schedule == (NIGHT, ALL_DAY), "what the file has now is there once"
    pool = Pool(name=PoolName("gpus"), gpu=(Gpu(name="L40S"),))
    assert machines(pool, [counted], None, now=START)[0] == 3
    assert machines(pool, [service], None, now=START)[0] == 1


def test_a_service_without_any_is_as_it_was() -> None:
    service = a_service()

    assert with_added([service], a_view()) == [service]
    assert with_added([service], None) == [service]


def line(pool: str, count: int, price: float | None) -> Line:
    offer = replace(an_offer(), price_per_hour=price)
    return Line(pool=PoolName(pool), services=(), offer=offer, now=0, then=count, most=count)


@pytest.mark.parametrize(
    ("before", "after", "rise", "why"),
    [
        ([line("a", 1, 2.0)], [line("a", 3, 2.0)], 4.0, "two more"),
        ([line("a", 1, 2.0), line("b", 1, None)], [line("a", 2, 2.0), line("b", 1, None)], 2.0, "b is not asked about"),
        ([line("a", 2, None)], [line("a", 2, None)], 0.0, "none is added, whatever they cost"),
        ([line("a", 1, None)], [line("a", 2, None)], None, "nobody knows"),
    ],
)
def test_the_rise_is_of_the_services_own_pool(
    before: list[Line], after: list[Line], rise: float | None, why: str
) -> None:
    assert rise_between(before, after, PoolName("a")) == rise, why
