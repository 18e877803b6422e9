"""`fleetctl get` (Look): Lists of any kind: services, replicas, instances, pools, events, decisions, and more.

Example: fleetctl get replicas -o wide
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any

import typer

from fleetctl.cli.event_lists import events_since
from fleetctl.cli.fleet_lists import instance_list, replica_list, service_list
from fleetctl.cli.labels import chosen_by
from fleetctl.cli.looking import EVERY, Chosen, Interval, Watch
from fleetctl.cli.output import Column, Format, Listing, Output, show
from fleetctl.cli.session import Session, duration_s, session
from fleetctl.cli.watching import follow
from fleetctl.errors import NotFound, UsageError
from fleetctl.model.decisions import Decision
from fleetctl.model.rollouts import Rollout
from fleetctl.model.routes import TenantEntry
from fleetctl.model.starts import Start
from fleetctl.views.figures import ago, dollars, figure

app = typer.Typer(add_completion=False)

SHORT: Mapping[str, str] = {
    "svc": "services",
    "rep": "replicas",
    "inst": "instances",
    "node": "instances",
    "nodes": "instances",
    "po": "pools",
    "ev": "events",
    "dec": "decisions",
    "sched": "schedules",
    "ro": "rollouts",
    "gw": "gateways",
}
ELSEWHERE: Mapping[str, str] = {
    "policies": "policy ls",
    "presets": "policy ls",
    "contexts": "context ls",
    "costs": "cost now",
    "standbys": "standby ls",
    "machines": "get instances",
    "pods": "get replicas",
    "deployments": "get services",
}
"""What people ask for as a kind, and the command that lists it."""
EVENTS_MOST = 200
DECISIONS: tuple[Column[Decision], ...] = (
    Column(header="SERVICE", cell=lambda row: row.service),
    Column(header="REPLICAS", cell=lambda row: f"{row.current} → {row.desired}", right=True),
    Column(header="READY", cell=lambda row: str(row.ready), right=True, drop=3),
    Column(header="CONC", cell=lambda row: figure(row.concurrency), right=True, drop=2),
    Column(header="$/H", cell=lambda row: dollars(row.price_per_hour), right=True, drop=4),
    Column(header="SET BY", cell=lambda row: row.binding, drop=1),
    Column(header="WHY", cell=lambda row: row.reason),
)
ROLLOUTS: tuple[Column[Rollout], ...] = (
    Column(header="SERVICE", cell=lambda row: row.service),
    Column(header="STATE", cell=lambda row: row.state),
    Column(header="FROM", cell=lambda row: row.from_revision or "-", drop=1),
    Column(header="TO", cell=lambda row: row.to_revision),
    Column(header="COUNTED", cell=lambda row: f"{row.counts.passed}/{row.counts.wanted}", right=True, drop=2),
    Column(header="WHY", cell=lambda row: row.reason or "-", drop=3),
)
STARTS: tuple[Column[Start], ...] = (
    Column(header="REPLICA", cell=lambda row: row.replica),
    Column(header="FROM", cell=lambda row: row.origin),
    Column(header="TOOK", cell=lambda row: f"{row.took_s:.1f}s", right=True),
    Column(header="OUTCOME", cell=lambda row: row.outcome),
    Column(header="GPU", cell=lambda row: row.gpu or "-", drop=2),
    Column(header="PROVIDER", cell=lambda row: row.provider or "-", drop=3),
    Column(header="WHY", cell=lambda row: row.reason.partition("\n")[0] or "-", drop=1),
)


def _tenants(now: Session, at: float) -> Listing[TenantEntry]:
    used = now.store.tokens_used(time.strftime("%Y-%m", time.gmtime(at)))
    columns = (
        Column[TenantEntry](header="TENANT", cell=lambda row: row.name),
        Column[TenantEntry](header="PRIORITY", cell=lambda row: row.priority),
        Column[TenantEntry](header="WEIGHT", cell=lambda row: f"{row.weight:g}", right=True),
        Column[TenantEntry](
            header="SERVICES", cell=lambda row: "all" if row.services is None else ",".join(row.services), drop=2
        ),
        Column[TenantEntry](header="TOKENS", cell=lambda row: figure(used.get(row.name, 0)), right=True, drop=1),
    )
    return Listing(
        rows=now.store.tenants(),
        columns=columns,
        name=lambda row: f"tenant/{row.name}",
        empty="no tenants; declare one with kind: tenant",
    )


def _gateways(now: Session) -> Listing[Any]:
    from fleetctl.cli.fleet_gateways import GatewayLine, gateway_lines

    columns = (
        Column[GatewayLine](header="GATEWAY", cell=lambda row: row.name),
        Column[GatewayLine](header="ADDRESS", cell=lambda row: row.address or "(the controller's)"),
        Column[GatewayLine](header="HOST", cell=lambda row: row.host, drop=2),
        Column[GatewayLine](header="SLOTS", cell=lambda row: str(row.slots), right=True),
        Column[GatewayLine](header="RUNNING", cell=lambda row: str(row.running), right=True),
        Column[GatewayLine](header="QUEUE", cell=lambda row: str(row.queued), right=True),
        Column[GatewayLine](
            header="HEARD", cell=lambda row: "-" if row.age_s is None else f"{ago(row.age_s)} ago", right=True, drop=1
        ),
    )
    return Listing(
        rows=gateway_lines(now.store, time.time()),
        columns=columns,
        name=lambda row: f"gateway/{row.name}",
        empty="no gateway has joined: there is the controller's own at most; see: fleetctl ps",
    )


def _offers(now: Session) -> Listing[Any]:
    """What the providers offer for the fleet's Pools; asks them."""
    from fleetctl.cli.offer_rows import OFFERS, ask_offers, by_price, offer_row
    from fleetctl.wiring import providers

    view = now.view()
    pools = {pool.name: pool for pool in view.pools}
    pools |= {view.pool_of(one).name: view.pool_of(one) for one in view.intents}

    async def asked() -> list[Any]:
        made = providers(now.home, now.config)
        try:
            return list((await ask_offers(made, list(pools.values()))).values())
        finally:
            for provider in made.values():
                await provider.close()

    answers = asyncio.run(asked()) if pools else []
    at = time.time()
    failed = [one for one in answers if not isinstance(one, tuple)]
    rows = by_price({offer_row(offer, at): None for one in answers if isinstance(one, tuple) for offer in one})
    return Listing(
        rows=rows,
        columns=OFFERS,
        name=lambda row: f"offer/{row.provider}/{row.zone}/{row.type}",
        empty="nothing is offered for the fleet's pools; look for another GPU: fleetctl offers --gpu L40S:1",
        notes=[f"warning: {error.message}" for error in failed],
    )


