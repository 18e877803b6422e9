"""Every machine of a fleet, in a handful of requests however many there are.

Azure's list of machines says nothing of their power and nothing of their addresses; asking each machine would cost two
requests for each. Its list of states and its list of addresses tell both for all of a subscription at once. They are
asked for only when the fleet has a machine.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from fleetctl.model.instances import InstanceSeen, Listing
from fleetctl.providers.azure.connections import Clients, Connection
from fleetctl.providers.azure.machines import AZURE, ID_TAG, interface_ids, owned, seen


async def listing(connection: Connection, fleet: str) -> Listing:
    """All pages of all three lists, or an error. Machines in regions that are configured no more are in it too."""
    at = time.time()
    async with connection.reading(f"list the machines of {fleet}") as clients:
        machines = [
            machine async for machine in clients.compute.virtual_machines.list_all() if owned(machine.tags, fleet)
        ]
        if machines:
            views, addresses = await asyncio.gather(_views(clients), _addresses(clients))
        else:
            views, addresses = {}, {}
    return Listing(
        provider=AZURE,
        at=at,
        instances=tuple(_seen(connection, machine, views, addresses) for machine in machines),
    )


async def _views(clients: Clients) -> Mapping[str, Any]:
    """Instance views by the machine's resource id in lower case."""
    found = clients.compute.virtual_machines.list_all(status_only="true")
    return {machine.id.lower(): machine.instance_view async for machine in found if machine.id}


async def _addresses(clients: Clients) -> Mapping[str, str]:
    """Public addresses by the resource id, in lower case, of the network interface that has them."""
    found: dict[str, str] = {}
    async for address in clients.network.public_ip_addresses.list_all():
        holder = address.ip_configuration.id if address.ip_configuration else None
        if holder and address.ip_address:
            found[holder.lower().partition("/ipconfigurations/")[0]] = address.ip_address
    return found


def _seen(connection: Connection, machine: Any, views: Mapping[str, Any], addresses: Mapping[str, str]) -> InstanceSeen:
    settings = connection.settings
    ip = next((addresses[one] for one in interface_ids(machine) if one in addresses), None)
    instance = machine.tags.get(ID_TAG, machine.name)
    address = None if ip is None else settings.address.format(id=instance, ip=ip, user=settings.ssh_user)
    return seen(machine, views.get(machine.id.lower()), address)
