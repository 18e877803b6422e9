"""Whether launches at Azure would work: credentials, rights, registrations, quotas, ways in. Changes nothing."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from fleetctl.catalog import MachineType
from fleetctl.errors import FleetError
from fleetctl.model.checks import Check
from fleetctl.model.services import Market, Pool
from fleetctl.providers.azure.connections import Connection
from fleetctl.providers.azure.listings import listing
from fleetctl.providers.azure.machines import AZURE
from fleetctl.providers.azure.networks import groups
from fleetctl.providers.azure.offers import Offers, machines_left, quota_names
from fleetctl.providers.azure.permissions import actions, missing

_NAMESPACES = ("Microsoft.Compute", "Microsoft.Network")

_SHOWN_MAX = 3
"""Missing rights named in one line; the role that has them all is one command away."""

_PERMISSIONS_API = "2022-04-01"


async def run(
    connection: Connection, fleet: str, options: Mapping[str, object], offers: Offers, pools: Sequence[Pool]
) -> Sequence[Check]:
    """All of them; a part that Azure refuses to tell is a failed check of its own."""
    parts = await asyncio.gather(
        _told("azure credentials", _credentials(connection, fleet)),
        _told("azure permissions", _rights(connection, options)),
        _told("azure registration", _registered(connection)),
        *(
            _told(f"azure quota {region}", _quotas(connection, offers, region, pools))
            for region in sorted({region for pool in pools for region in offers.regions(pool)})
        ),
    )
    return [*(check for part in parts for check in part), _ways_in(connection)]


async def _told(name: str, part: Awaitable[Sequence[Check]]) -> Sequence[Check]:
    try:
        return await part
    except FleetError as error:
        fix = error.hint or "see https://status.azure.com, then again: fleetctl doctor"
        return [Check(check=name, status="fail", detail=error.message, fix=fix)]


async def _credentials(connection: Connection, fleet: str) -> Sequence[Check]:
    there, seen = await asyncio.gather(groups(connection, fleet), listing(connection, fleet))
    return [
        Check(
            check="azure credentials",
            status="ok",
            detail=f"subscription {connection.settings.subscription}: {len(seen.instances)} machines of {fleet} in "
            f"{len(there)} resource groups",
        )
    ]


async def _rights(connection: Connection, options: Mapping[str, object]) -> Sequence[Check]:
    scope = f"/subscriptions/{connection.settings.subscription}"

    def whole(answer: Any, _body: object, _headers: object) -> Any:
        return answer.http_response.json()

    async with connection.reading("read what is permitted") as clients:
        told: Any = await clients.resource.resources.get_by_id(
            f"{scope}/providers/Microsoft.Authorization/permissions", api_version=_PERMISSIONS_API, cls=whole
        )
    lacking = missing(actions(options), told.get("value") or ())
    if not lacking:
        return [Check(check="azure permissions", status="ok", detail="every call that is needed is permitted")]
    more = f" and {len(lacking) - _SHOWN_MAX} more" if len(lacking) > _SHOWN_MAX else ""
    return [
        Check(
            check="azure permissions",
            # With more pages there may be a permission that we have not seen.
            status="warn" if told.get("nextLink") else "fail",
            detail=f"not permitted on {scope}: {', '.join(lacking[:_SHOWN_MAX])}{more}",
            fix="fleetctl provider permissions azure > role.json, then az role definition create --role-definition "
            "role.json, and assign it",
        )
    ]


async def _registered(connection: Connection) -> Sequence[Check]:
    async with connection.reading("look at registrations") as clients:
        told = await asyncio.gather(*(clients.resource.providers.get(name) for name in _NAMESPACES))
    not_yet = [name for name, one in zip(_NAMESPACES, told, strict=True) if one.registration_state != "Registered"]
    return [
        Check(
            check="azure registration",
            status="fail",
            detail=f"the subscription is not registered for {name}",
            fix=f"az provider register --namespace {name}",
        )
        for name in not_yet
    ] or [Check(check="azure registration", status="ok", detail="registered for machines and networks")]


async def _quotas(connection: Connection, offers: Offers, region: str, pools: Sequence[Pool]) -> Sequence[Check]:
    tables = offers.tables()
    sizes, quotas = await offers.region(region)
    wanted: dict[tuple[Market, str], tuple[MachineType, Pool]] = {}
    for pool in pools:
        if region in offers.regions(pool):
            for one in tables.machine_types(AZURE, pool.gpu):
                if one.sold(pool.placement.market):
                    wanted.setdefault((pool.placement.market, one.name), (one, pool))
    checks: list[Check] = []
    for (market, name), (machine, pool) in sorted(wanted.items()):
        size = sizes.get(name.lower())
        if size is None:
            continue  # not sold there, or not to this subscription: `offers` shows what is
        left = machines_left(machine, size, quotas, market)
        quota = quota_names(machine, size, market)[0]
        label = f"azure quota {region} {quota}"
        if left is None:
            checks.append(Check(check=label, status="warn", detail=f"Azure does not tell it for {name}", fix=_RAISE))
        elif left == 0:
            known = [one for one in quota_names(machine, size, market) if one in quotas]
            held = ", ".join(f"{one}: {quotas[one].used} of {quotas[one].limit}" for one in known)
            checks.append(
                Check(
                    check=label, status="warn", detail=f"no {name} fits for pool {pool.name}; vCPUs {held}", fix=_RAISE
                )
            )
        else:
            checks.append(Check(check=label, status="ok", detail=f"{left} of {name} fit"))
    return checks or [
        Check(
            check=f"azure quota {region}",
            status="warn",
            detail="no machine type of the pools is sold there to this subscription",
            fix="see where it is sold: fleetctl offers --gpu GPU",
        )
    ]


_RAISE = "ask for more in the portal: Quotas, Compute, the region, the family"


def _ways_in(connection: Connection) -> Check:
    sources = connection.settings.ssh_sources
    if not sources:
        return Check(
            check="azure ssh_sources",
            status="warn",
            detail="nobody may reach port 22 of a machine, this controller included",
            fix="name networks under providers.azure.ssh_sources, as in [203.0.113.7/32]",
        )
    return Check(check="azure ssh_sources", status="ok", detail=f"port 22 is open to {', '.join(sources)}")
