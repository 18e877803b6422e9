"""`fleetctl catalog` (Look): GPU machine types and their prices: ls, refresh.

Example: fleetctl catalog ls --gpu L40S
Example: fleetctl catalog refresh --provider azure
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from fleetctl import prices
from fleetctl.catalog import PRICES_FILE, STALE_S, Catalog, MachineType, PriceRow, canonical, load
from fleetctl.catalog.tables import write_prices
from fleetctl.cli.changing import DryRun, told_dry
from fleetctl.cli.output import Column, Format, Output, emit, say
from fleetctl.errors import FleetError, ProviderError, UsageError
from fleetctl.model.services import same_product
from fleetctl.spec.fleet import FleetConfig
from fleetctl.views.figures import ago, several
from fleetctl.wiring import home, load_config

app = typer.Typer(add_completion=False, no_args_is_help=True, help="GPU machine types and their prices.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeRow:
    """A machine type, and what is known of its prices."""

    provider: str
    type: str
    gpu: str
    gpu_memory_gb: float
    vcpus: int
    ram_gb: float
    local_disk_gb: int
    spot: bool
    on_demand: bool
    quota_family: str
    prices: int
    """Of all regions, zones and markets."""
    oldest_price_age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """What one source of prices answered."""

    source: str
    prices: int
    regions: int
    error: str


def _known(row: TypeRow) -> str:
    if row.oldest_price_age_s is None:
        return "none"
    old = " (old)" if row.oldest_price_age_s > STALE_S else ""
    return f"{row.prices}, {ago(row.oldest_price_age_s)}{old}"


TYPES: tuple[Column[TypeRow], ...] = (
    Column(header="PROVIDER", cell=lambda row: row.provider),
    Column(header="TYPE", cell=lambda row: row.type),
    Column(header="GPU", cell=lambda row: row.gpu),
    Column(header="GPU-GB", cell=lambda row: f"{row.gpu_memory_gb:g}", right=True, drop=1),
    Column(header="VCPUS", cell=lambda row: str(row.vcpus), right=True, drop=2),
    Column(header="RAM-GB", cell=lambda row: f"{row.ram_gb:g}", right=True, drop=3),
    Column(header="DISK-GB", cell=lambda row: str(row.local_disk_gb or "-"), right=True, drop=5),
    Column(
        header="MARKETS",
        cell=lambda row: " ".join(name for name, sold in (("on_demand", row.on_demand), ("spot", row.spot)) if sold),
        drop=4,
    ),
    Column(header="PRICES", cell=_known),
)
SOURCES: tuple[Column[SourceRow], ...] = (
    Column(header="SOURCE", cell=lambda row: row.source),
    Column(header="PRICES", cell=lambda row: str(row.prices), right=True),
    Column(header="REGIONS", cell=lambda row: str(row.regions), right=True),
    Column(header="STATUS", cell=lambda row: row.error or "ok"),
)

Providers = Annotated[list[str] | None, typer.Option("--provider", "-p", help="Only this one; may be repeated")]


@app.command("ls")
def list_types(
    provider: Providers = None,
    gpu: Annotated[str | None, typer.Option("--gpu", help="Only machines with this GPU, as in H100 or H100:8")] = None,
    output: Output = Format.TABLE,
) -> None:
    """List the machine types that fleetctl knows, with the prices it has. Reads files only."""
    catalog = load(home().root / "catalog")
    wanted, _, count = (gpu or "any").partition(":")
    rows = [
        _type_row(catalog, machine)
        for machine in catalog.types
        if (not provider or machine.provider in provider)
        and same_product(canonical(wanted), machine.gpu.name)
        and (not count or str(machine.gpu.count) == count)
    ]
    emit(
        rows,
        TYPES,
        output,
        name=lambda row: f"machine-type/{row.provider}/{row.type}",
        empty="no such machine type; see them all: fleetctl catalog ls",
    )
    if rows and not any(row.prices for row in rows) and output is Format.TABLE:
        say("no prices yet; ask the clouds for theirs: fleetctl catalog refresh --provider azure")


def _type_row(catalog: Catalog, machine: MachineType) -> TypeRow:
    priced = [row.price.as_of for row in catalog.prices if (row.provider, row.type) == (machine.provider, machine.name)]
    return TypeRow(
        provider=machine.provider,
        type=machine.name,
        gpu=str(machine.gpu),
        gpu_memory_gb=machine.gpu_memory_gb,
        vcpus=machine.vcpus,
        ram_gb=machine.ram_gb,
        local_disk_gb=machine.local_disk_gb,
        spot=machine.spot,
        on_demand=machine.on_demand,
        quota_family=machine.quota_family,
        prices=len(priced),
        oldest_price_age_s=time.time() - min(priced) if priced else None,
    )


@app.command()
def refresh(
    provider: Annotated[
        list[str] | None, typer.Option("--provider", "-p", help="aws, azure, gcp or gpuhunt; default: those set up")
    ] = None,
    region: Annotated[
        list[str] | None, typer.Option("--region", "-r", help="Default: the regions that the fleet's file names")
    ] = None,
    endpoint: Annotated[
        list[str] | None, typer.Option("--endpoint", help="NAME=URL: ask there instead, as in azure=https://…")
    ] = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> int:
    """Ask the clouds' own price APIs, and keep what they say with its source and date. Exit code 1 if one fails."""
    where = home()
    asks = _asks(load_config(where), provider or (), region or (), _endpoints(endpoint or ()))
    answers = [_answered(answer) for answer in prices.refresh(asks)]
    failed = [answer for answer in answers if answer.error is not None]
    if len(failed) == len(answers) and failed[0].error is not None:
        raise failed[0].error
    folder = where.root / "catalog"
    fresh = [row for answer in answers for row in answer.rows]
    if not dry_run:
        write_prices(folder / PRICES_FILE, _merged(load(folder).prices, answers, asks))
    rows = [
        SourceRow(
            source=answer.source,
            prices=len(answer.rows),
            regions=len({row.region for row in answer.rows}),
            error=_told(answer.error),
        )
        for answer in answers
    ]
    emit(rows, SOURCES, output, name=lambda row: f"source/{row.source}")
    if output is Format.TABLE:
        say(f"{several(len(fresh), 'price')} {'for' if dry_run else 'in'} {folder / PRICES_FILE}")
    if dry_run:
        told_dry()
    return 1 if failed else 0


