"""The bodies of machines. Judge: Microsoft's published ARM schema, made strict (`arm_schemas`), where it is present."""

import base64
import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import arm_schemas
import pytest
from arm_server import SUBSCRIPTION
from arm_state import NSG, REGION
from azure_world import World, offer
from cloud_contract import FLEET, CloudUnderTest, launch_spec, nothing

from fleetctl.errors import InvalidRequest
from fleetctl.model.instances import Offer
from fleetctl.model.nodes import PEER_PORT
from fleetctl.model.services import Market
from fleetctl.providers.azure.machines import body
from fleetctl.providers.azure.settings import read

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/r/providers/Microsoft.Compute/capacityReservationGroups/g"
OWN_IMAGE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/r/providers/Microsoft.Compute/images/mine"
SUBNET = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/r/providers/Microsoft.Network/virtualNetworks/v/subnets/s"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBbd8vTQ0fXlWfyYbKIuyVq3s7ZT8Vh7Ff1p0p0p0p0p fleet"

judged = pytest.mark.skipif(not arm_schemas.present(), reason=arm_schemas.ABSENT)


def made(cloud: CloudUnderTest, where: Offer, **options: object) -> dict[str, Any]:
    settings = read({"subscription": SUBSCRIPTION, "regions": [REGION], **options})
    return dict(body(replace(launch_spec(cloud), offer=where), settings, SUBNET, ssh_key=KEY))


OFFERS = {
    "on demand, in a zone": (offer("eastus-1"), {}),
    "on demand, no zones": (offer("westeurope"), {}),
    "spot": (offer("eastus-2", Market.SPOT), {}),
    "reserved": (offer("eastus-1", Market.RESERVED), {"reservations": {REGION: GROUP}}),
    "own image, disk and user": (offer("eastus-1"), {"image": OWN_IMAGE, "disk_gb": 512, "ssh_user": "ada"}),
    "unknown price": (offer("eastus-1", price_per_hour=None, price_source=""), {}),
}


@judged
@pytest.mark.parametrize("case", OFFERS)
def test_every_body_passes_the_strict_schema(cloud: CloudUnderTest, case: str) -> None:
    where, options = OFFERS[case]

    complaint = arm_schemas.complaint("virtualMachines", made(cloud, where, **options))

    assert complaint is None


def _spoil(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def spoil(found: Any) -> None:
        *way, last = path.split("/")
        for name in way:
            found = found[int(name)] if isinstance(found, list) else found[name]
        found[last] = value

    return spoil


@judged
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("properties/priority", "spot"),
        ("properties/evictionPolicy", "Destroy"),
        ("properties/storageProfile/osDisk/deleteOption", "delete"),
        ("properties/storageProfile/osDisk/diskSizeGB", "200"),
        ("properties/storageProfile/osDisk/size", 200),
        ("properties/networkProfile/networkApiVersion", "2019-01-01"),
        ("properties/networkProfile/networkInterfaceConfigurations/0/properties/deleteOption", "Keep"),
        ("properties/hardwareProfile", "[parameters('size')]"),
        ("properties/osProfile/linuxConfiguration/disablePasswordAuthentication", "true"),
        ("zones", "1"),
        ("tags", {"fleetctl-price": 6.98}),
        ("resources", []),
    ],
)
def test_the_judge_refuses_what_azure_would(cloud: CloudUnderTest, path: str, value: object) -> None:
    good = made(cloud, offer("eastus-1", Market.SPOT))
    bad = copy.deepcopy(good)
    _spoil(path, value)(bad)

    assert arm_schemas.complaint("virtualMachines", good) is None
    assert arm_schemas.complaint("virtualMachines", bad) is not None


