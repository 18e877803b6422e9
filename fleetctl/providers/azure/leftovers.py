"""What a fleet owns at Azure besides its machines, and the removal of it, piece by piece.

A resource group could be deleted with all that is in it. That would take machines with it, so each piece is removed by
itself, and a group only when it is empty.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleetctl.errors import Gone, InvalidRequest
from fleetctl.model.instances import Leftover
from fleetctl.model.names import InstanceId
from fleetctl.providers.azure.connections import Clients, Connection
from fleetctl.providers.azure.machines import (
    ADDRESS_SUFFIX,
    AZURE,
    DISK_SUFFIX,
    FLEET_TAG,
    ID_TAG,
    INTERFACE_SUFFIX,
    owned,
)
from fleetctl.providers.azure.networks import groups, look

GROUP = "resource-group"

_RESOURCE = re.compile(r"/subscriptions/([^/]+)/resourceGroups/([^/]+)/providers/([^/]+/[^/]+)/([^/]+)", re.IGNORECASE)
_GROUP = re.compile(r"/subscriptions/([^/]+)/resourceGroups/([^/]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of thing, and how to ask for it and to remove it."""

    name: str
    suffix: str
    """What its name ends in when it was made for a machine; empty: it is the region's."""
    free: bool
    """Whether it costs nothing while it is there."""
    list: Callable[[Clients, str], Any]
    get: Callable[[Clients, str, str], Awaitable[Any]]
    delete: Callable[[Clients, str, str, Mapping[str, Any]], Awaitable[Any]]
    holder: Callable[[Any], object]
    """What holds it, which must go first; false: nothing that a look at it tells."""


KINDS: tuple[_Kind, ...] = (
    _Kind(
        "network-interface",
        INTERFACE_SUFFIX,
        True,
        lambda clients, group: clients.network.network_interfaces.list(group),
        lambda clients, group, name: clients.network.network_interfaces.get(group, name),
        lambda clients, group, name, polling: clients.network.network_interfaces.begin_delete(group, name, **polling),
        lambda found: found.virtual_machine,
    ),
    _Kind(
        "public-address",
        ADDRESS_SUFFIX,
        False,
        lambda clients, group: clients.network.public_ip_addresses.list(group),
        lambda clients, group, name: clients.network.public_ip_addresses.get(group, name),
        lambda clients, group, name, polling: clients.network.public_ip_addresses.begin_delete(group, name, **polling),
        lambda found: found.ip_configuration,
    ),
    _Kind(
        "disk",
        DISK_SUFFIX,
        False,
        lambda clients, group: clients.compute.disks.list_by_resource_group(group),
        lambda clients, group, name: clients.compute.disks.get(group, name),
        lambda clients, group, name, polling: clients.compute.disks.begin_delete(group, name, **polling),
        lambda found: found.managed_by,
    ),
    _Kind(
        "network",
        "",
        True,
        lambda clients, group: clients.network.virtual_networks.list(group),
        lambda clients, group, name: clients.network.virtual_networks.get(group, name),
        lambda clients, group, name, polling: clients.network.virtual_networks.begin_delete(group, name, **polling),
        lambda _: None,
    ),
    _Kind(
        "security-group",
        "",
        True,
        lambda clients, group: clients.network.network_security_groups.list(group),
        lambda clients, group, name: clients.network.network_security_groups.get(group, name),
        lambda clients, group, name, polling: clients.network.network_security_groups.begin_delete(
            group, name, **polling
        ),
        lambda _: None,
    ),
)
"""In the order in which they can be removed."""

_KIND: Mapping[str, _Kind] = {kind.name: kind for kind in KINDS}


async def find(connection: Connection, fleet: str) -> Sequence[Leftover]:
    """All of it in every resource group of the fleet, in the order in which it can be removed."""
    there = await groups(connection, fleet)
    found = await asyncio.gather(*(_in_group(connection, fleet, name, region) for name, region in there.items()))
    order = {kind.name: place for place, kind in enumerate(KINDS)} | {GROUP: len(KINDS)}
    return sorted((one for part in found for one in part), key=lambda one: order[one.kind])


