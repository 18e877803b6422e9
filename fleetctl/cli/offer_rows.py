"""Offers of the fleet's providers, asked all at once, and as rows."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fleetctl.catalog import STALE_S
from fleetctl.cli.output import Column
from fleetctl.controller.observe import offers_of
from fleetctl.errors import FleetError, ProviderError
from fleetctl.model.instances import Offer
from fleetctl.model.names import ProviderName
from fleetctl.model.services import Pool
from fleetctl.ports import Provider
from fleetctl.views.figures import ago, dollars

ASK_LIMIT_S = 90.0
"""For all offers of one provider: a cloud with thirty regions answers within some seconds, a hung one never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferRow:
    provider: str
    type: str
    gpu: str
    region: str
    zone: str
    market: str
    price_per_gpu_hour: float | None
    price_per_hour: float | None
    price_source: str
    price_age_s: float | None
    price_stale: bool
    """Older than seven days: it may be wrong by now."""
    quota_left: int | None


def offer_row(offer: Offer, now: float) -> OfferRow:
    """An Offer for people. A price without a source and a date is no price."""
    price = offer.price_per_hour if offer.price_source and offer.price_as_of > 0 else None
    age = None if price is None else max(0.0, now - offer.price_as_of)
    return OfferRow(
        provider=offer.provider,
        type=offer.instance_type,
        gpu=str(offer.gpu),
        region=offer.region or offer.zone,
        zone=offer.zone,
        market=offer.market,
        price_per_gpu_hour=None if price is None else price / offer.gpu.count,
        price_per_hour=price,
        price_source="" if price is None else offer.price_source,
        price_age_s=age,
        price_stale=age is not None and age > STALE_S,
        quota_left=offer.quota_left,
    )


def by_price(rows: Iterable[OfferRow]) -> list[OfferRow]:
    """The least for a GPU first; those without a known price last."""
    return sorted(
        rows,
        key=lambda row: (
            row.price_per_gpu_hour is None,
            row.price_per_gpu_hour or 0.0,
            row.provider,
            row.region,
            row.zone,
            row.type,
        ),
    )


def price_origin(source: str, age_s: float | None, *, stale: bool) -> str:
    """Where a price is from and how old it is."""
    if age_s is None:
        return "price unknown"
    return f"{source}, {ago(age_s)}" + (" (old)" if stale else "")


OFFERS: tuple[Column[OfferRow], ...] = (
    Column(header="PROVIDER", cell=lambda row: row.provider),
    Column(header="TYPE", cell=lambda row: row.type),
    Column(header="GPU", cell=lambda row: row.gpu),
    Column(header="ZONE", cell=lambda row: row.zone),
    Column(header="MARKET", cell=lambda row: row.market, drop=2),
    Column(header="$/GPU/H", cell=lambda row: dollars(row.price_per_gpu_hour), right=True),
    Column(header="$/H", cell=lambda row: dollars(row.price_per_hour), right=True, drop=1),
    Column(
        header="PRICE FROM",
        cell=lambda row: price_origin(row.price_source, row.price_age_s, stale=row.price_stale),
        drop=3,
    ),
    Column(header="QUOTA", cell=lambda row: "?" if row.quota_left is None else str(row.quota_left), right=True, drop=4),
)

Answer = tuple[Offer, ...] | FleetError
"""What one provider offers for one Pool, or why it does not say."""


async def ask_offers(
    providers: Mapping[ProviderName, Provider], pools: Sequence[Pool]
) -> dict[tuple[str, ProviderName], Answer]:
    """By Pool and provider. One that is slow or fails takes nothing from the others."""

    async def one(provider: Provider, pool: Pool) -> Answer:
        try:
            async with asyncio.timeout(ASK_LIMIT_S):
                return await offers_of(provider, pool)
        except TimeoutError:
            told = f"{provider.name} does not answer within {ASK_LIMIT_S:g} s"
            return ProviderError(told, hint="try again; then: fleetctl doctor")
        except FleetError as error:
            return error

    asked = [
        (pool, name) for pool in pools for name in pool.placement.providers or tuple(providers) if name in providers
    ]
    answers = await asyncio.gather(*(one(providers[name], pool) for pool, name in asked))
    return {(pool.name, name): answer for (pool, name), answer in zip(asked, answers, strict=True)}
