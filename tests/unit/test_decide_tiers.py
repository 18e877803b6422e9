"""The tiers side by side: seconds measured or expected, prices, refusals, and the one that is advised."""

from dataclasses import replace

import pytest
from fleet_world import START, a_service, an_offer

from fleetctl.cli.tiers import measured, tiers_of, told
from fleetctl.decide.cold_start import tier_s
from fleetctl.decide.stock import SLOT_SHARE
from fleetctl.decide.tiers import TierLine, advised, tier_lines
from fleetctl.model.abilities import Abilities
from fleetctl.model.instances import Instance, InstancePhase
from fleetctl.model.names import InstanceId, PoolName, ReplicaId, ServiceName
from fleetctl.model.replicas import Origin, Role
from fleetctl.model.services import ColdStart, Gpu, Market, Pool, Service, Slo, Standby, Tier
from fleetctl.model.snapshots import Intent
from fleetctl.model.starts import Start
from fleetctl.spec.fleet import FleetConfig
from fleetctl.views.fleet import FleetView

ON_DEMAND = (Market.ON_DEMAND,)


def chat(**changes: object) -> Service:
    made = a_service("chat", engine="vllm", model="hf://org/model-8B", slo=Slo(ttft_s=10.0))
    return replace(made, **changes)  # type: ignore[arg-type]


def lines(service: Service, **changes: object) -> dict[Tier, TierLine]:
    given: dict[str, object] = {
        "measured": {},
        "replica_price": 2.0,
        "abilities": {"aws": Abilities()},
        "markets": ON_DEMAND,
    }
    found = tier_lines(service, **{**given, **changes})  # type: ignore[arg-type]
    return {line.tier: line for line in found}


def test_what_nobody_measured_is_expected_and_says_so() -> None:
    found = lines(chat())

    assert [line.starts for line in found.values()] == [0, 0, 0, 0]
    assert [line.p95_s for line in found.values()] == [tier_s(chat(), tier) for tier in found]
    assert found[Tier.HOT].p95_s < found[Tier.ASLEEP].p95_s < found[Tier.WARM].p95_s < found[Tier.STOPPED].p95_s


def test_what_the_file_guesses_of_its_own_tier_is_not_taken_for_the_others() -> None:
    found = lines(chat(cold_start=ColdStart(standby_s=3.0)))

    assert found[Tier.STOPPED].p95_s > found[Tier.WARM].p95_s > 3.0


def test_measured_starts_replace_the_guess() -> None:
    seen = [float(second) for second in range(1, 101)]

    found = lines(chat(), measured={Tier.WARM: seen})

    assert (found[Tier.WARM].median_s, found[Tier.WARM].p95_s, found[Tier.WARM].starts) == (50.0, 95.0, 100)
    assert found[Tier.ASLEEP].starts == 0


@pytest.mark.parametrize(("seen", "median", "p95"), [([7.0], 7.0, 7.0), ([9.0, 1.0], 1.0, 9.0)])
def test_a_few_starts_are_told_as_they_are(seen: list[float], median: float, p95: float) -> None:
    found = lines(chat(), measured={Tier.HOT: seen})[Tier.HOT]

    assert (found.median_s, found.p95_s) == (median, p95)


def test_a_slot_costs_its_machine_but_stopped_its_disk_and_asleep_its_share() -> None:
    found = lines(chat(), sharing=4)

    assert {tier: line.price_per_hour for tier, line in found.items()} == {
        Tier.HOT: 2.0,
        Tier.ASLEEP: 0.5,
        Tier.WARM: 2.0,
        Tier.STOPPED: 2.0 * SLOT_SHARE[Tier.STOPPED],
    }


def test_an_unknown_price_is_not_zero() -> None:
    assert {line.price_per_hour for line in lines(chat(), replica_price=None).values()} == {None}


def test_impossible_tiers_say_why_and_possible_ones_what_they_do_not_promise() -> None:
    abilities = {"aws": Abilities(no_spot_stop="one-time", start_may_fail="no capacity")}

    on_demand = lines(chat(engine="tgi"), abilities=abilities)
    spot = lines(chat(), abilities=abilities, markets=(Market.SPOT,))

    assert "tgi has no way to leave the GPU" in on_demand[Tier.ASLEEP].refusal
    assert (on_demand[Tier.STOPPED].refusal, on_demand[Tier.STOPPED].note) == ("", "aws: no capacity")
    assert (spot[Tier.STOPPED].refusal, spot[Tier.STOPPED].note) == ("aws: one-time", "")
    assert spot[Tier.ASLEEP].refusal == on_demand[Tier.HOT].refusal == on_demand[Tier.WARM].refusal == ""