async def _in_group(connection: Connection, fleet: str, group: str, region: str) -> Iterable[Leftover]:
    subscription = connection.settings.subscription
    container = Leftover(
        provider=AZURE,
        kind=GROUP,
        id=f"/subscriptions/{subscription}/resourceGroups/{group}",
        region=region,
        price_per_hour=0.0,
    )
    inside = [
        Leftover(
            provider=AZURE,
            kind=kind.name,
            id=one.id,
            region=region,
            instance=_instance(kind, one),
            created_at=_created(one),
            price_per_hour=0.0 if kind.free else None,
        )
        for kind in KINDS
        for one in await _all(connection, kind, group)
        if _is_ours(kind, one, fleet)
    ]
    return [*inside, container]


async def _all(connection: Connection, kind: _Kind, group: str) -> Sequence[Any]:
    async def read(clients: Clients) -> Sequence[Any]:
        return [one async for one in kind.list(clients, group)]

    return await look(connection, f"list each {kind.name} of {group}", read) or ()


async def remove(connection: Connection, fleet: str, leftover: Leftover) -> None:
    """Remove one. Raises `InvalidRequest` for what is in use or not the fleet's; what is gone is no error."""
    try:
        if leftover.kind == GROUP:
            await _remove_group(connection, fleet, leftover)
        else:
            await _remove_one(connection, fleet, leftover)
    except Gone:
        return


async def _remove_one(connection: Connection, fleet: str, leftover: Leftover) -> None:
    kind = _KIND.get(leftover.kind)
    parts = _RESOURCE.fullmatch(leftover.id)
    if kind is None or parts is None or parts[1].lower() != connection.settings.subscription:
        raise InvalidRequest(f"{leftover.kind} {leftover.id}: nothing that fleetctl makes at Azure")
    group, name = parts[2], parts[4]
    found = await look(connection, f"look for {kind.name} {name}", lambda clients: kind.get(clients, group, name))
    if found is None:
        return
    container = await look(
        connection, f"look for resource group {group}", lambda clients: clients.resource.resource_groups.get(group)
    )
    if container is None or not owned(container.tags, fleet) or not _is_ours(kind, found, fleet):
        raise InvalidRequest(f"{kind.name} {name} in {group} is not of fleet {fleet}: it has not its tags")
    if kind.holder(found):
        raise InvalidRequest(f"{kind.name} {name} in {group} is in use", hint="fleetctl down --all, or fleetctl gc")
    await connection.change(
        f"remove {kind.name} {name}",
        lambda clients: kind.delete(clients, group, name, connection.polling()),
    )


async def _remove_group(connection: Connection, fleet: str, leftover: Leftover) -> None:
    parts = _GROUP.fullmatch(leftover.id)
    if parts is None or parts[1].lower() != connection.settings.subscription:
        raise InvalidRequest(f"{leftover.id}: no resource group of the subscription")
    group = parts[2]
    found = await look(
        connection, f"look for resource group {group}", lambda clients: clients.resource.resource_groups.get(group)
    )
    if found is None:
        return
    if not owned(found.tags, fleet):
        raise InvalidRequest(f"resource group {group} has no tag {FLEET_TAG}={fleet}: it is left alone")
    async with connection.reading(f"list what is in {group}") as clients:
        inside = [one.id async for one in clients.resource.resources.list_by_resource_group(group)]
    if inside:
        raise InvalidRequest(
            f"resource group {group} is not empty: {', '.join(str(one) for one in inside[:3])}",
            hint=f"see az resource list -g {group}",
        )
    await connection.change(
        f"remove resource group {group}",
        lambda clients: clients.resource.resource_groups.begin_delete(group, **connection.polling()),
    )


def _is_ours(kind: _Kind, found: Any, fleet: str) -> bool:
    """By its tag; or, in the fleet's own group, by a name that only we give.

    Azure copies a machine's tags to the disk that it makes with it, and has done so for years, but promises it nowhere.
    """
    if found.tags and FLEET_TAG in found.tags:
        return owned(found.tags, fleet)
    return bool(kind.suffix) and bool(_stem(kind, found.name))


def _instance(kind: _Kind, found: Any) -> InstanceId | None:
    if not kind.suffix:
        return None
    return InstanceId((found.tags or {}).get(ID_TAG) or _stem(kind, found.name))


def _stem(kind: _Kind, name: str) -> str:
    """The machine's name in a name that was made for it. Azure appends to those of interfaces and addresses."""
    stem, suffix, rest = name.rpartition(kind.suffix)
    return stem if suffix and (not rest or rest.startswith("-")) else ""


def _created(found: Any) -> float | None:
    made = getattr(found, "time_created", None)
    return made.timestamp() if made is not None else None
