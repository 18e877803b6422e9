"""The tiers of Standby side by side: which are possible, how soon each is ready, what a Slot of it costs."""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from math import ceil

from fleetctl.decide.cold_start import tier_s
from fleetctl.decide.stock import SLOT_SHARE
from fleetctl.engines import engine
from fleetctl.model.abilities import Abilities
from fleetctl.model.records import dataclass
from fleetctl.model.services import Market, Service, Tier

ORDER = (Tier.HOT, Tier.ASLEEP, Tier.WARM, Tier.STOPPED)
"""Warmest first."""
PERCENTILE = 0.95
"""A tier is told, and judged, by what all but one start in twenty take."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def unsleepable(service: Service) -> str:
    """Why the Service's engine cannot be put to sleep; empty: it can."""
    kind = engine(service.engine)
    if kind.sleep is None:
        return f"{kind.name} has no way to leave the GPU while it runs"
    if service.command:
        said = " ".join((*service.command, *service.args))
        lacking = [word for word in kind.sleep.start_args if word not in said]
        if lacking:
            return f"its command does not hold {' '.join(lacking)}, without which {kind.name} does not sleep"
    given = dict(service.env)
    for name, value in kind.sleep.env:
        if given.get(name, value) != value:
            return f"{name} is {given[name]} in env, and {kind.name} sleeps only with {value}"
    return ""


def open_host(service: Service) -> str:
    """Where a plain process of the Service would listen beyond loopback; empty: nowhere. In a container that is right:
    Docker publishes its port on loopback only."""
    if service.image is not None:
        return ""
    words = (*service.command, *service.args)
    hosts = [after for word, after in pairwise(words) if word == "--host"]
    hosts += [word.partition("=")[2] for word in words if word.startswith("--host=")]
    return next((host for host in reversed(hosts) if host not in LOOPBACK), "")


def unstoppable(abilities: Abilities, markets: Collection[Market]) -> str:
    """Why machines of a Provider with these abilities cannot stand by stopped; empty: they can."""
    if abilities.no_stop:
        return abilities.no_stop
    return abilities.no_spot_stop if Market.SPOT in markets else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierLine:
    """One tier for one Service. Seconds from wanting a Replica to its first token."""

    tier: Tier
    median_s: float
    p95_s: float
    starts: int
    """So many were measured; 0: both are expected, from what the file says or the model's size."""
    price_per_hour: float | None
    """US dollars of one Slot; None: not known."""
    share: float
    """The same, in Replicas."""
    refusal: str
    """Why it cannot be; empty: it can."""
    note: str = ""
    """What it does not promise."""


def tier_lines(
    service: Service,
    *,
    measured: Mapping[Tier, Sequence[float]],
    replica_price: float | None,
    abilities: Mapping[str, Abilities],
    markets: Collection[Market],
    sharing: int = 1,
) -> tuple[TierLine, ...]:
    """A line for each tier, warmest first.

    `measured` are seconds of starts from each tier, `replica_price` dollars an hour of a Replica's machine, `abilities`
    those of the Providers in question, `sharing` how many engines asleep lie on one GPU.
    """
    return tuple(
        _line(service, tier, sorted(measured.get(tier, ())), replica_price, abilities, markets, sharing)
        for tier in ORDER
    )


def _line(
    service: Service,
    tier: Tier,
    seen: Sequence[float],
    price: float | None,
    abilities: Mapping[str, Abilities],
    markets: Collection[Market],
    sharing: int,
) -> TierLine:
    guess = tier_s(service, tier)
    share = SLOT_SHARE[tier] / (sharing if tier is Tier.ASLEEP else 1)
    refusal = note = ""
    if tier is Tier.ASLEEP:
        refusal = unsleepable(service)
    elif tier is Tier.STOPPED:
        whys = {name: unstoppable(one, markets) for name, one in abilities.items()}
        if whys and all(whys.values()):
            refusal = "; ".join(f"{name}: {why}" for name, why in whys.items())
        note = "; ".join(f"{name}: {one.start_may_fail}" for name, one in abilities.items() if one.start_may_fail)
    return TierLine(
        tier=tier,
        median_s=_quantile(seen, 0.5) if seen else guess,
        p95_s=_quantile(seen, PERCENTILE) if seen else guess,
        starts=len(seen),
        price_per_hour=None if price is None else price * share,
        share=share,
        refusal=refusal,
        note="" if refusal else note,
    )


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def advised(lines: Sequence[TierLine], service: Service) -> TierLine | None:
    """The cheapest tier that is ready within the promise; where none is, the soonest. None: there is no promise.

    Of those that cost the same it is the least warm: it leaves the GPU to others.
    """
    if service.slo is None:
        return None
    possible = [line for line in lines if not line.refusal]
    within = [line for line in possible if line.p95_s <= service.slo.ttft_s]
    if within:
        return min(within, key=lambda line: (line.share, -ORDER.index(line.tier)))
    return min(possible, key=lambda line: (line.p95_s, line.share), default=None)