def _told(error: FleetError | None) -> str:
    return "" if error is None else f"{error.message} ({error.hint})" if error.hint else error.message


def _answered(answer: prices.Refreshed) -> prices.Refreshed:
    """An answer without any price is a failure: it must not take away the prices that are there."""
    if answer.error is None and not answer.rows:
        told = f"{answer.source}: no price of any machine that fleetctl knows"
        return prices.Refreshed(source=answer.source, error=ProviderError(told, hint="look at the regions asked for"))
    return answer


def _asks(
    config: FleetConfig, sources: Sequence[str], regions: Sequence[str], endpoints: Mapping[str, str]
) -> dict[str, prices.Ask]:
    chosen = list(sources) or [name for name in prices.names() if name in config.providers]
    if not chosen:
        raise UsageError(
            "no cloud is set up, so none is asked for its prices",
            hint="name one: fleetctl catalog refresh --provider azure; or set one up in kind: fleet, providers",
        )
    for name in (*chosen, *endpoints):
        prices.load(name)  # an unknown one is told before any is asked
    types = load().types
    return {
        name: prices.Ask(
            types=types,
            regions=tuple(regions) or _own_regions(config, name),
            now=time.time(),
            endpoint=endpoints.get(name),
        )
        for name in chosen
    }


def _own_regions(config: FleetConfig, name: str) -> tuple[str, ...]:
    named = config.providers.get(name, {}).get("regions", ())
    return tuple(str(region) for region in named) if isinstance(named, list | tuple) else ()


def _endpoints(words: Sequence[str]) -> dict[str, str]:
    found = {}
    for word in words:
        name, equals, url = word.partition("=")
        if not equals or "://" not in url:
            raise UsageError(f"--endpoint {word!r} is not NAME=URL", hint="--endpoint azure=https://prices.azure.com")
        found[name] = url
    return found


def _merged(
    old: Sequence[PriceRow], answers: Sequence[prices.Refreshed], asks: Mapping[str, prices.Ask]
) -> list[PriceRow]:
    """The new rows, and those old ones that their source was not asked about again."""
    kept = list(old)
    for answer in answers:
        stated = {(row.provider, row.price.source) for row in answer.rows}
        ask = asks[answer.source]
        kept = [row for row in kept if (row.provider, row.price.source) not in stated or not ask.wants(row.region)]
    return kept + [row for answer in answers for row in answer.rows]
