"""The tiers of Standby as a table: how soon each is ready here, what a slot costs, and which is worth it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleetctl.cli.output import Column, table
from fleetctl.decide.placement import gpus_needed
from fleetctl.decide.sleeping import SLEEPERS_MAX, shares
from fleetctl.decide.standing import standby_of
from fleetctl.decide.tiers import TierLine, advised, tier_lines
from fleetctl.model.replicas import Role
from fleetctl.model.services import Pool, Service, Tier
from fleetctl.model.snapshots import Intent
from fleetctl.model.starts import Start
from fleetctl.spec.fleet import FleetConfig
from fleetctl.views.figures import dollars
from fleetctl.views.fleet import FleetView
from fleetctl.wiring import abilities_of, configured


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiers:
    """Of one Service."""

    service: str
    tier: Tier
    """The one it has."""
    lines: tuple[TierLine, ...]
    advised: Tier | None
    """The cheapest that is ready within its promise; where none is, the soonest. None: there is no promise."""
    within: bool
    """Whether that one is."""
    ttft_s: float | None


COLUMNS: tuple[Column[tuple[TierLine, Tiers]], ...] = (
    Column(header="TIER", cell=lambda row: row[0].tier + ("*" if row[0].tier is row[1].tier else "")),
    Column(header="READY AFTER", cell=lambda row: "-" if row[0].refusal else seconds(row[0].median_s), right=True),
    Column(header="P95", cell=lambda row: "-" if row[0].refusal else seconds(row[0].p95_s), right=True),
    Column(header="FROM", cell=lambda row: _source(row[0])),
    Column(header="$/H A SLOT", cell=lambda row: dollars(row[0].price_per_hour), right=True),
    Column(header="POSSIBLE", cell=lambda row: _possible(row[0])),
)


def tiers_of(view: FleetView, config: FleetConfig, starts: Sequence[Start], kind: str, name: str) -> list[Tiers]:
    """Those of the Service of that name, or of each Service of the Pool, by the `starts` that are remembered."""
    return [
        _tiers(view, config, starts, intent)
        for intent in view.intents
        if name == (intent.service.name if kind == "service" else intent.service.pool_name)
    ]


def told(found: Sequence[Tiers]) -> str:
    """A table and a line of advice for each."""
    text = ""
    for one in found:
        text += f"\nstandby tiers of {one.service} (* is its own)\n"
        text += table([(line, one) for line in one.lines], COLUMNS, width=None)
        if one.advised is not None and one.ttft_s is not None:
            why = "is the cheapest that is" if one.within else "is the soonest, and none is"
            text += f"{one.advised} {why} ready within the {seconds(one.ttft_s)} of its promise\n"
    return text


def _tiers(view: FleetView, config: FleetConfig, starts: Sequence[Start], intent: Intent) -> Tiers:
    service, pool = intent.service, view.pool_of(intent)
    lines = tier_lines(
        service,
        measured=measured(intent, starts),
        replica_price=_price(view, pool, service),
        abilities={
            name: abilities_of(name, config.providers.get(name, {}))
            for name in pool.placement.providers or configured(config)
        },
        markets=pool.placement.markets,
        sharing=_sharing(view, pool),
    )
    best = advised(lines, service)
    promised = service.slo.ttft_s if service.slo is not None else None
    return Tiers(
        service=service.name,
        tier=standby_of(pool, service).tier,
        lines=lines,
        advised=best.tier if best is not None else None,
        within=best is not None and promised is not None and best.p95_s <= promised,
        ttft_s=promised,
    )


def measured(intent: Intent, starts: Sequence[Start]) -> Mapping[Tier, Sequence[float]]:
    """Seconds of the Service's starts from Standby, by tier: of its present revision, and of all until that has any."""
    good = [
        one
        for one in starts
        if one.service == intent.service.name
        and one.outcome == "ready"
        and one.role is Role.SERVING
        and one.origin != "cold"
    ]
    fresh = [one for one in good if one.revision == intent.revision]
    found: dict[Tier, list[float]] = {}
    for one in fresh or good:
        found.setdefault(Tier(one.origin), []).append(one.took_s)
    return found


def _price(view: FleetView, pool: Pool, service: Service) -> float | None:
    """Dollars an hour of a Replica's share of the Pool's newest machine, or of what the file says one costs."""
    for instance in sorted(view.live_instances, key=lambda one: -one.created_at):
        count = gpus_needed(service, instance.offer.gpu)
        if instance.pool == pool.name and count is not None and instance.offer.price_per_hour is not None:
            return instance.offer.price_per_hour * count / instance.offer.gpu.count
    count = gpus_needed(service, pool.gpu[0])
    return None if pool.price_per_hour is None or not count else pool.price_per_hour * count / pool.gpu[0].count


def _sharing(view: FleetView, pool: Pool) -> int:
    """How many engines asleep lie on one GPU of it."""
    if not pool.standby.share:
        return 1
    inside = [one.service for one in view.intents if one.service.pool_name == pool.name and one.up]
    return max(1, min(SLEEPERS_MAX, sum(1 for service in inside if shares(pool, service))))


def _source(line: TierLine) -> str:
    if line.refusal:
        return "-"
    return f"{line.starts} measured" if line.starts else "expected"


def _possible(line: TierLine) -> str:
    if line.refusal:
        return f"no: {line.refusal}"
    return f"yes; {line.note}" if line.note else "yes"


def seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 100 else f"{value:.0f} s"