async def test_machine_over_the_wire_lets_in_the_key_and_nobody_else(azure: World, cloud: CloudUnderTest) -> None:
    provider = azure.make(FLEET, nothing)

    await provider.launch(launch_spec(cloud))

    (sent,) = azure.server.accepted
    properties = sent["properties"]
    login = properties["osProfile"]
    assert azure.server.refused == []
    assert base64.b64decode(login["customData"]).decode() == launch_spec(cloud).user_data
    assert "adminPassword" not in login
    assert login["linuxConfiguration"]["disablePasswordAuthentication"] is True
    assert login["linuxConfiguration"]["ssh"]["publicKeys"][0]["keyData"] == launch_spec(cloud).ssh_key
    assert login["linuxConfiguration"]["ssh"]["publicKeys"][0]["path"] == "/home/fleet/.ssh/authorized_keys"
    interface = properties["networkProfile"]["networkInterfaceConfigurations"][0]["properties"]
    address = interface["ipConfigurations"][0]["properties"]["publicIPAddressConfiguration"]["properties"]
    disk = properties["storageProfile"]["osDisk"]
    assert [one["deleteOption"] for one in (interface, address, disk)] == ["Delete"] * 3
    assert properties["storageProfile"]["imageReference"]["offer"] == "ubuntu-hpc"
    assert "priority" not in properties


async def test_spot_machine_over_the_wire(azure: World, cloud: CloudUnderTest) -> None:
    provider = azure.make(FLEET, nothing)
    spot = offer("eastus-1", Market.SPOT)

    await provider.launch(replace(launch_spec(cloud), offer=spot))

    (sent,) = azure.server.accepted
    properties = sent["properties"]
    assert (properties["priority"], properties["evictionPolicy"]) == ("Spot", "Delete")
    assert properties["billingProfile"] == {"maxPrice": -1}
    assert [line.offer for line in (await provider.list(FLEET)).instances] == [spot]


async def test_ssh_is_open_from_the_sources_and_follows_the_settings(azure: World, cloud: CloudUnderTest) -> None:
    provider = azure.make(FLEET, nothing)
    await provider.launch(launch_spec(cloud))
    (guard,) = azure.server.cloud.of(NSG)
    rules = [rule["properties"] for rule in guard["properties"]["securityRules"]]

    nobody = azure.make(FLEET, nothing, ssh_sources=[])
    await nobody.launch(replace(launch_spec(cloud), id="gpu-e1-2"))  # type: ignore[arg-type]
    (closed,) = azure.server.cloud.of(NSG)

    assert [(rule["destinationPortRange"], rule["access"], rule["sourceAddressPrefixes"]) for rule in rules] == [
        ("22", "Allow", ["198.51.100.0/24"]),
        (str(PEER_PORT), "Allow", ["10.96.0.0/16"]),
    ]
    assert [rule["name"] for rule in closed["properties"]["securityRules"]] == ["peers"]


@pytest.mark.parametrize(
    ("where", "options", "wanted"),
    [
        (offer("eastus-1", Market.RESERVED), {}, "no reserved capacity is configured in eastus"),
        (offer("eastus-1"), {"image": "ubuntu"}, "'ubuntu' names no image of Azure"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_here(
    cloud: CloudUnderTest, where: Offer, options: dict[str, object], wanted: str
) -> None:
    with pytest.raises(InvalidRequest, match=wanted):
        made(cloud, where, **options)


def test_machine_that_nobody_could_enter_is_refused(cloud: CloudUnderTest) -> None:
    settings = read({"subscription": SUBSCRIPTION, "regions": [REGION]})

    with pytest.raises(InvalidRequest, match="without a key"):
        body(launch_spec(cloud), settings, SUBNET, ssh_key="")


def test_user_data_that_azure_would_cut_is_refused(cloud: CloudUnderTest) -> None:
    settings = read({"subscription": SUBSCRIPTION, "regions": [REGION]})

    with pytest.raises(InvalidRequest, match="user data of 70000 bytes"):
        body(replace(launch_spec(cloud), user_data="x" * 70_000), settings, SUBNET, ssh_key=KEY)
