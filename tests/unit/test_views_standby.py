"""What stands by, as it is told: the figure is of what could be used, and says why it is less than the file has."""

from dataclasses import replace

import pytest
from fleet_world import World, a_service, an_offer, scaled

from fleetctl.decide.standing import own_pool
from fleetctl.model.decisions import Decision
from fleetctl.model.names import PoolName
from fleetctl.model.services import Pool, Standby, Tier
from fleetctl.model.snapshots import Intent, State
from fleetctl.views.fleet import FleetView, service_rows, view_of
from fleetctl.views.past import past_row
from fleetctl.views.standbys import standby_figure

WARM = Standby(steps=1, tier=Tier.WARM)


def a_view(world: World) -> FleetView:
    snapshot = world.snapshot()
    state = State(instances=world.instances, replicas=world.replicas, memories=world.memories, counters={}, places={})
    decisions = {one.service: one for one in world.plan.decisions}
    return view_of((snapshot.intents, snapshot.pools), state, decisions, None, listen="127.0.0.1:1", now=world.now)


@pytest.mark.parametrize(
    ("step", "most", "serving", "ready", "waits", "wanted", "why"),
    [
        (1, 4, 1, 1, "", 1, ""),
        (1, 4, 1, 0, "", 1, "1 of 1 not ready yet"),
        (1, 4, 1, 0, "pool gpus has its max of 2 instances", 1, "pool gpus has its max of 2 instances"),
        (1, 4, 4, 0, "", 0, "4 of max 4 serve, so what stands by could not be used"),
        (3, 4, 3, 1, "", 1, "3 of max 4 serve, so only 1 of 3 could be used"),
        (1, 4, 5, 0, "", 0, "5 of max 4 serve, so what stands by could not be used"),
    ],
)
def test_no_more_stands_by_than_could_serve(
    step: int, most: int, serving: int, ready: int, waits: str, wanted: int, why: str
) -> None:
    service = replace(scaled(a_service(), step=step, max=most), standby=WARM)
    intent = Intent(service=service, revision="r1")

    found = standby_figure(intent, own_pool(service), None, serving=serving, ready=ready, waits=waits)

    assert (found.ready, found.wanted, found.why) == (ready, wanted, why)


def test_what_is_down_wants_nothing_to_stand_by() -> None:
    service = replace(a_service(), standby=WARM)

    found = standby_figure(
        Intent(service=service, revision="r1", up=False), own_pool(service), None, serving=0, ready=1
    )

    assert (found.wanted, found.why) == (0, "the service is down")


def at_its_max() -> World:
    pool = Pool(name=PoolName("gpus"), gpu=a_service().gpu, standby=WARM, max=4)
    world = World(
        replace(scaled(a_service(pool=pool.name), min=2, max=2), standby=None), pools=(pool,), offers=[an_offer()]
    )
    world.settle()
    return world


def test_a_service_at_its_max_lacks_no_standby() -> None:
    (row,) = service_rows(a_view(at_its_max()))

    assert (row.standby_ready, row.standby_wanted) == (0, 0)
    assert row.standby_why == "2 of max 2 serve, so what stands by could not be used"


def test_below_its_max_it_is_there_as_wanted() -> None:
    pool = Pool(name=PoolName("gpus"), gpu=a_service().gpu, standby=WARM, max=4)
    world = World(
        replace(scaled(a_service(pool=pool.name), min=1, max=2), standby=None), pools=(pool,), offers=[an_offer()]
    )
    world.settle()

    (row,) = service_rows(a_view(world))

    assert (row.standby_ready, row.standby_wanted, row.standby_why) == (1, 1, "")


def test_an_earlier_time_has_the_figures_of_its_decision() -> None:
    pool = Pool(name=PoolName("gpus"), gpu=a_service().gpu, standby=WARM, max=4)
    world = World(
        replace(scaled(a_service(pool=pool.name), min=1, max=2), standby=None), pools=(pool,), offers=[an_offer()]
    )
    world.settle()
    view = a_view(world)
    (intent,) = view.intents
    decision: Decision = world.decision()

    then = past_row(view, intent, decision)
    older = past_row(view, intent, replace(decision, inputs=None))

    assert (then.standby_ready, then.standby_wanted, then.tier, then.standby_why) == (1, 1, "warm", "")
    assert (older.standby_ready, older.standby_wanted) == (0, 0)
    assert older.standby_why == "not recorded: an older fleetctl decided this"
