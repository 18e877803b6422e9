"""`fleetctl offers` (Look): GPU machines that can be rented now, the least for a GPU first.

Example: fleetctl offers --gpu L40S --spot
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated

import typer

from fleetctl.catalog import Catalog, MachineType, load
from fleetctl.cli.offer_rows import OFFERS, OfferRow, ask_offers, by_price, offer_row
from fleetctl.cli.output import Format, Output, emit, say
from fleetctl.errors import FleetError, UsageError
from fleetctl.model.instances import Offer
from fleetctl.model.names import PoolName, ProviderName
from fleetctl.model.services import Gpu, Market, Placement, Pool, same_product
from fleetctl.paths import Home
from fleetctl.spec.fleet import FleetConfig
from fleetctl.spec.suggestions import PROVIDER_LIKENESS, did_you_mean, nearest
from fleetctl.wiring import configured, home, load_config, provider_names, providers

app = typer.Typer(add_completion=False)

ANYWHERE = "-"
"""The region of a machine type whose regions nobody has told."""


@app.command()
def offers(
    gpu: Annotated[list[str], typer.Option("--gpu", "-g", help="name:count of one machine; repeated: alternatives")],
    spot: Annotated[bool, typer.Option("--spot", help="The spot market instead of on demand")] = False,
    region: Annotated[list[str] | None, typer.Option("--region", "-r", help="Only here; may be repeated")] = None,
    provider: Annotated[list[str] | None, typer.Option("--provider", "-p", help="Only this one; repeatable")] = None,
    max_price: Annotated[float | None, typer.Option("--max-price", help="US dollars an hour of one machine")] = None,
    catalog: Annotated[
        bool, typer.Option("--catalog", help="From fleetctl's own tables: every cloud, no credentials")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Show what can be rented, sorted by price per GPU: asks the providers that are set up, and changes nothing."""
    wanted = Pool(
        name=PoolName("offers"),
        gpu=tuple(_gpu(text) for text in gpu),
        placement=Placement(
            providers=tuple(ProviderName(name) for name in provider or ()),
            regions=tuple(region or ()),
            market=Market.SPOT if spot else Market.ON_DEMAND,
            max_price_per_hour=max_price,
        ),
    )
    where = home()
    found = _from_tables(load(where.root / "catalog"), wanted) if catalog else _from_clouds(where, wanted)
    now = time.time()
    rows = by_price(offer_row(offer, now) for offer in found)
    if max_price is not None:  # an unknown price may be any
        rows = [row for row in rows if row.price_per_hour is not None and row.price_per_hour <= max_price]
    emit(
        rows,
        OFFERS,
        output,
        name=lambda row: f"offer/{row.provider}/{row.zone}/{row.type}",
        empty="" if rows else _nothing(wanted.gpu),
    )
    if output is Format.TABLE:
        _remark(rows)


def _nothing(wanted: Sequence[Gpu]) -> str:
    """That nothing was found, and what a GPU that is in no table may be a slip of."""
    products = sorted({machine.gpu.name for machine in load().types})
    strange = [gpu.name for gpu in wanted if not any(same_product(gpu.name, product) for product in products)]
    better = "".join(did_you_mean(name, products) for name in strange[:1])
    return f"nothing with {' or '.join(map(str, wanted))}{better or ';'} see the machine types: fleetctl catalog ls"


def _remark(rows: list[OfferRow]) -> None:
    if any(row.price_per_hour is None for row in rows):
        say("? is a price that nobody has told; ask the clouds: fleetctl catalog refresh")
    elif any(row.price_stale for row in rows):
        say("(old) prices are of more than 7 days ago; ask anew: fleetctl catalog refresh")


def _gpu(text: str) -> Gpu:
    from fleetctl.spec.problems import Unfit
    from fleetctl.spec.units import gpu

    try:
        return gpu(text)
    except Unfit as error:
        raise UsageError(f"--gpu {error.message}", hint=error.fix) from error


def _from_clouds(where: Home, wanted: Pool) -> list[Offer]:
    """What the providers that are set up offer. Raises the first error if none answers."""
    config = load_config(where)
    strange = set(wanted.placement.providers) - set(configured(config))
    unknown = sorted(strange - set(provider_names()))
    if unknown:
        raise _no_provider(unknown[0], provider_names())
    if strange:
        raise UsageError(
            f"not set up: {', '.join(sorted(strange))}",
            hint=f"write providers: {{{min(strange)}: {{}}}} into kind: fleet, then fleetctl up; or ask with --catalog",
        )
    answers = asyncio.run(_ask(where, config, wanted))
    failed = [answer for answer in answers if isinstance(answer, FleetError)]
    for error in failed:
        say(f"warning: {error.message}" + (f" ({error.hint})" if error.hint else ""))
    if failed and len(failed) == len(answers):
        raise failed[0]
    if set(configured(config)) == {"local"} and not wanted.placement.providers:
        say("no cloud is set up, so only this machine is asked; own tables: fleetctl offers --gpu … --catalog")
    return [offer for answer in answers if not isinstance(answer, FleetError) for offer in answer]


def _no_provider(name: str, known: Sequence[str]) -> UsageError:
    near = nearest(name, known, likeness=PROVIDER_LIKENESS)
    return UsageError(
        f"no provider is called {name!r}", hint=f"did you mean {near}?" if near else f"one of: {', '.join(known)}"
    )


async def _ask(where: Home, config: FleetConfig, wanted: Pool) -> list[tuple[Offer, ...] | FleetError]:
    made = providers(where, config)
    try:
        return list((await ask_offers(made, [wanted])).values())
    finally:
        for provider in made.values():
            await provider.close()


def _from_tables(catalog: Catalog, wanted: Pool) -> list[Offer]:
    """Every machine of the tables that fits, once for each region or zone with a price, or once without one."""
    where = wanted.placement
    known = tuple(dict.fromkeys(machine.provider for machine in catalog.types))
    names = where.providers or known
    for name in names:
        if name not in (*known, *provider_names()):
            raise _no_provider(name, known)
        if name not in known:
            raise UsageError(f"the tables have no machines of {name}", hint=f"they have those of {', '.join(known)}")
    return [
        offer
        for name in names
        for machine in catalog.machine_types(name, wanted.gpu)
        if machine.sold(where.market)
        for offer in _of_type(catalog, machine, where)
    ]


def _of_type(catalog: Catalog, machine: MachineType, where: Placement) -> list[Offer]:
    places = {
        (row.region, row.zone)
        for row in catalog.prices
        if (row.provider, row.type, row.market) == (machine.provider, machine.name, where.market)
    }
    if where.regions:
        places = {(region, zone) for region, zone in places if region in where.regions}
        places |= {(region, "") for region in where.regions if region not in {known for known, _ in places}}
    made = []
    for region, zone in sorted(places) or [(ANYWHERE, "")]:
        price = catalog.price(machine.provider, machine.name, region, where.market, zone=zone)
        made.append(
            Offer(
                provider=machine.provider,
                instance_type=machine.name,
                gpu=machine.gpu,
                zone=zone or region,
                region=region,
                market=where.market,
                price_per_hour=None if price is None else price.usd_per_hour,
                price_source="" if price is None else price.source,
                price_as_of=0.0 if price is None else price.as_of,
            )
        )
    return made
