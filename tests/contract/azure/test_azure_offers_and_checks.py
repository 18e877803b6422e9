"""Offers, checks and the role. Judge: what an ARM server of ours says it has, and the requests that it recorded."""

import subprocess
import sys
from dataclasses import replace

import pytest
from arm_state import OTHER_REGION, REGION
from azure_world import INSIDE, POOL, World
from cloud_contract import FLEET, ONE, TWO, CloudUnderTest, give_back, launch_spec, nothing

from fleetctl.model.services import Gpu, Market, Placement
from fleetctl.providers.azure.permissions import CALLS, LINKED, actions, missing, permissions


async def test_offers_are_what_the_regions_have_for_this_subscription(azure: World) -> None:
    azure.server.cloud.quota["standardncadsh100v5family"] = 100
    provider = azure.make(FLEET, nothing)

    offers = await provider.offers(POOL)

    assert {(one.instance_type, one.zone, one.region) for one in offers} == {
        ("Standard_NC40ads_H100_v5", "eastus-1", REGION),
        ("Standard_NC40ads_H100_v5", "eastus-2", REGION),
        ("Standard_NC40ads_H100_v5", "westeurope", OTHER_REGION),
    }, "zone 3 is barred to the subscription, and westeurope has no zones"
    assert {one.quota_left for one in offers} == {2}, "100 vCPUs hold two machines of 40"


async def test_offers_of_a_market_are_those_sold_there(azure: World) -> None:
    provider = azure.make(FLEET, nothing)
    t4 = replace(POOL, gpu=(Gpu(name="T4"),))

    on_demand = await provider.offers(t4)
    spot = await provider.offers(replace(t4, placement=Placement(market=Market.SPOT)))
    reserved = await provider.offers(replace(t4, placement=Placement(market=Market.RESERVED)))

    assert {one.region for one in on_demand} == {REGION}, "westeurope refuses it to this subscription"
    assert spot == ()
    assert reserved == ()


async def test_sizes_are_asked_for_once_and_quotas_each_time(azure: World, cloud: CloudUnderTest) -> None:
    azure.server.cloud.quota["standardncadsh100v5family"] = 100
    provider = azure.make(FLEET, nothing)
    await provider.offers(POOL)
    await provider.launch(launch_spec(cloud))
    azure.server.requests.clear()

    offers = await provider.offers(POOL)

    assert {one.quota_left for one in offers} == {1}
    assert [path for _, path in azure.server.requests if path.endswith("/skus")] == []


async def test_checks_name_what_is_missing(azure: World) -> None:
    azure.server.granted = [{"actions": ["Microsoft.Compute/*", "*/read"], "notActions": ["Microsoft.Compute/disks/*"]}]
    azure.server.unregistered = {"Microsoft.Compute"}
    azure.server.cloud.quota["standardncadsh100v5family"] = 39
    provider = azure.make(FLEET, nothing, ssh_sources=[])

    found = {check.check: check for check in await provider.checks((POOL,))}

    assert found["azure permissions"].status == "fail"
    assert "Microsoft.Compute/disks/delete" in found["azure permissions"].detail
    assert found["azure registration"].fix == "az provider register --namespace Microsoft.Compute"
    assert found["azure quota eastus standardncadsh100v5family"].status == "warn"
    assert "standardncadsh100v5family: 0 of 39" in found["azure quota eastus standardncadsh100v5family"].detail
    assert found["azure ssh_sources"].status == "warn"
    assert found["azure credentials"].status == "ok"


async def test_role_holds_exactly_what_the_recorded_requests_need(azure: World, cloud: CloudUnderTest) -> None:
    provider = azure.make(FLEET, nothing)

    await provider.checks((POOL,))
    await provider.offers(POOL)
    await provider.launch(launch_spec(cloud))
    await provider.list(FLEET)
    await provider.console(ONE)
    await provider.stop(ONE)
    await provider.start(ONE)
    azure.server.cloud.orphans = True
    azure.server.cloud.fail_inside.append(INSIDE)
    with pytest.raises(Exception, match="AllocationFailed"):
        await provider.launch(launch_spec(cloud, TWO))
    await give_back(provider)

    assert azure.server.actions == set(CALLS)
    document = permissions({"subscription": "s"})
    assert document["Actions"] == sorted({*CALLS, *LINKED})
    assert document["AssignableScopes"] == ["/subscriptions/s"]


def test_role_grows_with_reservations_and_own_images() -> None:
    plain = set(actions({}))

    assert set(actions({"reservations": {"eastus": "/x"}})) - plain == {
        "Microsoft.Compute/capacityReservationGroups/deploy/action"
    }
    assert "Microsoft.Compute/images/read" in set(actions({"image": "/subscriptions/x"})) - plain


@pytest.mark.parametrize(
    ("granted", "lacking"),
    [
        ([{"actions": ["*"], "notActions": []}], ()),
        ([{"actions": ["microsoft.compute/VIRTUALMACHINES/*"]}], ("Microsoft.Compute/disks/read",)),
        ([{"actions": ["*"], "notActions": ["*/start/action"]}], ("Microsoft.Compute/virtualMachines/start/action",)),
        ([], ("Microsoft.Compute/virtualMachines/start/action", "Microsoft.Compute/disks/read")),
    ],
)
def test_missing_rights(granted: list[dict[str, object]], lacking: tuple[str, ...]) -> None:
    wanted = ("Microsoft.Compute/virtualMachines/start/action", "Microsoft.Compute/disks/read")

    assert missing(wanted, granted) == lacking


def test_sdk_is_imported_only_when_it_is_used() -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from fleetctl.paths import Home\n"
        "from fleetctl.providers import Setup, load\n"
        "options = {'subscription': '00000000-0000-4000-8000-000000000001', 'regions': ['eastus']}\n"
        "load('azure')(Setup(fleet='f', home=Home(Path('/nowhere')), options=options))\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('azure', 'aiohttp', 'msal')])\n"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
