"""From what a file declares to worlds, and the same outcomes however many processes play."""

from dataclasses import replace

import pytest

from fleetctl.errors import UsageError
from fleetctl.model.names import PoolName, ServiceName
from fleetctl.model.services import ColdStart, Gpu, Pool, Scaling, Service, Slo, Standby
from fleetctl.sim.contest import (
    COLD_S,
    STANDBY_S,
    Entrant,
    Setting,
    compete,
    contestant,
    largest,
    peer,
    play_entrant,
)
from fleetctl.sim.traffic import generate

SERVICE = Service(
    name=ServiceName("chat"),
    engine="rehearsal",
    model="m",
    gpu=(Gpu(name="L40S", count=2),),
    concurrency=8,
    slo=Slo(ttft_s=3.0, percentile=95.0),
    scaling=Scaling(min=2, max=9, preset="target_concurrency", policy="target_concurrency"),
)
TRACE = generate(1, 900.0)


def setting(*services: Service, pools: tuple[Pool, ...] = ()) -> Setting:
    return Setting(
        contestants=tuple([contestant(one, TRACE, cold_s=60.0, standby_s=None, price=3.0) for one in services]),
        pools={pool.name: pool for pool in pools},
        seed=1,
    )


def entrant(*services: Service) -> Entrant:
    return Entrant(name="own", services=services)


def test_the_world_is_as_the_file_and_the_command_say() -> None:
    world = contestant(SERVICE, TRACE, cold_s=None, standby_s=None, price=3.0).world

    assert (world.pace.concurrency, world.gpus, world.replicas_start, world.replicas_max) == (8, 2, 2, 9)
    assert (world.wait_limit_s, world.promised_share, world.price_per_gpu_hour) == (3.0, 0.95, 3.0)


@pytest.mark.parametrize(
    ("told", "said", "starts", "knows"),
    [
        (ColdStart(), (None, None), (COLD_S, STANDBY_S), (COLD_S, STANDBY_S)),
        (ColdStart(), (50.0, 5.0), (50.0, 5.0), (50.0, 5.0)),
        (ColdStart(cold_s=90.0, standby_s=9.0), (None, None), (90.0, 9.0), (90.0, 9.0)),
        (ColdStart(cold_s=90.0), (50.0, None), (50.0, STANDBY_S), (90.0, STANDBY_S)),
    ],
)
def test_starts_last_as_said_and_a_policy_knows_what_its_file_says(
    told: ColdStart,
    said: tuple[float | None, float | None],
    starts: tuple[float, float],
    knows: tuple[float, float],
) -> None:
    made = contestant(replace(SERVICE, cold_start=told), TRACE, cold_s=said[0], standby_s=said[1], price=1.0)

    assert (made.world.cold_start_s, made.world.standby_start.median_s) == starts
    assert (made.service.cold_start.cold_s, made.service.cold_start.standby_s) == knows


def test_processes_change_nothing() -> None:
    setup = setting(SERVICE)
    entrants = [
        entrant(replace(SERVICE, scaling=replace(SERVICE.scaling, target=target))) for target in (0.3, 0.6, 0.9)
    ] + [peer("hpa:0.5")]

    alone, none = compete(setup, entrants, with_best=False, processes=1)
    together, known = compete(setup, entrants, with_best=True, processes=3)

    assert alone == together
    assert none == []
    assert known[0].report.kept
    assert len({one.gpu_hours for one in alone}) > 1


def test_the_best_may_have_what_any_entrant_may_and_its_pool_has_room_for() -> None:
    pool = Pool(name=PoolName("gpus"), gpu=(Gpu(name="L40S", count=4),), max=3)
    pooled, alone = setting(replace(SERVICE, pool=pool.name), pools=(pool,)), setting(SERVICE)
    swept = [entrant(replace(SERVICE, scaling=replace(SERVICE.scaling, max=most))) for most in (4, 20)]

    assert largest(alone, [], 0) == 9, "as its file says"
    assert largest(alone, [swept[0], peer("hpa")], 0) == 9, "a peer may have what the file says"
    assert largest(alone, swept[:1], 0) == 4
    assert largest(alone, swept, 0) == 20
    assert largest(pooled, swept, 0) == 6, "twelve GPUs, two for each"


def test_the_best_is_no_larger_than_allowed_however_many_processes_play() -> None:
    small = replace(SERVICE, scaling=replace(SERVICE.scaling, min=1, max=1))
    setup = setting(small)

    (_,), (alone,) = compete(setup, [entrant(small)], with_best=True, processes=1)
    (_,), (together,) = compete(setup, [entrant(small)], with_best=True, processes=2)

    assert alone == together
    assert alone.peak == alone.constant == 1


def test_a_declared_pool_limits_its_services_and_bills_its_standby() -> None:
    pool = Pool(name=PoolName("gpus"), gpu=(Gpu(name="L40S", count=4),), max=2, standby=Standby(slots=1))
    fixed = replace(
        SERVICE, pool=pool.name, scaling=replace(SERVICE.scaling, policy="fixed", preset="fixed", replicas=3)
    )
    two = (fixed, replace(fixed, name=ServiceName("code")))

    played = play_entrant(setting(*two, pools=(pool,)), entrant(*two))

    assert max(moment.ordered for moment in played.reports[0].timeline) <= 4
    assert played.pools[0].peak_gpus == 8
    assert played.pools[0].refused > 0, "six replicas of two GPUs do not fit into eight"
    assert played.gpu_hours == pytest.approx(
        sum(one.gpu_hours for one in played.reports) + played.pools[0].standby_gpu_hours
    )
    assert played.cost == pytest.approx(3.0 * played.gpu_hours)


def test_a_service_of_no_declared_pool_has_standby_of_its_own() -> None:
    played = play_entrant(setting(SERVICE), entrant(replace(SERVICE, standby=Standby(slots=2))))

    assert played.pools == ()
    assert played.reports[0].timeline[0].standby == 2


@pytest.mark.parametrize("text", ["nomad", "hpa:x", "hpa:0", "hpa:2", "hpa:nan"])
def test_who_is_no_peer_is_said(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        peer(text)

    assert caught.value.hint
