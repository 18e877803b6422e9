"""`fleetctl cost` (Look): What machines cost: now, so far by the hour, and in the days to come.

Example: fleetctl cost report --since 7d --by pool
Example: fleetctl cost now --by provider
Example: fleetctl cost forecast -o json
"""

import time
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, TypeVar

import typer

from fleetctl.cli.offer_rows import price_origin
from fleetctl.cli.output import Column, Format, Output, emit, say
from fleetctl.cli.session import Session, data_age, duration_s, session
from fleetctl.errors import UsageError
from fleetctl.model.names import ServiceName
from fleetctl.views.books import (
    SUMS,
    TOTAL,
    BookLine,
    ForecastLine,
    NowLine,
    book_lines,
    forecast_lines,
    now_lines,
)
from fleetctl.views.figures import ago, dollars, figure
from fleetctl.views.token_counts import TokenCount, tokens_of

Line = TypeVar("Line", NowLine, BookLine, ForecastLine)

app = typer.Typer(add_completion=False, invoke_without_command=True, help="What machines cost.")

STALE_S = 7 * 86_400.0
"""As everywhere: an older price may be wrong by now."""


class By(StrEnum):
    SERVICE = "service"
    POOL = "pool"
    PROVIDER = "provider"
    MARKET = "market"


NOW: tuple[Column[NowLine], ...] = (
    Column(header="NAME", cell=lambda row: row.name),
    Column(header="MACHINES", cell=lambda row: str(row.machines), right=True, drop=6),
    Column(header="POOL", cell=lambda row: row.pool, drop=5),
    Column(header="PROVIDER", cell=lambda row: row.provider, drop=3),
    Column(header="GPU", cell=lambda row: row.gpu, drop=2),
    Column(header="MARKET", cell=lambda row: row.market, drop=4),
    Column(header="$/H", cell=lambda row: dollars(row.price_per_hour), right=True),
    Column(
        header="PRICE FROM",
        cell=lambda row: price_origin(
            row.price_source, row.price_age_s, stale=row.price_age_s is not None and row.price_age_s > STALE_S
        ),
        drop=1,
    ),
    Column(header="SINCE", cell=lambda row: ago(row.age_s), right=True, drop=7),
    Column(header="TYPE", cell=lambda row: row.type, wide=True),
)


def _spent(row: BookLine) -> str:
    """Dollars, with a `?` where part of the price is unknown."""
    return dollars(row.dollars) + (" + ?" if row.unpriced_gpu_hours > 0 else "")


