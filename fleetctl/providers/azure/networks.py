"""The shared things of a region: resource group, security group, virtual network. Made once, tagged, found again."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from fleetctl.errors import Gone, InvalidRequest, OutcomeUnknown, ProviderError
from fleetctl.model.nodes import PEER_PORT
from fleetctl.providers.azure.connections import Clients, Connection
from fleetctl.providers.azure.errors import translate
from fleetctl.providers.azure.machines import FLEET_TAG, normal_region, owned
from fleetctl.providers.azure.settings import group_name

SECURITY_GROUP = "fleetctl-nsg"
NETWORK = "fleetctl-vnet"
SUBNET = "machines"

_ADDRESSES = "10.96.0.0/16"
"""65,531 machines, more than Azure lets one network have. Private, and never joined to another network."""

_SSH_PRIORITY = 1000
_PEERS_PRIORITY = 1010
"""Any two numbers between 100 and 4096 do: neither rule is in the other's way."""


class Networks:
    """One fleet's networks. Each region is looked at once in a process, and again after `forget`."""

    def __init__(self, connection: Connection, fleet: str) -> None:
        self._connection = connection
        self._fleet = fleet
        self._subnets: dict[str, str] = {}
        self._making: dict[str, asyncio.Lock] = {}

    async def subnet(self, region: str) -> str:
        """The resource id of the region's subnet, with all that it needs around it, made where it is missing.

        Raises `InvalidRequest` when something of that name belongs to somebody else. No loss here is an unknown
        outcome: no machine was asked for, and what was made is found by the next attempt and by `leftovers`.
        """
        async with self._making.setdefault(region, asyncio.Lock()):
            if region not in self._subnets:
                try:
                    self._subnets[region] = await self._make(region)
                except OutcomeUnknown as error:
                    raise ProviderError(
                        f"{error.message}; no machine was asked for yet",
                        hint="it is tried again by itself",
                        provider_code=error.provider_code,
                    ) from error
            return self._subnets[region]

    def forget(self, region: str | None = None) -> None:
        """Look again at the next launch: something was removed."""
        if region is None:
            self._subnets.clear()
        else:
            self._subnets.pop(region, None)

    async def _make(self, region: str) -> str:
        group = group_name(self._fleet, region)
        tags = {FLEET_TAG: self._fleet}
        if not await self._is_ours("resource group", group, group):
            await self._connection.change_at_once(
                f"make resource group {group}",
                lambda clients: clients.resource.resource_groups.create_or_update(
                    group, {"location": region, "tags": tags}
                ),
            )
        rules = self._rules()
        guard = await self._found("security group", group, SECURITY_GROUP)
        if guard is None or _open(guard) != _opened(rules):
            body: Any = {"location": region, "tags": tags, "properties": {"securityRules": rules}}
            await self._connection.change(
                f"make security group {SECURITY_GROUP} in {group}",
                lambda clients: clients.network.network_security_groups.begin_create_or_update(
                    group, SECURITY_GROUP, body, **self._connection.polling()
                ),
            )
        base = f"/subscriptions/{self._connection.settings.subscription}/resourceGroups/{group}/providers"
        if not await self._is_ours("network", group, NETWORK):
            network: Any = {
                "location": region,
                "tags": tags,
                "properties": {
                    "addressSpace": {"addressPrefixes": [_ADDRESSES]},
                    "subnets": [
                        {
                            "name": SUBNET,
                            "properties": {
                                "addressPrefix": _ADDRESSES,
                                "networkSecurityGroup": {
                                    "id": f"{base}/Microsoft.Network/networkSecurityGroups/{SECURITY_GROUP}"
                                },
                            },
                        }
                    ],
                },
            }
            await self._connection.change(
                f"make network {NETWORK} in {group}",
                lambda clients: clients.network.virtual_networks.begin_create_or_update(
                    group, NETWORK, network, **self._connection.polling()
                ),
            )
        return f"{base}/Microsoft.Network/virtualNetworks/{NETWORK}/subnets/{SUBNET}"

    def _rules(self) -> list[Mapping[str, Any]]:
        """Port 22 from the configured sources; the peers' port from the subnet, where only the fleet's machines are.

        Azure's own last rule denies the rest to whoever is outside the network; the one before lets those inside pass.
        """
        sources = self._connection.settings.ssh_sources
        peers = _rule("peers", _PEERS_PRIORITY, PEER_PORT, sources=[_ADDRESSES], destination=_ADDRESSES)
        return [*([_rule("ssh", _SSH_PRIORITY, 22, sources=sources)] if sources else []), peers]

    async def _is_ours(self, kind: str, group: str, name: str) -> bool:
        return await self._found(kind, group, name) is not None

    async def _found(self, kind: str, group: str, name: str) -> Any | None:
        """The thing of that name, None where there is none. Raises `InvalidRequest` for another's."""
        found = await look(self._connection, f"look for {kind} {name} in {group}", _get(kind, group, name))
        if found is not None and not owned(found.tags, self._fleet):
            raise InvalidRequest(
                f"{kind} {name} in {group} is there and has no tag {FLEET_TAG}={self._fleet}",
                hint="rename the fleet, or tag it by hand if it is the fleet's",
            )
        if found is not None and kind != "resource group" and found.provisioning_state == "Failed":
            return None  # its making failed half way; the same request again mends it
        return found


