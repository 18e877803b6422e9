"""A machine in Azure's words: the body that makes it, and what a listing says of it. No calls.

The network interface and the public address are made by the same request as the machine (`networkApiVersion`), so there
is no moment at which one exists without the other, and all of them, with the disk, go when the machine goes.
"""

import base64
import re
from collections.abc import Mapping
from typing import Any

from fleetctl.errors import InvalidRequest
from fleetctl.model.instances import InstanceSeen, LaunchSpec, Offer, Sighting
from fleetctl.model.names import InstanceId, PoolName, ProviderName
from fleetctl.model.services import Gpu, Market
from fleetctl.providers.azure.settings import Settings, machine_name

AZURE = ProviderName("azure")

FLEET_TAG = "fleetctl-fleet"
POOL_TAG = "fleetctl-pool"
ID_TAG = "fleetctl-id"
GPU_TAG = "fleetctl-gpu"
MARKET_TAG = "fleetctl-market"
PRICE_TAG = "fleetctl-price"
PRICE_SOURCE_TAG = "fleetctl-price-source"
PRICE_AS_OF_TAG = "fleetctl-price-as-of"

DISK_SUFFIX = "-fleetctl-disk"
INTERFACE_SUFFIX = "-fleetctl-nic"
ADDRESS_SUFFIX = "-fleetctl-ip"
"""What is made with a machine is named after it, in a way that nobody else names things."""

GPU_IMAGE = "microsoft-dsvm:ubuntu-hpc:2204:latest"
"""Microsoft's Ubuntu-HPC image: NVIDIA driver, container toolkit and Docker are in it; free of charge, no plan.
Its driver is the one for whole GPUs: the A10 sizes need one of NVIDIA's GRID drivers, thus an `image` of one's own."""

_NETWORK_API = "2022-11-01"
"""The newer of the two versions that Microsoft's schema allows for interfaces made together with a machine."""

_MAX_TAG = 256
"""Characters that Azure allows in a tag's value."""

_USER_DATA_MAX = 65_535
"""Bytes that Azure allows before base64."""

_IMAGE = re.compile(r"([^:/]+):([^:/]+):([^:/]+):([^:/]+)")


def zone_name(region: str, zone: str) -> str:
    """`eastus-1` for zone 1 of eastus; the region itself where it has no zones."""
    return f"{region}-{zone}" if zone else region


def place(offer: Offer) -> tuple[str, str]:
    """The region and the zone's number (empty: none) of an Offer."""
    region, _, zone = offer.zone.partition("-")
    return offer.region or region, zone


def normal_region(location: str | None) -> str:
    """Azure says `East US` in some answers and `eastus` in others."""
    return (location or "").replace(" ", "").lower()


def tags(spec: LaunchSpec) -> Mapping[str, str]:
    """All that a listing needs to tell the Instance and its Offer again."""
    offer = spec.offer
    found = {
        FLEET_TAG: spec.fleet,
        POOL_TAG: spec.pool,
        ID_TAG: spec.id,
        GPU_TAG: str(offer.gpu),
        MARKET_TAG: offer.market.value,
        PRICE_SOURCE_TAG: offer.price_source[:_MAX_TAG],
        PRICE_AS_OF_TAG: repr(offer.price_as_of),
    }
    if offer.price_per_hour is not None:
        found[PRICE_TAG] = repr(offer.price_per_hour)
    return found


def body(spec: LaunchSpec, settings: Settings, subnet_id: str, *, ssh_key: str) -> Mapping[str, Any]:
    """The request that makes the Instance: always the same for the same spec. Raises `InvalidRequest`."""
    name = machine_name(spec.id)
    region, zone = place(spec.offer)
    user_data = spec.user_data.encode()
    if len(user_data) > _USER_DATA_MAX:
        raise InvalidRequest(f"{spec.id}: user data of {len(user_data)} bytes; Azure takes {_USER_DATA_MAX}")
    if not ssh_key:
        raise InvalidRequest(f"{spec.id}: Azure makes no machine without a key that may log in", hint="fleetctl doctor")
    own_tags = tags(spec)
    machine: dict[str, Any] = {
        "location": region,
        "tags": own_tags,
        "properties": {
            "hardwareProfile": {"vmSize": spec.offer.instance_type},
            "storageProfile": {
                "imageReference": image_reference(spec.image or settings.image or GPU_IMAGE),
                "osDisk": {
                    "name": name + DISK_SUFFIX,
                    "createOption": "FromImage",
                    "caching": "ReadWrite",
                    "diskSizeGB": settings.disk_gb or spec.disk_gb,
                    "deleteOption": "Delete",
                    "managedDisk": {"storageAccountType": "Premium_LRS"},
                },
            },
            "osProfile": {
                "computerName": name,
                "adminUsername": settings.ssh_user,
                "linuxConfiguration": {
                    "disablePasswordAuthentication": True,
                    "ssh": {
                        "publicKeys": [{"path": f"/home/{settings.ssh_user}/.ssh/authorized_keys", "keyData": ssh_key}]
                    },
                },
            },
            "networkProfile": {
                "networkApiVersion": _NETWORK_API,
                "networkInterfaceConfigurations": [_interface(name, subnet_id, own_tags)],
            },
            # Azure keeps the console's text itself: no storage account of ours, and `console` has something to read.
            "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}},
        },
    }
    properties = machine["properties"]
    if user_data:
        properties["osProfile"]["customData"] = base64.b64encode(user_data).decode("ascii")
    if zone:
        machine["zones"] = [zone]
    match spec.offer.market:
        case Market.SPOT:
            # Delete, not Deallocate: what was evicted would go on to cost its disk and to hold spot quota, would look
            # like a standby that can be started, and could mostly not be started, since capacity is what it lost.
            properties |= {"priority": "Spot", "evictionPolicy": "Delete", "billingProfile": {"maxPrice": -1}}
        case Market.RESERVED:
            group = settings.reservations.get(region)
            if group is None:
                raise InvalidRequest(
                    f"{spec.id}: no reserved capacity is configured in {region}",
                    hint=f"name a capacity reservation group under providers.azure.reservations.{region}",
                )
            properties["capacityReservation"] = {"capacityReservationGroup": {"id": group}}
        case Market.ON_DEMAND:
            pass
    return machine