ADVICE = [
    pytest.param(300.0, 1, {}, Tier.STOPPED, id="all are in time: the disk"),
    pytest.param(100.0, 1, {}, Tier.WARM, id="a stopped one is too late: the least warm of those that cost a machine"),
    pytest.param(100.0, 2, {}, Tier.ASLEEP, id="two on one GPU cost half"),
    pytest.param(10.0, 1, {}, Tier.ASLEEP, id="an engine's start is too long"),
    pytest.param(1.0, 1, {}, Tier.HOT, id="a wake is too long"),
    pytest.param(0.1, 1, {}, Tier.HOT, id="nothing is in time: the soonest"),
    pytest.param(10.0, 1, {Tier.ASLEEP: [4.0] * 10 + [12.0] * 10}, Tier.HOT, id="measured: half are too late"),
    pytest.param(20.0, 1, {Tier.WARM: [15.0] * 20}, Tier.WARM, id="measured: this engine starts faster"),
]


@pytest.mark.parametrize(("ttft_s", "sharing", "seen", "tier"), ADVICE)
def test_the_cheapest_tier_that_keeps_the_promise_is_advised(
    ttft_s: float, sharing: int, seen: dict[Tier, list[float]], tier: Tier
) -> None:
    service = chat(slo=Slo(ttft_s=ttft_s))

    best = advised(list(lines(service, sharing=sharing, measured=seen).values()), service)

    assert best is not None
    assert best.tier is tier


def test_nothing_impossible_is_advised_and_nothing_without_a_promise() -> None:
    tgi = chat(engine="tgi", slo=Slo(ttft_s=10.0))

    best = advised(list(lines(tgi).values()), tgi)

    assert best is not None
    assert best.tier is Tier.HOT
    assert advised(list(lines(chat()).values()), replace(chat(), slo=None)) is None


def view(service: Service, pool: Pool) -> FleetView:
    machine = Instance(
        id=InstanceId("i-1"),
        pool=pool.name,
        offer=an_offer(price=4.0),
        phase=InstancePhase.READY,
        phase_at=START,
        created_at=START,
    )
    return FleetView(
        at=START + 100.0,
        lease=None,
        intents=(Intent(service=service, revision="r2"),),
        pools=(pool,),
        instances=(machine,),
        replicas=(),
        decisions={},
        endpoint="http://127.0.0.1:8080",
        refused={},
    )


def start(origin: Origin, took_s: float, **changes: object) -> Start:
    made = Start(
        service=ServiceName("chat"),
        revision="r2",
        replica=ReplicaId("r-1"),
        origin=origin,
        decided_at=START,
        ended_at=START + took_s,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


GPUS = Pool(name=PoolName("gpus"), gpu=(Gpu(name="L40S"),), standby=Standby(tier=Tier.WARM, slots=1))


def test_starts_that_tell_a_tier_are_those_that_served_from_it() -> None:
    intent = view(chat(), GPUS).intents[0]
    starts = [
        start("warm", 20.0),
        start("asleep", 3.0),
        start("cold", 200.0),
        start("warm", 99.0, outcome="failed"),
        start("warm", 60.0, role=Role.ASLEEP),
        start("warm", 30.0, revision="r1"),
        start("warm", 5.0, service=ServiceName("code")),
    ]

    assert measured(intent, starts) == {Tier.WARM: [20.0], Tier.ASLEEP: [3.0]}
    assert measured(intent, [start("warm", 30.0, revision="r1")]) == {Tier.WARM: [30.0]}, "better than a guess"


def test_the_table_names_what_is_measured_what_it_costs_and_what_is_advised() -> None:
    service = chat(pool=GPUS.name, standby=None)
    found = tiers_of(view(service, GPUS), FleetConfig(), [start("warm", 20.0), start("warm", 24.0)], "pool", "gpus")

    text = told(found)

    assert text == (
        "\n"
        "standby tiers of chat (* is its own)\n"
        "TIER     READY AFTER     P95  FROM        $/H A SLOT  POSSIBLE\n"
        "hot            1.0 s   1.0 s  expected         $4.00  yes\n"
        "asleep         5.0 s   5.0 s  expected         $4.00  yes\n"
        "warm*         20.0 s  24.0 s  2 measured       $4.00  yes\n"
        "stopped        136 s   136 s  expected         $0.20  yes\n"
        "asleep is the cheapest that is ready within the 10.0 s of its promise\n"
    )
    assert tiers_of(view(service, GPUS), FleetConfig(), [], "service", "other") == []


def test_an_engine_that_does_not_sleep_has_its_reason_in_the_table() -> None:
    text = told(tiers_of(view(chat(engine="tgi"), GPUS), FleetConfig(), [], "service", "chat"))

    assert "no: tgi has no way to leave the GPU while it runs" in text
    assert "asleep" not in text.splitlines()[-1]
