"""What the doctor says of clouds, prices, orphans and the clock; and rows of what gc has given back."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

from fleet_world import World, a_service, an_offer

from fleetctl.cli.cloud_checks import CLOCK_OFF_MOST_S, clock, orphans, prices, provider_checks
from fleetctl.decide.lifecycle import KNOWN_ABSENCE_S
from fleetctl.model.decisions import Decision, Plan
from fleetctl.model.instances import Instance, InstancePhase, Wanted
from fleetctl.model.names import InstanceId, ProviderName
from fleetctl.model.orphans import Orphan
from fleetctl.paths import Home
from fleetctl.spec.fleet import FleetConfig
from fleetctl.store import open_store
from fleetctl.views.fleet import FleetView

NOW = 1_790_000_000.0


def a_view(**decisions: Decision) -> FleetView:
    return FleetView(
        at=NOW,
        lease=None,
        intents=(),
        pools=(),
        instances=(),
        replicas=(),
        decisions=dict(decisions),
        endpoint="http://127.0.0.1:1",
        refused={},
    )


def test_orphans_are_told_with_their_price_and_age() -> None:
    one = Orphan(provider=ProviderName("aws"), kind="instance", id="i", price_per_hour=2.0, seen_at=NOW - 7200)

    assert orphans({}, NOW).status == "ok"
    found = orphans({one.key: one}, NOW)

    assert (found.status, found.fix) == ("warn", "fleetctl gc")
    assert "1 orphan, $2.00/h" in found.detail
    assert "2h ago" in found.detail


def test_a_cloud_without_prices_is_told_and_a_fleet_without_clouds_has_none(tmp_path: Path) -> None:
    config = FleetConfig(providers={"aws": {"regions": ["us-east-1"]}})

    (found,) = prices(Home(tmp_path), config, NOW)

    assert (found.check, found.status, found.fix) == ("prices/aws", "warn", "fleetctl catalog refresh")
    assert prices(Home(tmp_path), FleetConfig(), NOW) == []


def test_a_clock_behind_what_was_stored_is_wrong() -> None:
    world = World(a_service())
    world.tick()
    made = replace(world.decision(), at=NOW + CLOCK_OFF_MOST_S + 120)

    assert clock(a_view()).status in ("ok", "warn"), "as this machine's kernel has it"
    assert clock(a_view(chat=made)).status == "fail"
    assert "3m behind" in clock(a_view(chat=made)).detail


def test_wrong_settings_of_a_provider_are_a_failed_check_and_no_end_of_the_others(tmp_path: Path) -> None:
    wrong = FleetConfig(providers={"aws": {"regoins": []}})

    (found,) = asyncio.run(provider_checks(Home(tmp_path), wrong, a_view()))

    assert found.status == "fail"
    assert "regoins" in found.detail


def test_the_local_provider_is_asked_for_its_own_checks(tmp_path: Path) -> None:
    found = asyncio.run(provider_checks(Home(tmp_path), FleetConfig(), a_view()))

    assert found[0].check == "provider/local"
    assert found[0].detail == "0 instances, all known"


def test_what_gc_gave_back_ends_in_the_store_as_what_a_controller_terminates(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "fleet.db"))
    lease = store.acquire("test", ttl_s=10.0, now=time.time())
    assert lease is not None
    row = Instance(
        id=InstanceId("a"),
        pool=a_service().pool_name,
        offer=an_offer(),
        phase=InstancePhase.BOOTING,
        phase_at=NOW,
        created_at=NOW,
    )
    over = replace(row, id=InstanceId("b"), phase=InstancePhase.LOST)
    store.commit(Plan(at=NOW, instances=(row, over)), fence=lease.fence, journal=b"")

    store.given_back([row.id, over.id, InstanceId("nobody")], at=NOW + KNOWN_ABSENCE_S)

    rows = store.load().instances
    ended = rows[row.id]
    assert (ended.wanted, ended.phase, ended.phase_at) == (Wanted.TERMINATED, InstancePhase.TERMINATING, NOW + 10.0)
    assert rows[over.id] == over, "what is over stays as it was"
    store.close()