def _providers() -> Listing[Any]:
    from fleetctl.cli.provider import PROVIDERS, provider_rows

    return Listing(rows=provider_rows(), columns=PROVIDERS, name=lambda row: f"provider/{row.name}")


def _schedules(now: Session) -> Listing[Any]:
    from fleetctl.cli.schedule import SCHEDULES, schedule_rows

    return Listing(
        rows=schedule_rows(now),
        columns=SCHEDULES,
        name=lambda row: f"schedule/{row.name}",
        empty="no schedules; see: fleetctl schedule ls",
    )


def _keys(now: Session, *, every: bool) -> Listing[Any]:
    from fleetctl.cli.keys import key_list

    return key_list(now, every=every)


def _pools(now: Session) -> Listing[Any]:
    from fleetctl.cli.pool import pool_list

    return pool_list(now)


def _looks(now: Session, *, every: bool, since_s: float) -> Mapping[str, Callable[[], Listing[Any]]]:
    """By kind: how to look. One way for each: those that have a command of their own look as it does."""
    store = now.store
    return {
        "services": lambda: service_list(now, now.view(), every=every),
        "replicas": lambda: replica_list(now.view()),
        "instances": lambda: instance_list(now.view()),
        "pools": lambda: _pools(now),
        "events": events_since(
            store, since_s, limit=EVENTS_MOST, empty="no events of late; further back: fleetctl events --since 24h"
        ),
        "decisions": lambda: Listing(
            rows=list(store.decisions().values()),
            columns=DECISIONS,
            name=lambda row: f"service/{row.service}",
            empty="no decision yet",
        ),
        "schedules": lambda: _schedules(now),
        "rollouts": lambda: Listing(
            rows=list(now.view().rollouts.values()),
            columns=ROLLOUTS,
            name=lambda row: f"rollout/{row.service}",
            empty="no rollouts",
        ),
        "starts": lambda: Listing(
            rows=store.starts(limit=EVENTS_MOST),
            columns=STARTS,
            name=lambda row: f"replica/{row.replica}",
            empty="no start is remembered",
        ),
        "keys": lambda: _keys(now, every=every),
        "tenants": lambda: _tenants(now, time.time()),
        "gateways": lambda: _gateways(now),
        "providers": _providers,
        "offers": lambda: _offers(now),
    }


