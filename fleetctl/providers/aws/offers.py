"""What EC2 has for a Pool: the catalog's machine types, in the zones where EC2 says it offers them."""

import asyncio
from collections.abc import Sequence

from fleetctl.catalog import Catalog, MachineType
from fleetctl.model.instances import Offer
from fleetctl.model.services import Market, Pool
from fleetctl.providers.aws.quotas import Quotas, quotas
from fleetctl.providers.aws.sdk import Sdk
from fleetctl.providers.aws.settings import AWS


async def offers(sdk: Sdk, catalog: Catalog, configured: Sequence[str], pool: Pool) -> tuple[Offer, ...]:
    """One Offer for each type and zone; the cheapest GPU first, those without a known price last."""
    placement = pool.placement
    regions = [region for region in configured if not placement.regions or region in placement.regions]
    machines = {
        machine.name: machine for machine in catalog.machine_types(AWS, pool.gpu) if machine.sold(placement.market)
    }
    if not regions or not machines:
        return ()
    places, left = await asyncio.gather(
        asyncio.gather(*(_offered(sdk, region, tuple(machines)) for region in regions)),
        quotas(sdk, regions, tuple(machines.values()), placement.market),
    )
    found = [
        _offer(catalog, machines[name], region, zone, placement.market, left)
        for region, there in zip(regions, places, strict=True)
        for name, zone in there
    ]
    most = placement.max_price_per_hour
    if most is not None:
        # A price that is not known keeps no promise.
        found = [offer for offer in found if offer.price_per_hour is not None and offer.price_per_hour <= most]
    return tuple(sorted(found, key=lambda offer: _rank(offer, machines[offer.instance_type])))


async def _offered(sdk: Sdk, region: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """(type, zone) for each of the named types in each zone that has it."""
    answer = await sdk.pages(
        region,
        "describe_instance_type_offerings",
        "InstanceTypeOfferings",
        LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": list(names)}],
    )
    return [(one["InstanceType"], one["Location"]) for one in answer]


def _offer(catalog: Catalog, machine: MachineType, region: str, zone: str, market: Market, left: Quotas) -> Offer:
    price = catalog.price(AWS, machine.name, region, market, zone=zone)
    return Offer(
        provider=AWS,
        instance_type=machine.name,
        gpu=machine.gpu,
        zone=zone,
        market=market,
        price_per_hour=price.usd_per_hour if price else None,
        price_source=price.source if price else "",
        price_as_of=price.as_of if price else 0.0,
        region=region,
        quota_left=left.machines(region, machine, market),
    )


def _rank(offer: Offer, machine: MachineType) -> tuple[bool, float, float, str, str]:
    """The least for a GPU first. Of unknown prices the smallest machine first: what it has besides GPUs costs too."""
    price = offer.price_per_hour
    return price is None, (price or 0.0) / offer.gpu.count, machine.vcpus, offer.instance_type, offer.zone
