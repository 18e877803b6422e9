"""What can be rented: the catalog's machine types, where Google says they are, and what the quotas leave."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from fleetctl import catalog
from fleetctl.catalog import Catalog, MachineType
from fleetctl.model.instances import Offer
from fleetctl.model.services import Market, Pool
from fleetctl.providers.gcp import names
from fleetctl.providers.gcp.api import Api
from fleetctl.providers.gcp.settings import GCP, Settings

if TYPE_CHECKING:
    from google.cloud import compute_v1

_ALL_REGIONS = "GPUS_ALL_REGIONS"
"""The quota of a project's GPUs of every kind; new projects have 0."""

_RETIRED = ("DELETED", "OBSOLETE")


def found(api: Api, settings: Settings, pool: Pool) -> tuple[Offer, ...]:
    """One Offer for each machine type and zone of the Pool's, cheapest per GPU first, unknown prices last. Blocking."""
    market = pool.placement.market
    if market is Market.RESERVED and not settings.reservation:
        return ()
    known = catalog.load(settings.catalog)
    machines = [machine for machine in known.machine_types(GCP, pool.gpu) if machine.sold(market)]
    regions = [region for region in settings.regions if not pool.placement.regions or region in pool.placement.regions]
    if not machines or not regions:
        return ()
    places = _places(api, machines, regions)
    quotas = {region: _quotas(api.region(region).quotas) for region in sorted({region for _, region, _ in places})}
    whole = _quotas(api.own_project().quotas).get(_ALL_REGIONS) if places else None
    now = time.time()
    offers = [
        _offer(known, pool, machine, region, zone, now=now, left=_left(machine, market, quotas[region], whole))
        for machine, region, zone in places
    ]
    most = pool.placement.max_price_per_hour
    if most is not None:
        # A price that is not known is not known to be within the limit.
        offers = [offer for offer in offers if offer.price_per_hour is not None and offer.price_per_hour <= most]
    return tuple(sorted(offers, key=_rank))


def quota_metric(machine: MachineType, market: Market, quotas: Mapping[str, float]) -> str:
    """The regional quota that the machine's GPUs count against; empty where it is not known.

    Spot machines have quotas of their own; where a project was given none, they count against the ordinary ones.
    """
    if market is Market.SPOT and quotas.get(f"PREEMPTIBLE_{machine.quota_family}", 0.0) > 0:
        return f"PREEMPTIBLE_{machine.quota_family}"
    return machine.quota_family if machine.quota_family in quotas else ""


def _rank(offer: Offer) -> tuple[bool, float, str, str]:
    price = offer.price_per_hour
    return (price is None, (price or 0.0) / max(offer.gpu.count, 1), offer.instance_type, offer.zone)


def _offer(
    known: Catalog, pool: Pool, machine: MachineType, region: str, zone: str, *, now: float, left: int | None
) -> Offer:
    market = pool.placement.market
    price = known.price(GCP, machine.name, region, market, zone=zone)
    declared = price is None and pool.price_per_hour is not None
    return Offer(
        provider=GCP,
        instance_type=machine.name,
        gpu=machine.gpu,
        zone=zone,
        region=region,
        market=market,
        price_per_hour=price.usd_per_hour if price else pool.price_per_hour,
        price_source=price.source if price else ("declared" if declared else ""),
        price_as_of=price.as_of if price else (now if declared else 0.0),
        quota_left=left,
    )


def _places(api: Api, machines: Sequence[MachineType], regions: Sequence[str]) -> list[tuple[MachineType, str, str]]:
    """Machine, region and zone wherever Google offers both the machine and what is to be attached to it."""
    there: dict[str, set[str]] = {}
    for zone, machine_type in api.machine_types(_any_of(machine.machine for machine in machines)):
        if machine_type.deprecated.state not in _RETIRED:
            there.setdefault(machine_type.name, set()).add(zone)
    cards: dict[str, dict[str, int]] = {}
    if attached := sorted({machine.accelerator for machine in machines if machine.accelerator}):
        for zone, accelerator in api.accelerator_types(_any_of(attached)):
            if accelerator.deprecated.state not in _RETIRED:
                cards.setdefault(accelerator.name, {})[zone] = accelerator.maximum_cards_per_instance
    return [
        (machine, region, zone)
        for machine in machines
        for zone in sorted(there.get(machine.machine, ()))
        if (region := names.region_of(zone)) in regions
        and (not machine.accelerator or cards.get(machine.accelerator, {}).get(zone, 0) >= machine.gpu.count)
    ]


def _any_of(wanted: Iterable[str]) -> str:
    return " OR ".join(f'(name = "{name}")' for name in dict.fromkeys(wanted))


def _quotas(quotas: Iterable["compute_v1.Quota"]) -> dict[str, float]:
    """What is left, by metric; a limit of zero leaves zero."""
    return {quota.metric: max(quota.limit - quota.usage, 0.0) for quota in quotas}


def _left(machine: MachineType, market: Market, quotas: Mapping[str, float], whole: float | None) -> int | None:
    """Machines that the quotas still allow; None where none of them is told."""
    metric = quota_metric(machine, market, quotas)
    told = [left for left in (quotas.get(metric), whole) if left is not None]
    return int(min(told) // machine.gpu.count) if told else None