KINDS = (
    *("services", "replicas", "instances", "pools", "events", "decisions", "schedules", "rollouts", "starts", "keys"),
    *("tenants", "gateways", "providers", "offers"),
)
LABELLED = ("services", "replicas", "instances", "pools")


@app.command()
def get(
    kind: Annotated[str, typer.Argument(help=", ".join(KINDS))],
    name: Annotated[str | None, typer.Argument(help="This one alone")] = None,
    every: Annotated[bool, typer.Option("--all", "-a", help="Those that are down or over, too")] = False,
    since: Annotated[str, typer.Option("--since", help="Of events: how far back")] = "1h",
    labels: Chosen = None,
    watch: Watch = False,
    interval: Interval = EVERY,
    output: Output = Format.TABLE,
) -> None:
    """List things of one kind, or one of them. Short names: svc, rep, inst, po, ev, dec, sched, ro, gw."""
    chosen, slash, rest = kind.partition("/")
    if slash and name is None:
        name = rest
    plural = _kind(chosen)
    since_s, interval_s = duration_s(since), duration_s(interval)
    if labels is not None and plural not in LABELLED:
        raise UsageError(f"{plural} have no labels", hint=f"those have that files declare: {', '.join(LABELLED)}")
    with session() as now:
        every_row = _looks(now, every=every, since_s=since_s)[plural]

        def look() -> Listing[Any]:
            return chosen_by(labels, _only(every_row(), name, plural))

        if watch:
            follow(look, output, interval_s)
        show(look(), output)


def _kind(word: str) -> str:
    found = SHORT.get(word.lower(), word.lower())
    if found in KINDS:
        return found
    if f"{found}s" in KINDS:
        return f"{found}s"
    from fleetctl.spec.suggestions import nearest

    near = nearest(found, [*KINDS, *SHORT, *ELSEWHERE])
    near = SHORT.get(near or "", near)
    hint = f"did you mean {near}?" if near else f"one of: {', '.join(KINDS)}"
    if near is not None and near in ELSEWHERE:
        hint = f"did you mean: fleetctl {ELSEWHERE[near]}"
    raise UsageError(f"there is no kind {word!r}", hint=hint)


def _only(listing: Listing[Any], name: str | None, kind: str) -> Listing[Any]:
    """The rows of that name. Raises `NotFound` with the nearest."""
    if name is None:
        return listing
    names = {listing.name(row): row for row in listing.rows}
    found = [row for row in listing.rows if name in (listing.name(row), listing.name(row).partition("/")[2])]
    if not found:
        from fleetctl.spec.suggestions import nearest

        near = nearest(name, [one.partition("/")[2] for one in names])
        hint = f"did you mean {near}?" if near else f"see: fleetctl get {kind}"
        raise NotFound(f"there is no {name!r} among the {kind}", hint=hint)
    return replace(listing, rows=found, notes=())
