"""What SkyPilot's catalog has for a Pool, at the clouds that it can use. Regions are its finest places here."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fleetctl.catalog import canonical
from fleetctl.model.instances import Offer
from fleetctl.model.services import Gpu, Market, Pool, same_product
from fleetctl.providers.sky.process import Bridge
from fleetctl.providers.sky.settings import OWN_CLOUDS, SKY, Settings

_KEPT_S = 600.0
"""SkyPilot fetches its tables every 7 h; which clouds it can use changes when a person changes it."""

_ATTACHED = frozenset({"gcp"})
"""Clouds whose machine types do not say which GPUs come with them."""

_SIZED = frozenset({"A100-40GB", "A100-80GB", "V100-16GB", "V100-32GB"})
"""Products that fleetctl tells apart by their memory, and SkyPilot's catalog by none or one of them."""


@dataclass(frozen=True, slots=True)
class _Row:
    cloud: str
    gpu: str
    region: str
    type: str | None = None
    count: float | None = None
    memory_gb: float | None = None
    price: float | None = None
    spot_price: float | None = None


@dataclass(frozen=True, slots=True)
class _Catalog:
    rows: list[_Row] = field(default_factory=list)
    dates: dict[str, float | None] = field(default_factory=dict)
    version: str = ""


class Offers:
    def __init__(self, bridge: Bridge, settings: Settings) -> None:
        self._bridge = bridge
        self._settings = settings
        self._kept: tuple[float, _Catalog] | None = None

    async def find(self, pool: Pool) -> Sequence[Offer]:
        """The cheapest GPU first, unknown prices last. SkyPilot has no reserved capacity by price."""
        placement = pool.placement
        if placement.market is Market.RESERVED:
            return ()
        catalog = await self._catalog()
        source = f"skypilot catalog {catalog.version}"
        most = placement.max_price_per_hour
        found = []
        for row in catalog.rows:
            gpu = _gpu(row)
            if gpu is None or not _wanted(gpu, pool.gpu):
                continue
            if not (_within(row, self._settings.regions) and _within(row, placement.regions)):
                continue
            price = _price(row, placement.market, catalog.dates)
            if placement.market is Market.SPOT and row.spot_price is None:
                continue  # not sold there
            if most is not None and (price is None or price > most):
                continue  # a price that is not known keeps no promise
            found.append(
                Offer(
                    provider=SKY,
                    instance_type=_type(row, gpu.count),
                    gpu=gpu,
                    zone=f"{row.cloud}/{row.region}",
                    region=f"{row.cloud}/{row.region}",
                    market=placement.market,
                    price_per_hour=price,
                    price_source=source if price is not None else "",
                    price_as_of=(catalog.dates.get(row.cloud) or 0.0) if price is not None else 0.0,
                )
            )
        return tuple(sorted(found, key=_rank))

    async def clouds(self) -> tuple[str, ...]:
        """Those to rent from, of those that SkyPilot can use now."""
        enabled = await self._bridge.read("clouds", list[str], "which clouds can be used")
        return self.chosen(enabled)

    def chosen(self, enabled: Sequence[str]) -> tuple[str, ...]:
        """Of the clouds that SkyPilot can use, those that the settings want."""
        wanted = self._settings.clouds
        return tuple(cloud for cloud in enabled if (cloud in wanted if wanted else cloud not in OWN_CLOUDS))

    async def _catalog(self) -> _Catalog:
        if self._kept is not None and time.monotonic() - self._kept[0] < _KEPT_S:
            return self._kept[1]
        clouds = await self.clouds()
        if not clouds:
            return _Catalog()  # asked again next time: it is what a new user mends first
        catalog = await self._bridge.read("catalog", _Catalog, f"the catalog of {', '.join(clouds)}", clouds=clouds)
        self._kept = (time.monotonic(), catalog)
        return catalog


def split_type(instance_type: str) -> tuple[str, dict[str, int]]:
    """SkyPilot's machine type and GPUs out of an Offer's type; empty: SkyPilot finds it by the other."""
    machine, _, attached = instance_type.partition("+")
    name, _, count = attached.partition(":")
    return machine, {name: int(count)} if name else {}


def _type(row: _Row, count: int) -> str:
    machine = "" if row.type in (None, "", "(attachable)") else str(row.type)
    return f"{machine}+{row.gpu}:{count}" if not machine or row.cloud in _ATTACHED else machine


def _gpu(row: _Row) -> Gpu | None:
    """As fleetctl names it. None: a part of a GPU, which is no machine's whole."""
    if row.count is None or row.count < 1 or row.count != int(row.count):
        return None
    name = canonical(row.gpu)
    sized = f"{name}-{row.memory_gb:.0f}GB" if row.memory_gb is not None else name
    return Gpu(name=sized if sized in _SIZED else "A100-40GB" if name == "A100" else name, count=int(row.count))


def _wanted(gpu: Gpu, alternatives: Sequence[Gpu]) -> bool:
    return any(gpu.count == one.count and same_product(one.name, gpu.name) for one in alternatives)


def _within(row: _Row, regions: Sequence[str]) -> bool:
    return not regions or bool({row.cloud, row.region, f"{row.cloud}/{row.region}"}.intersection(regions))


def _price(row: _Row, market: Market, dates: Mapping[str, float | None]) -> float | None:
    """None where the table has none, has a zero (a cluster of one's own), or has no date to show with it."""
    price = row.spot_price if market is Market.SPOT else row.price
    return price if price and dates.get(row.cloud) else None


def _rank(offer: Offer) -> tuple[bool, float, str, str]:
    price = offer.price_per_hour
    return price is None, (price or 0.0) / offer.gpu.count, offer.zone, offer.instance_type
