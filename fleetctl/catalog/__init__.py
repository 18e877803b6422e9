"""GPU machine types that clouds rent out, and what they cost: two tables that come with fleetctl, and refreshed prices.

The table of machine types is reviewed by hand and changes slowly. Prices are dated; each says where it is from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fleetctl.model.names import ProviderName
from fleetctl.model.services import Gpu, Market, same_product

STALE_S = 7 * 86_400.0
"""A price older than this is flagged: spot prices move within a week, and on-demand ones are cut a few times a year."""

PRICES_FILE = "prices.csv"
"""In the folder of refreshed tables."""

_ALIASES = {
    "A100-40G": "A100-40GB",
    "A100-80G": "A100-80GB",
    "A10G-24GB": "A10G",
    "H100-80GB": "H100",
    "H100-SXM": "H100",
    "H100-94GB": "H100-NVL",
    "H200-141GB": "H200",
    "L4-24GB": "L4",
    "L40S-48GB": "L40S",
    "RTXPRO6000": "RTX-PRO-6000",
    "RTXPRO4500": "RTX-PRO-4500",
    "T4-16GB": "T4",
    "V100-16G": "V100-16GB",
    "V100-32G": "V100-32GB",
}
"""Names that people bring from elsewhere, and what the product is called here."""
_MAKERS = ("NVIDIA-", "TESLA-")
"""What clouds write before a product's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineType:
    """One kind of machine of a Provider. Memory and disk in GB (or GiB) as the Provider itself states them."""

    provider: ProviderName
    name: str
    """The Provider's own name of it; for GCP's attached GPUs `MACHINE+ACCELERATOR:COUNT`."""
    gpu: Gpu
    gpu_memory_gb: float
    """Of one GPU."""
    vcpus: int
    ram_gb: float
    local_disk_gb: int = 0
    """Fast disks that come with the machine and die with it; 0: none."""
    spot: bool = True
    """Whether it is sold on the spot Market."""
    on_demand: bool = True
    """Whether it is sold on demand; some are for spot and reserved capacity only."""
    quota_family: str = ""
    """The Provider's word for the quota that it counts against; empty: the Provider is asked."""

    @property
    def machine(self) -> str:
        """The machine without GPUs that were attached to it, as in `n1-standard-8`."""
        return self.name.partition("+")[0]

    @property
    def accelerator(self) -> str:
        """What is attached to the machine, as in `nvidia-tesla-t4`; empty where the GPUs are part of the type."""
        return self.name.partition("+")[2].partition(":")[0]

    def sold(self, market: Market) -> bool:
        return {Market.SPOT: self.spot, Market.ON_DEMAND: self.on_demand}.get(market, True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one machine costs an hour, with where that is from."""

    usd_per_hour: float
    source: str
    as_of: float
    """Unix seconds."""

    def stale(self, now: float) -> bool:
        return now - self.as_of > STALE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRow:
    """One line of a table of prices."""

    provider: ProviderName
    type: str
    region: str
    zone: str = ""
    """Empty: the price holds in the whole region."""
    market: Market
    price: Price


@dataclass(frozen=True, slots=True)
class Catalog:
    types: tuple[MachineType, ...]
    prices: tuple[PriceRow, ...] = ()
    _price_of: Mapping[tuple[str, str, str, str], Mapping[str, Price]] = field(init=False, repr=False, compare=False)
    """By provider, type, region and market: by zone."""

    def __post_init__(self) -> None:
        found: dict[tuple[str, str, str, str], dict[str, Price]] = {}
        for row in self.prices:
            zones = found.setdefault((row.provider, row.type, row.region, row.market), {})
            if row.zone not in zones or zones[row.zone].as_of <= row.price.as_of:
                zones[row.zone] = row.price
        object.__setattr__(self, "_price_of", found)

    def machine_types(self, provider: str, alternatives: Sequence[Gpu]) -> tuple[MachineType, ...]:
        """The Provider's machines with exactly the GPUs of one of the alternatives, in their order."""
        own = [machine for machine in self.types if machine.provider == provider]
        found = {
            machine.name: machine
            for wanted in alternatives
            for machine in own
            if machine.gpu.count == wanted.count and same_product(wanted.name, machine.gpu.name)
        }
        return tuple(found.values())

    def machine_type(self, provider: str, name: str) -> MachineType | None:
        """The machine of that name, or None."""
        return next((row for row in self.types if row.provider == provider and row.name == name), None)

    def price(self, provider: str, type_name: str, region: str, market: Market, *, zone: str = "") -> Price | None:
        """What it costs there: the zone's price, else the region's. None: not known, which is never zero.

        Where only zones have prices and none is asked for, it is the dearest: less must not be promised.
        """
        zones = self._price_of.get((provider, type_name, region, market))
        if not zones:
            return None
        found = zones.get(zone) or zones.get("")
        if found is None and not zone:
            found = max(zones.values(), key=lambda price: price.usd_per_hour)
        return found

    def regions(self, provider: str, type_name: str) -> tuple[str, ...]:
        """The regions that prices are known for, sorted."""
        return tuple(sorted({row.region for row in self.prices if (row.provider, row.type) == (provider, type_name)}))


def canonical(name: str) -> str:
    """A GPU's name as the tables have it: upper case, without its maker; a name that is not known stays as it is."""
    name = name.upper()
    for maker in _MAKERS:
        name = name.removeprefix(maker)
    return _ALIASES.get(name, name)


def load(folder: Path | None = None) -> Catalog:
    """The tables that come with fleetctl, with the refreshed ones of `folder` (its home's `catalog`) over them.

    Cheap to call again: a table is read once, and again when its file has changed. Raises `StoreFailure` for one
    that cannot be read.
    """
    from fleetctl.catalog.tables import packaged, refreshed

    types, prices = packaged()
    return refreshed(folder / PRICES_FILE, types, prices) if folder is not None else Catalog(types, prices)