def _get(kind: str, group: str, name: str) -> Any:
    def get(clients: Clients) -> Any:
        match kind:
            case "resource group":
                return clients.resource.resource_groups.get(name)
            case "security group":
                return clients.network.network_security_groups.get(group, name)
            case _:
                return clients.network.virtual_networks.get(group, name)

    return get


async def look(connection: Connection, what: str, get: Any) -> Any | None:
    """What `get` finds, or None where Azure says that there is none. Any doubt is an error."""
    from azure.core.exceptions import HttpResponseError

    async with connection.reading(what) as clients:
        try:
            return await get(clients)
        except HttpResponseError as error:
            if isinstance(translate(what, error, changes=False), Gone):
                return None
            raise


def _rule(name: str, priority: int, port: int, *, sources: Sequence[str], destination: str = "*") -> Mapping[str, Any]:
    return {
        "name": name,
        "properties": {
            "priority": priority,
            "direction": "Inbound",
            "access": "Allow",
            "protocol": "Tcp",
            "sourceAddressPrefixes": list(sources),
            "sourcePortRange": "*",
            "destinationAddressPrefix": destination,
            "destinationPortRange": str(port),
        },
    }


def _open(guard: Any) -> list[tuple[object, ...]]:
    """What a security group lets in, in a form that can be compared."""
    return sorted(
        (
            rule.direction,
            rule.access,
            rule.protocol,
            rule.destination_port_range or "",
            rule.destination_address_prefix or "",
            # Azure may tell a list of one as a single one.
            tuple(sorted({*(rule.source_address_prefixes or ()), *filter(None, [rule.source_address_prefix])})),
        )
        for rule in guard.security_rules or ()
    )


def _opened(rules: list[Mapping[str, Any]]) -> list[tuple[object, ...]]:
    found = [rule["properties"] for rule in rules]
    return sorted(
        (
            rule["direction"],
            rule["access"],
            rule["protocol"],
            rule["destinationPortRange"],
            rule["destinationAddressPrefix"],
            tuple(sorted(rule["sourceAddressPrefixes"])),
        )
        for rule in found
    )


async def groups(connection: Connection, fleet: str) -> Mapping[str, str]:
    """The fleet's resource groups, by name, with their regions; those of regions configured no more among them."""
    wanted = f"tagName eq '{FLEET_TAG}' and tagValue eq '{fleet}'"
    async with connection.reading(f"list resource groups of {fleet}") as clients:
        return {
            group.name: normal_region(group.location)
            async for group in clients.resource.resource_groups.list(filter=wanted)
            if group.name and owned(group.tags, fleet)
        }