def _hours(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def _per_million(row: BookLine) -> str:
    if row.dollars_per_million_tokens is None:
        return "-"
    return f"{'≤ ' if row.at_most else ''}{dollars(row.dollars_per_million_tokens)}"


REPORT: tuple[Column[BookLine], ...] = (
    Column(header="NAME", cell=lambda row: row.name),
    Column(header="GPU-H", cell=lambda row: _hours(row.gpu_hours), right=True),
    Column(header="SERVING", cell=lambda row: _hours(row.serving), right=True, drop=2),
    Column(header="IDLE", cell=lambda row: _hours(row.idle), right=True, drop=3),
    Column(header="STANDBY", cell=lambda row: _hours(row.standby), right=True, drop=4),
    Column(header="COLD-START", cell=lambda row: _hours(row.starting), right=True, drop=5),
    Column(header="QUOTED $", cell=_spent, right=True),
    Column(
        header="$/1M TOKENS",
        cell=lambda row: _per_million(row),
        right=True,
        drop=1,
    ),
    Column(header="TOKENS", cell=lambda row: figure(row.tokens), right=True, wide=True),
)
FORECAST: tuple[Column[ForecastLine], ...] = (
    Column(header="NAME", cell=lambda row: row.name),
    Column(header="REPLICAS", cell=lambda row: str(row.replicas), right=True, drop=4),
    Column(header="$/H", cell=lambda row: dollars(row.per_hour), right=True),
    Column(header="24 H", cell=lambda row: dollars(row.day), right=True, drop=2),
    Column(header="30 D", cell=lambda row: dollars(row.month), right=True),
    Column(header="24 H BY SCHEDULE", cell=lambda row: dollars(row.day_by_schedule), right=True, drop=3),
    Column(header="30 D BY SCHEDULE", cell=lambda row: dollars(row.month_by_schedule), right=True, drop=1),
    Column(header="30 D AT MAX", cell=lambda row: dollars(row.most_month), right=True),
)


@app.callback()
def cost(context: typer.Context, output: Output = Format.TABLE) -> None:
    """What machines cost: without another word, as `cost now`."""
    if context.invoked_subcommand is None:
        now(by=None, output=output)


@app.command()
def now(
    by: Annotated[By | None, typer.Option("--by", help="One line for each of these instead of each machine")] = None,
    output: Output = Format.TABLE,
) -> None:
    """List everything that is billed now, with where each price is from and how old it is. Reads the store only."""
    with session() as here:
        view = here.view()
        rows = now_lines(view, None if by is None else by.value)
        kind = by.value if by is not None else "instance"
        emit(_named(rows, output), NOW, output, name=lambda row: f"{kind}/{row.name}", empty="nothing is billed")
        total, unpriced = view.price_per_hour
        if output is Format.TABLE:
            more = f" + {unpriced} of unknown price" if unpriced else ""
            say(f"{dollars(total)}/h{more}, {dollars(total * 720)} in 30 days{more}; {data_age(view)}")
            _limit(here, total)


@app.command()
def report(
    since: Annotated[str, typer.Option("--since", help="How far back, in whole hours")] = "24h",
    by: Annotated[By, typer.Option("--by", help="One line for each of these")] = By.SERVICE,
    output: Output = Format.TABLE,
) -> None:
    """Tell what was used and what it cost: GPU-hours by use, dollars as quoted, and dollars for a million tokens."""
    back_s = duration_s(since)
    if back_s <= 0:
        raise UsageError("--since 0 is no time", hint="fleetctl cost report --since 24h")
    until = time.time()
    with session() as here:
        amounts = here.store.ledger(since=until - back_s, until=until)
        rows = book_lines(amounts, by.value, _tokens(here, amounts_of=until - back_s, until=until))
        empty = f"nothing was counted in the last {since}; a controller counts while it runs: fleetctl daemon start"
        emit(_named(rows, output), REPORT, output, name=lambda row: f"{by.value}/{row.name}", empty=empty)
        if output is Format.TABLE and rows:
            _explain(rows, since)


@app.command()
def forecast(output: Output = Format.TABLE) -> None:
    """Tell what 24 hours and 30 days cost at the rate of now, by schedules, and at most."""
    with session() as here:
        view = here.view()
        rows = forecast_lines(view)
        emit(_named(rows, output), FORECAST, output, name=lambda row: f"service/{row.name}", empty="no services are up")
        if output is Format.TABLE:
            say(f"the load as it is now; {data_age(view)}")
            total = rows[-1].per_hour if rows else None
            if total is not None:
                _limit(here, total)


def _named(rows: Sequence[Line], output: Format) -> Sequence[Line]:
    """Without sums, where names are asked for."""
    return [row for row in rows if row.name not in SUMS] if output is Format.NAME else rows


def _limit(here: Session, total: float) -> None:
    limit = here.config.max_cost_per_hour
    if limit is not None:
        say(f"the fleet may cost {dollars(limit)}/h: {total / limit if limit else 1.0:.0%} of it is used")


def _tokens(here: Session, *, amounts_of: float, until: float) -> dict[str, TokenCount]:
    names = [intent.service.name for intent in here.store.intents()[0]]
    begun = amounts_of // 3600 * 3600  # the ledger's hours are whole
    return {str(name): tokens_of(here.store.history(ServiceName(name), since=begun, until=until)) for name in names}


def _explain(rows: Sequence[BookLine], since: str) -> None:
    total = next(row for row in rows if row.name == TOTAL)
    if total.unpriced_gpu_hours:
        say(f"? the price of {_hours(total.unpriced_gpu_hours)} GPU-hours is not known: they are not in the dollars")
    for note in dict.fromkeys(row.note for row in rows if row.note):
        say(note)
    say(f"whole hours of the last {since}, at the prices quoted when each machine was ordered; no cloud's bill is read")
