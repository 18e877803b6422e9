"""The port between the machines of a fleet at Azure. Judge: the state of an ARM server of ours, over real HTTP."""

import asyncio
from typing import Any

from arm_state import NSG, VNET, Body
from azure_world import World
from cloud_contract import FLEET, ONE, THREE, TWO, CloudUnderTest, Truth, give_back, launch_spec, nothing

from fleetctl.model.nodes import PEER_PORT


def guard(azure: World) -> Body:
    (found,) = azure.server.cloud.of(NSG)
    return found


def rules(azure: World) -> dict[str, Any]:
    return {rule["name"]: rule["properties"] for rule in guard(azure)["properties"]["securityRules"]}


def puts(azure: World) -> int:
    return len([one for one in azure.server.requests if one[0] == "PUT" and f"/providers/{NSG}/" in one[1]])


async def test_one_port_is_open_to_the_fleets_own_subnet(azure: World, cloud: CloudUnderTest) -> None:
    await azure.make(FLEET, nothing).launch(launch_spec(cloud))

    (network,) = azure.server.cloud.of(VNET)
    (subnet,) = network["properties"]["subnets"]
    peers = rules(azure)["peers"]
    assert set(rules(azure)) == {"ssh", "peers"}
    assert (peers["direction"], peers["access"], peers["protocol"]) == ("Inbound", "Allow", "Tcp")
    assert peers["destinationPortRange"] == str(PEER_PORT)
    assert peers["sourceAddressPrefixes"] == [subnet["properties"]["addressPrefix"]]
    assert peers["destinationAddressPrefix"] == subnet["properties"]["addressPrefix"]
    assert subnet["properties"]["networkSecurityGroup"]["id"] == guard(azure)["id"]
    assert len({rule["priority"] for rule in rules(azure).values()}) == 2, "Azure takes no two rules of one priority"
    assert network["tags"]["fleetctl-fleet"] == FLEET, "nobody else is in it"


async def test_group_of_an_older_fleetctl_gets_it_once(azure: World, cloud: CloudUnderTest) -> None:
    await azure.make(FLEET, nothing).launch(launch_spec(cloud))
    held = guard(azure)["properties"]
    held["securityRules"] = [rule for rule in held["securityRules"] if rule["name"] == "ssh"]
    before = puts(azure)

    for instance in (TWO, THREE):
        await azure.make(FLEET, nothing).launch(launch_spec(cloud, instance))

    assert set(rules(azure)) == {"ssh", "peers"}
    assert puts(azure) - before == 1, "the second launch finds it"


async def test_list_of_one_told_as_a_single_one_is_the_same(azure: World, cloud: CloudUnderTest) -> None:
    await azure.make(FLEET, nothing).launch(launch_spec(cloud))
    for rule in rules(azure).values():
        (rule["sourceAddressPrefix"],) = rule.pop("sourceAddressPrefixes")
    before = puts(azure)

    await azure.make(FLEET, nothing).launch(launch_spec(cloud, TWO))

    assert puts(azure) == before


async def test_processes_at_once_end_with_the_same_rules(azure: World, cloud: CloudUnderTest) -> None:
    await asyncio.gather(*(azure.make(FLEET, nothing).launch(launch_spec(cloud)) for _ in range(4)))

    assert set(rules(azure)) == {"ssh", "peers"}
    assert azure.truth(FLEET).machines == (ONE,)


async def test_what_somebody_opened_besides_is_shut(azure: World, cloud: CloudUnderTest) -> None:
    """As wide a source under the same name, which a look at the lists alone would not see, and another target."""
    await azure.make(FLEET, nothing).launch(launch_spec(cloud))
    wanted = rules(azure)
    for changed in ({"sourceAddressPrefix": "*"}, {"destinationAddressPrefix": "*"}, {"destinationPortRange": "*"}):
        rules(azure)["peers"].update(changed)

        await azure.make(FLEET, nothing).launch(launch_spec(cloud))

        assert rules(azure) == wanted, changed


async def test_it_goes_with_the_leftovers(azure: World, cloud: CloudUnderTest) -> None:
    provider = azure.make(FLEET, nothing)
    await provider.launch(launch_spec(cloud))

    await give_back(provider)

    assert azure.server.cloud.of(NSG) == []
    assert azure.truth(FLEET) == Truth(machines=(), others=())
