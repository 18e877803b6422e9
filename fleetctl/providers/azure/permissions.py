"""The least that the adapter needs to be allowed, as a role of Azure's, from one table of the calls it makes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_COMPUTE = "Microsoft.Compute"
_NETWORK = "Microsoft.Network"
_RESOURCES = "Microsoft.Resources/subscriptions"

CALLS: tuple[str, ...] = (
    "Microsoft.Authorization/permissions/read",
    f"{_RESOURCES}/resourceGroups/read",
    f"{_RESOURCES}/resourceGroups/write",
    f"{_RESOURCES}/resourceGroups/delete",
    f"{_RESOURCES}/resourceGroups/resources/read",
    f"{_RESOURCES}/operationresults/read",
    f"{_RESOURCES}/providers/read",
    f"{_COMPUTE}/virtualMachines/read",
    f"{_COMPUTE}/virtualMachines/write",
    f"{_COMPUTE}/virtualMachines/delete",
    f"{_COMPUTE}/virtualMachines/start/action",
    f"{_COMPUTE}/virtualMachines/deallocate/action",
    f"{_COMPUTE}/virtualMachines/retrieveBootDiagnosticsData/action",
    f"{_COMPUTE}/disks/read",
    f"{_COMPUTE}/disks/delete",
    f"{_COMPUTE}/skus/read",
    f"{_COMPUTE}/locations/usages/read",
    f"{_COMPUTE}/locations/operations/read",
    f"{_NETWORK}/virtualNetworks/read",
    f"{_NETWORK}/virtualNetworks/write",
    f"{_NETWORK}/virtualNetworks/delete",
    f"{_NETWORK}/networkSecurityGroups/read",
    f"{_NETWORK}/networkSecurityGroups/write",
    f"{_NETWORK}/networkSecurityGroups/delete",
    f"{_NETWORK}/networkInterfaces/read",
    f"{_NETWORK}/networkInterfaces/delete",
    f"{_NETWORK}/publicIPAddresses/read",
    f"{_NETWORK}/publicIPAddresses/delete",
    f"{_NETWORK}/locations/operations/read",
)
"""What the requests themselves need. Compared with the requests that a server recorded, both ways."""

LINKED: tuple[str, ...] = (
    f"{_COMPUTE}/disks/write",
    f"{_COMPUTE}/virtualMachines/instanceView/read",
    f"{_NETWORK}/virtualNetworks/subnets/join/action",
    f"{_NETWORK}/networkSecurityGroups/join/action",
    f"{_NETWORK}/networkInterfaces/write",
    f"{_NETWORK}/networkInterfaces/join/action",
    f"{_NETWORK}/publicIPAddresses/write",
    f"{_NETWORK}/publicIPAddresses/join/action",
)
"""What Azure checks besides, of the one who asks for a machine: the disk, interface and address that it makes with it,
and the network that they are put into. No request shows these."""

_RESERVED = f"{_COMPUTE}/capacityReservationGroups/deploy/action"
_OWN_IMAGES = (f"{_COMPUTE}/images/read", f"{_COMPUTE}/galleries/images/versions/read")


def actions(options: Mapping[str, object]) -> tuple[str, ...]:
    """Every action that the adapter needs with these settings, sorted."""
    found = {*CALLS, *LINKED}
    if options.get("reservations"):
        found.add(_RESERVED)
    if str(options.get("image", "")).startswith("/"):
        found.update(_OWN_IMAGES)
    return tuple(sorted(found))


def permissions(options: Mapping[str, object]) -> Mapping[str, object]:
    """A role definition as `az role definition create --role-definition` takes it."""
    return {
        "Name": "fleetctl",
        "IsCustom": True,
        "Description": "Rent, list, stop and give back GPU machines for fleetctl, and the networks they need",
        "Actions": list(actions(options)),
        "NotActions": [],
        "DataActions": [],
        "NotDataActions": [],
        "AssignableScopes": [f"/subscriptions/{options.get('subscription') or 'SUBSCRIPTION'}"],
    }


def missing(wanted: Iterable[str], granted: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The actions that none of the granted permissions allows. Each has patterns of `actions` and of `notActions`."""

    def allowed(action: str) -> bool:
        return any(
            _matches(action, one.get("actions") or ()) and not _matches(action, one.get("notActions") or ())
            for one in granted
        )

    return tuple(action for action in wanted if not allowed(action))


def _matches(action: str, patterns: Iterable[str]) -> bool:
    return any(
        re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), action, re.IGNORECASE)
        for pattern in patterns
    )