def _interface(name: str, subnet_id: str, own_tags: Mapping[str, str]) -> Mapping[str, Any]:
    return {
        "name": name + INTERFACE_SUFFIX,
        "tags": own_tags,
        "properties": {
            "primary": True,
            "deleteOption": "Delete",
            "enableAcceleratedNetworking": True,  # every GPU size of the catalog can, and weights come faster
            "ipConfigurations": [
                {
                    "name": "primary",
                    "properties": {
                        "primary": True,
                        "subnet": {"id": subnet_id},
                        "publicIPAddressConfiguration": {
                            "name": name + ADDRESS_SUFFIX,
                            "tags": own_tags,
                            "sku": {"name": "Standard", "tier": "Regional"},
                            "properties": {"deleteOption": "Delete", "publicIPAllocationMethod": "Static"},
                        },
                    },
                }
            ],
        },
    }


def image_reference(image: str) -> Mapping[str, str]:
    """`PUBLISHER:OFFER:SKU:VERSION` of the marketplace, or the resource id of an image of one's own."""
    if image.startswith("/"):
        return {"id": image}
    parts = _IMAGE.fullmatch(image)
    if parts is None:
        raise InvalidRequest(
            f"{image!r} names no image of Azure", hint="PUBLISHER:OFFER:SKU:VERSION, or the resource id of an image"
        )
    return dict(zip(("publisher", "offer", "sku", "version"), parts.groups(), strict=True))


def owned(found: Mapping[str, str] | None, fleet: str) -> bool:
    return (found or {}).get(FLEET_TAG) == fleet


def power(view: Any) -> str:
    """`running`, `deallocated`, …; empty where Azure does not tell."""
    return next((code.partition("/")[2] for code in _codes(view) if code.startswith("PowerState/")), "")


def failure(view: Any) -> str:
    """The code that provisioning failed with; empty where it did not, or Azure does not tell."""
    start = "ProvisioningState/failed/"
    return next((code.removeprefix(start) for code in _codes(view) if code.startswith(start)), "")


def _codes(view: Any) -> list[str]:
    return [status.code or "" for status in (view.statuses if view is not None else None) or ()]


def sighting(provisioning: str, view: Any) -> tuple[Sighting, str]:
    """What a machine's provisioning state and instance view amount to, and what a person should know besides."""
    state = power(view)
    if provisioning == "Deleting":
        return Sighting.TERMINATING, ""
    match state:
        case "deallocated":
            return Sighting.STOPPED, ""
        case "deallocating":
            return Sighting.STOPPING, ""
        case "starting":
            return Sighting.BOOTING, ""
        case "stopped" | "stopping":
            # Not STOPPED: it is billed until it is deallocated.
            return Sighting.RUNNING, "shut down from within, and billed until it is stopped or terminated"
    if provisioning == "Creating":
        return Sighting.BOOTING, ""
    if never_ran(provisioning, view):
        return Sighting.BOOTING, f"its creation failed: {failure(view) or 'Azure does not say why'}"
    return Sighting.RUNNING, "" if state else "Azure does not tell whether it runs"


def never_ran(provisioning: str, view: Any) -> bool:
    """Whether the machine is only the trace of a creation that failed: then no hardware was ever given to it."""
    return provisioning == "Failed" and not power(view)


def seen(machine: Any, view: Any, address: str | None) -> InstanceSeen:
    """A machine of ours as a line of the listing. `view` is its instance view, where Azure has told it."""
    found: Mapping[str, str] = machine.tags or {}
    region = normal_region(machine.location)
    name, _, count = found.get(GPU_TAG, "ANY:1").partition(":")
    price = found.get(PRICE_TAG)
    state, detail = sighting(machine.provisioning_state or "", view)
    return InstanceSeen(
        id=InstanceId(found.get(ID_TAG, machine.name)),
        pool=PoolName(found.get(POOL_TAG, "")),
        state=state,
        offer=Offer(
            provider=AZURE,
            instance_type=machine.hardware_profile.vm_size if machine.hardware_profile else "",
            gpu=Gpu(name=name, count=int(count or 1)),
            zone=zone_name(region, (machine.zones or [""])[0]),
            region=region,
            market=Market(found.get(MARKET_TAG, Market.ON_DEMAND)),
            price_per_hour=float(price) if price else None,
            price_source=found.get(PRICE_SOURCE_TAG, ""),
            price_as_of=float(found.get(PRICE_AS_OF_TAG, 0.0)),
        ),
        created_at=machine.time_created.timestamp() if machine.time_created else 0.0,
        address=address,
        detail=detail,
    )


def interface_ids(machine: Any) -> list[str]:
    """The resource ids of its network interfaces, in lower case."""
    profile = machine.network_profile
    return [one.id.lower() for one in (profile.network_interfaces if profile else None) or () if one.id]
