"""What Azure rents out now: the catalog's machine types that each region says it has, zone by zone, with quotas."""

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleetctl import catalog
from fleetctl.catalog import Catalog, MachineType
from fleetctl.model.instances import Offer
from fleetctl.model.services import Market, Pool
from fleetctl.paths import Home
from fleetctl.providers.azure.connections import Connection
from fleetctl.providers.azure.machines import AZURE, normal_region, zone_name

_SIZES_KEPT_S = 600.0
"""A region's list of sizes has some MB and changes by the week; what has run out is learned from launches."""

_SPOT_QUOTA = "lowPriorityCores"
"""One quota for the spot machines of all families."""

_REGIONAL_QUOTA = "cores"
"""Every machine that is not spot counts against this one too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One machine type as a region has it for this subscription."""

    zones: tuple[str, ...]
    """Empty: the region has no zones for it."""
    spot: bool
    family: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    limit: int
    used: int

    @property
    def left(self) -> int:
        return max(0, self.limit - self.used)


class Offers:
    def __init__(self, connection: Connection, home: Home) -> None:
        self._connection = connection
        self._home = home
        self._sizes: dict[str, tuple[float, Mapping[str, Size]]] = {}

    async def find(self, pool: Pool) -> Sequence[Offer]:
        """What can be rented for the Pool, cheapest GPU first, unknown prices last."""
        tables = self.tables()
        market = pool.placement.market
        types = [one for one in tables.machine_types(AZURE, pool.gpu) if one.sold(market)]
        regions = self.regions(pool)
        if not types or not regions:
            return ()
        told = await asyncio.gather(*(self.region(region) for region in regions))
        now = time.time()
        found: list[Offer] = []
        for region, (sizes, quotas) in zip(regions, told, strict=True):
            for one in types:
                size = sizes.get(one.name.lower())
                if size is None or (market is Market.SPOT and not size.spot):
                    continue
                for zone in size.zones or ("",):
                    named = zone_name(region, zone)
                    price = tables.price(AZURE, one.name, region, market, zone=named)
                    offer = Offer(
                        provider=AZURE,
                        instance_type=one.name,
                        gpu=one.gpu,
                        zone=named,
                        region=region,
                        market=market,
                        price_per_hour=price.usd_per_hour if price else None,
                        price_source=price.source if price else "",
                        price_as_of=price.as_of if price else now,
                        quota_left=machines_left(one, size, quotas, market),
                    )
                    if _affordable(offer, pool.placement.max_price_per_hour):
                        found.append(offer)
        return tuple(sorted(found, key=_rank))

    def tables(self) -> Catalog:
        return catalog.load(self._home.root / "catalog")

    def regions(self, pool: Pool) -> tuple[str, ...]:
        """The configured regions that the Pool allows, and, for reserved capacity, that have any."""
        settings = self._connection.settings
        wanted = {normal_region(region) for region in pool.placement.regions}
        return tuple(
            region
            for region in settings.regions
            if (not wanted or region in wanted)
            and (pool.placement.market is not Market.RESERVED or region in settings.reservations)
        )

    async def region(self, region: str) -> tuple[Mapping[str, Size], Mapping[str, Quota]]:
        """The sizes of a region by name, and its quotas by name, both in lower case."""
        return await asyncio.gather(self._sizes_of(region), self._quotas_of(region))

    async def _sizes_of(self, region: str) -> Mapping[str, Size]:
        kept = self._sizes.get(region)
        if kept is not None and time.monotonic() - kept[0] < _SIZES_KEPT_S:
            return kept[1]
        found: dict[str, Size] = {}
        async with self._connection.reading(f"list the machine sizes of {region}") as clients:
            async for sku in clients.compute.resource_skus.list(filter=f"location eq '{region}'"):
                if sku.resource_type != "virtualMachines" or not sku.name:
                    continue
                zones = {
                    zone
                    for info in sku.location_info or ()
                    if normal_region(info.location) == region
                    for zone in info.zones or ()
                }
                barred = _barred(sku.restrictions or (), region)
                if barred is None:
                    continue
                if zones and not zones - barred:
                    continue
                able = {one.name: one.value for one in sku.capabilities or ()}
                found[sku.name.lower()] = Size(
                    zones=tuple(sorted(zones - barred)),
                    spot=(able.get("LowPriorityCapable") or "").lower() == "true",
                    family=sku.family or "",
                )
        self._sizes[region] = (time.monotonic(), found)
        return found

    async def _quotas_of(self, region: str) -> Mapping[str, Quota]:
        async with self._connection.reading(f"list the quotas of {region}") as clients:
            return {
                usage.name.value.lower(): Quota(limit=int(usage.limit or 0), used=int(usage.current_value or 0))
                async for usage in clients.compute.usage.list(region)
                if usage.name and usage.name.value
            }


def _barred(restrictions: Sequence[object], region: str) -> set[str] | None:
    """The zones that this subscription may not use; None: the whole region."""
    zones: set[str] = set()
    for one in restrictions:
        info = getattr(one, "restriction_info", None)
        match str(getattr(one, "type", "")).rpartition(".")[2].lower():
            case "location":
                places = getattr(info, "locations", None) or getattr(one, "values_property", None) or [region]
                if region in {normal_region(place) for place in places}:
                    return None
            case "zone":
                zones.update(getattr(info, "zones", None) or ())
    return zones


def quota_names(machine: MachineType, size: Size | None, market: Market) -> tuple[str, ...]:
    """The quotas that a machine counts against, in lower case."""
    if market is Market.SPOT:
        return (_SPOT_QUOTA.lower(),)
    family = (size.family if size else "") or machine.quota_family
    return (family.lower(), _REGIONAL_QUOTA)


def machines_left(machine: MachineType, size: Size | None, quotas: Mapping[str, Quota], market: Market) -> int | None:
    """How many more of it the quotas allow; None where Azure does not tell."""
    lefts = [quotas[name].left // machine.vcpus for name in quota_names(machine, size, market) if name in quotas]
    return min(lefts) if lefts else None


def _affordable(offer: Offer, most: float | None) -> bool:
    """An unknown price is no promise to stay below the limit."""
    return most is None or (offer.price_per_hour is not None and offer.price_per_hour <= most)


def _rank(offer: Offer) -> tuple[float, str, str]:
    price = math.inf if offer.price_per_hour is None else offer.price_per_hour / offer.gpu.count
    return price, offer.zone, offer.instance_type
