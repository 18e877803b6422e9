"""The fleet's limit on dollars an hour, in the loop: what may not be launched, what is told, and what goes on."""

from dataclasses import replace

from fleet_world import CLOUD, NO_STANDBY, World, a_service, an_offer, scaled

from fleetctl.model.instances import InstancePhase
from fleetctl.model.names import PoolName
from fleetctl.model.services import Gpu, Pool, Standby, Tier


def _cost(world: World) -> float:
    return sum(instance.offer.price_per_hour or 0.0 for instance in world.held() if instance.billed)


def test_no_machine_is_launched_above_the_limit() -> None:
    world = World(scaled(a_service(), min=4), offers=[an_offer(price=3.0)])
    world.max_cost_per_hour = 9.0

    world.run(200.0)

    assert len(world.ready()) == 3, "exactly the limit is allowed"
    assert _cost(world) == 9.0
    assert world.decision().binding == "budget"
    assert "1 of 4 wait: one more machine at $3/h would cost more than the fleet's limit of $9/h" in (
        world.decision().reason
    )


def test_it_is_told_once_and_ends_with_the_limit() -> None:
    world = World(scaled(a_service(), min=2), offers=[an_offer(price=3.0)])
    world.max_cost_per_hour = 4.0
    world.run(120.0)
    told = world.said("no machine is launched for it")

    world.max_cost_per_hour = 6.0
    world.settle()

    assert [event.subject for event in told] == ["service/chat"]
    assert len(world.said("no machine is launched for it")) == 1
    assert len(world.ready()) == 2
    assert world.decision().binding != "budget"
    assert world.memories[world.decision().service].refused == ""


def test_a_cheaper_offer_that_fits_is_taken() -> None:
    dear = an_offer(price=5.0)
    cheap = replace(an_offer(price=1.0), zone="z2")
    world = World(scaled(a_service(), min=1), offers=[dear, cheap])
    world.max_cost_per_hour = 2.0

    world.settle()

    assert [instance.offer.zone for instance in world.held()] == ["z2"]


def test_an_unknown_price_fits_under_no_limit() -> None:
    world = World(scaled(a_service(), min=1), offers=[an_offer(price=None)])
    world.max_cost_per_hour = 1_000.0

    world.run(60.0)

    assert world.held() == []
    assert f"the price of l40sx1 at {CLOUD} is unknown" in world.decision().reason


def test_without_a_limit_an_unknown_price_is_no_hindrance() -> None:
    world = World(scaled(a_service(), min=1), offers=[an_offer(price=None)])

    world.settle()

    assert len(world.ready()) == 1


def test_a_lowered_limit_takes_nothing_away() -> None:
    world = World(scaled(a_service(), min=3), offers=[an_offer(price=3.0)])
    world.settle()

    world.max_cost_per_hour = 1.0
    world.run(60.0)

    assert len(world.ready()) == 3


def test_a_stopped_machine_is_not_started_above_the_limit() -> None:
    pool = Pool(name=PoolName("box"), gpu=(Gpu(name="L40S"),), standby=Standby(tier=Tier.STOPPED, slots=1))
    service = scaled(replace(a_service(), pool=PoolName("box"), standby=None), min=1, max=2)
    world = World(service, pools=[pool], offers=[an_offer(price=3.0)])
    world.settle()
    stopped = [instance for instance in world.held() if instance.phase is InstancePhase.STOPPED]
    assert len(stopped) == 1

    world.max_cost_per_hour = 4.0
    world.override("chat", 2)
    world.run(120.0)

    assert world.instances[stopped[0].id].phase is InstancePhase.STOPPED
    assert len(world.ready()) == 1
    assert world.decision().binding == "budget"


def test_one_services_machines_leave_less_for_another() -> None:
    first = scaled(a_service("a-first"), min=1)
    second = scaled(replace(a_service("b-second"), standby=NO_STANDBY), min=1)
    world = World(first, second, offers=[an_offer(price=3.0)])
    world.max_cost_per_hour = 5.0

    world.run(120.0)

    assert len(world.held()) == 1
    waiting = [decision.service for decision in world.plan.decisions if decision.binding == "budget"]
    assert waiting == ["b-second"]
