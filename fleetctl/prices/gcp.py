"""GCP's Cloud Billing Catalog API: prices of the parts, which are added up to machines.

https://cloud.google.com/billing/docs/reference/rest/v1/services.skus/list. A machine has a price only where every one
of its parts was found: vCPUs, memory, GPUs, and disks where they belong to the type. Parts are told apart by Google's
descriptions, which are English prose: what is not recognised has no price, never a wrong one.
"""

import importlib
import re
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fleetctl.catalog import MachineType, Price, PriceRow
from fleetctl.errors import AuthFailure, MissingDependency, ProviderError
from fleetctl.model.names import ProviderName
from fleetctl.model.services import Market
from fleetctl.prices import Ask
from fleetctl.prices._web import PAGES_MAX, get_json

GCP = ProviderName("gcp")
SOURCE = "GCP Cloud Billing Catalog API"
_BASE = "https://cloudbilling.googleapis.com"
_COMPUTE = "services/6F81-5844-456A"
"""Compute Engine's own id in that API."""
_SCOPE = "https://www.googleapis.com/auth/cloud-billing.readonly"
_HOURS_A_MONTH = 730.0
"""As Google counts: disks are billed by the month of 730 hours."""
_MARKETS = {"OnDemand": Market.ON_DEMAND, "Preemptible": Market.SPOT}

_CORE, _RAM, _GPU, _DISK = "core", "ram", "gpu", "disk"
_FAMILIES = {"n1": "N1 Predefined", "g2": "G2", "a2": "A2", "a3-highgpu": "A3"}
"""What the descriptions of vCPUs and memory begin with, by the beginning of the machine's name."""
_GPUS = {
    "L4": "Nvidia L4 GPU",
    "A100-40GB": "Nvidia Tesla A100 GPU",
    "A100-80GB": "Nvidia Tesla A100 80GB GPU",
    "H100": "Nvidia H100 80GB GPU",
    "T4": "Nvidia Tesla T4 GPU",
    "V100-16GB": "Nvidia Tesla V100 GPU",
    "P100": "Nvidia Tesla P100 GPU",
    "P4": "Nvidia Tesla P4 GPU",
}
_SPOT_WORDS = re.compile(r"^Spot Preemptible | attached to Spot Preemptible VMs")
_OTHER_TERMS = re.compile(r"Commitment|Reserved|DWS|Calendar|Sole Tenancy|Custom|Upgrade|Confidential", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Part:
    """What is priced: a kind of thing, which one, where and on which Market."""

    kind: str
    of: str
    region: str
    market: Market


def prices(ask: Ask) -> Sequence[PriceRow]:
    """Prices of Linux machines, by region; for Markets and regions whose parts are all known."""
    parts = {part: usd for sku in _skus(ask) for part, usd in _priced(sku) if ask.wants(part.region)}
    regions = sorted({part.region for part in parts})
    return [
        row
        for machine in ask.types
        if machine.provider == GCP
        for region in regions
        for market in (Market.ON_DEMAND, Market.SPOT)
        if machine.sold(market) and (row := _machine(machine, region, market, parts, ask)) is not None
    ]


def _machine(machine: MachineType, region: str, market: Market, parts: dict[_Part, float], ask: Ask) -> PriceRow | None:
    family = next((family for start, family in _FAMILIES.items() if machine.name.startswith(start)), None)
    if family is None:
        return None
    needed = [(_CORE, family, float(machine.vcpus)), (_RAM, family, machine.ram_gb)]
    needed.append((_GPU, machine.gpu.name, float(machine.gpu.count)))
    if machine.local_disk_gb:
        needed.append((_DISK, "", float(machine.local_disk_gb)))
    total = 0.0
    for kind, of, count in needed:
        usd = parts.get(_Part(kind, of, region, market))
        if usd is None:
            return None
        total += usd * count
    return PriceRow(
        provider=GCP,
        type=machine.name,
        region=region,
        market=market,
        price=Price(usd_per_hour=round(total, 6), source=SOURCE, as_of=ask.now),
    )


def _priced(sku: dict[str, Any]) -> Iterator[tuple[_Part, float]]:
    """The parts that one SKU prices: one for each region it holds in."""
    category = sku.get("category", {})
    market = _MARKETS.get(category.get("usageType", ""))
    told = sku.get("description", "")
    if category.get("resourceFamily") not in ("Compute", "Storage") or market is None or _OTHER_TERMS.search(told):
        return
    if market is Market.ON_DEMAND and _SPOT_WORDS.search(told):
        return
    found = _kind(_SPOT_WORDS.sub("", told), category.get("resourceGroup", ""))
    usd = _unit_price(sku)
    if found is None or usd is None:
        return
    kind, of = found
    for region in sku.get("serviceRegions", ()):
        yield _Part(kind, of, region, market), usd


def _kind(told: str, group: str) -> tuple[str, str] | None:
    """What a description is about: vCPUs or memory of a family, a GPU, or local disks."""
    what, running, _ = told.partition(" running in ")
    if group == "LocalSSD" and told.startswith("SSD backed Local Storage"):
        return _DISK, ""
    if not running:
        return None
    for family in _FAMILIES.values():
        if what == f"{family} Instance Core":
            return _CORE, family
        if what == f"{family} Instance Ram":
            return _RAM, family
    return next(((_GPU, name) for name, text in _GPUS.items() if what == text), None)


def _unit_price(sku: dict[str, Any]) -> float | None:
    """US dollars of one unit an hour, from the newest price and its last tier; None: not by the hour or the month."""
    infos = sku.get("pricingInfo") or ()
    if not infos:
        return None
    expression = infos[-1]["pricingExpression"]
    rates = expression.get("tieredRates") or ()
    if not rates or rates[-1]["unitPrice"].get("currencyCode") != "USD":
        return None
    money = rates[-1]["unitPrice"]
    usd = int(money.get("units") or 0) + int(money.get("nanos") or 0) / 1e9
    unit = expression.get("usageUnit")
    if usd <= 0 or unit not in ("h", "GiBy.h", "GiBy.mo"):
        return None
    return usd / _HOURS_A_MONTH if unit == "GiBy.mo" else usd


def _skus(ask: Ask) -> Iterator[dict[str, Any]]:
    base = (ask.endpoint or _BASE).rstrip("/")
    headers = {} if ask.loopback else {"Authorization": f"Bearer {_token()}"}
    words = {"currencyCode": "USD", "pageSize": "5000"}
    for _ in range(PAGES_MAX):
        page = get_json(f"{base}/v1/{_COMPUTE}/skus?{urllib.parse.urlencode(words)}", headers=headers, who="gcp")
        yield from page.get("skus", ())
        token = page.get("nextPageToken")
        if not token:
            return
        words["pageToken"] = token
    raise ProviderError(f"gcp: the list of SKUs does not end within {PAGES_MAX} pages")


def _token() -> str:
    """Of whoever is logged in here, found as Google's own libraries find it."""
    try:
        auth = importlib.import_module("google.auth")
        raised = importlib.import_module("google.auth.exceptions")
        transport = importlib.import_module("google.auth.transport.requests")
    except ImportError as error:
        raise MissingDependency("gcp: google-auth is not installed", hint="pip install 'fleetctl[gcp]'") from error
    try:
        credentials, _ = auth.default(scopes=[_SCOPE])
        credentials.refresh(transport.Request())
    except raised.GoogleAuthError as error:
        raise AuthFailure(f"gcp: {error}", hint="gcloud auth application-default login") from error
    return str(credentials.token)
