"""What `fleetctl ps` says of the total beside the prices of the services."""

from dataclasses import replace

from fleet_world import World, a_service, an_offer

from fleetctl.cli.fleet_lists import beside_services
from fleetctl.model.services import Standby
from fleetctl.views.fleet import FleetView, service_rows


def seen(world: World) -> FleetView:
    """What the store would show of that world."""
    return FleetView(
        at=world.now,
        lease=None,
        intents=tuple(world.intents.values()),
        pools=tuple(world.pools.values()),
        instances=tuple(world.instances.values()),
        replicas=tuple(world.replicas.values()),
        decisions={},
        endpoint="http://127.0.0.1:1",
        refused={},
    )


def settled(*, steps: int, price: float | None = 2.0) -> FleetView:
    """One Replica that serves on one machine, beside so many of standby."""
    service = replace(a_service(), standby=Standby(steps=steps))
    world = World(service, offers=[an_offer(price=price)])
    world.settle()
    return seen(world)


def test_standby_is_why_the_total_is_more_than_the_services_take() -> None:
    view = settled(steps=1)

    assert view.price_per_hour == (4.0, 0)
    assert beside_services(view, service_rows(view)) == (
        "services take $2.00/h of it; the rest is their pools' standby and free GPUs: fleetctl ps -i"
    )


def test_nothing_is_said_where_the_services_take_it_all() -> None:
    view = settled(steps=0)

    assert view.price_per_hour == (2.0, 0)
    assert beside_services(view, service_rows(view)) == ""


def test_nothing_is_said_where_prices_are_unknown() -> None:
    view = settled(steps=1, price=None)

    assert view.price_per_hour == (0.0, 2)
    assert beside_services(view, service_rows(view)) == ""
