"""gpuhunt's catalog of many clouds, where that package is installed; whose prices it collects is its own affair."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from fleetctl.catalog import Price, PriceRow
from fleetctl.errors import MissingDependency, ProviderError
from fleetctl.model.names import ProviderName
from fleetctl.model.services import Market
from fleetctl.prices import Ask

SOURCE = "gpuhunt"


class Item(Protocol):
    """What we read of a row of gpuhunt's (0.1)."""

    provider: str
    instance_name: str
    location: str
    price: float
    spot: bool


def prices(ask: Ask) -> Sequence[PriceRow]:
    """Prices of the catalog's machines at the clouds that both know."""
    try:
        import gpuhunt  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise MissingDependency("gpuhunt is not installed", hint="pip install gpuhunt") from error
    wanted = sorted({machine.provider for machine in ask.types})
    try:
        items = gpuhunt.query(provider=wanted, min_gpu_count=1)
    except (gpuhunt.GPUHuntError, OSError, ValueError) as error:
        raise ProviderError(f"gpuhunt: {error}", hint="look at this machine's way out, then try again") from error
    return rows(items, ask)


def rows(items: Iterable[Item], ask: Ask) -> Sequence[PriceRow]:
    """The items that are about machines of the catalog, as prices."""
    known = {(machine.provider, machine.name) for machine in ask.types}
    return [
        PriceRow(
            provider=ProviderName(item.provider),
            type=item.instance_name,
            region=item.location,
            market=Market.SPOT if item.spot else Market.ON_DEMAND,
            price=Price(usd_per_hour=item.price, source=SOURCE, as_of=ask.now),
        )
        for item in items
        if (item.provider, item.instance_name) in known and item.price > 0 and ask.wants(item.location)
    ]
