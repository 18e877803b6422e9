"""Azure's retail prices: a public REST API without credentials, in pages.

https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices
"""

import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

from fleetctl.catalog import Price, PriceRow
from fleetctl.errors import ProviderError
from fleetctl.model.names import ProviderName
from fleetctl.model.services import Market
from fleetctl.prices import Ask
from fleetctl.prices._web import PAGES_MAX, get_json

AZURE = ProviderName("azure")
SOURCE = "Azure retail prices API"
_BASE = "https://prices.azure.com"
_PATH = "/api/retail/prices"
_SIZES_A_QUESTION = 8
"""Sizes in one filter: the address stays below the 2,000 characters that every proxy lets pass."""


def prices(ask: Ask) -> Sequence[PriceRow]:
    """Pay-as-you-go and spot prices of Linux machines, by region."""
    sizes = [machine.name for machine in ask.types if machine.provider == AZURE]
    found = []
    for at in range(0, len(sizes), _SIZES_A_QUESTION):
        for item in _items(ask, sizes[at : at + _SIZES_A_QUESTION]):
            row = _row(item, ask)
            if row is not None:
                found.append(row)
    return found


def _items(ask: Ask, sizes: Sequence[str]) -> Iterator[dict[str, Any]]:
    base = (ask.endpoint or _BASE).rstrip("/")
    named = " or ".join(f"armSkuName eq '{size}'" for size in sizes)
    wanted = f"serviceName eq 'Virtual Machines' and priceType eq 'Consumption' and ({named})"
    url = f"{base}{_PATH}?{urllib.parse.urlencode({'$filter': wanted})}"
    for _ in range(PAGES_MAX):
        page = get_json(url, who="azure")
        yield from page.get("Items", ())
        url = page.get("NextPageLink") or ""
        if not url:
            return
        if ask.endpoint and not url.startswith(base):
            url = base + url[url.index(_PATH) :]  # the next page of a stand-in is with the stand-in
    raise ProviderError(f"azure: the list of prices does not end within {PAGES_MAX} pages")


def _row(item: dict[str, Any], ask: Ask) -> PriceRow | None:
    """One item as a price, or None for one of another kind: Windows, low priority, another unit or currency."""
    words = f"{item.get('skuName', '')} {item.get('meterName', '')}"
    plain = (
        "Windows" not in item.get("productName", "")
        and "Low Priority" not in words
        and item.get("type") == "Consumption"
        and item.get("unitOfMeasure") == "1 Hour"
        and item.get("currencyCode") == "USD"
    )
    region = item.get("armRegionName", "")
    usd = item.get("retailPrice", 0.0)
    if not plain or not region or not ask.wants(region) or not usd > 0:
        return None
    return PriceRow(
        provider=AZURE,
        type=item["armSkuName"],
        region=region,
        market=Market.SPOT if "Spot" in words else Market.ON_DEMAND,
        price=Price(usd_per_hour=float(usd), source=SOURCE, as_of=ask.now),
    )
