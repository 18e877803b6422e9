"""What `fleetctl doctor` looks at outside this machine: every provider, prices, orphans, and the clock."""

import asyncio
import ctypes
import struct
from collections.abc import Mapping, Sequence

from fleetctl.catalog import STALE_S, load
from fleetctl.errors import FleetError
from fleetctl.model.checks import Check
from fleetctl.model.names import ProviderName
from fleetctl.model.orphans import Orphan
from fleetctl.model.services import Pool
from fleetctl.paths import Home
from fleetctl.ports import Provider
from fleetctl.spec.fleet import FleetConfig
from fleetctl.views.figures import ago, dollars, several
from fleetctl.views.fleet import FleetView, instance_rows
from fleetctl.wiring import OWNED, configured, open_providers

PROVIDER_LIMIT_S = 90.0
"""For all checks of one provider: dry runs in thirty regions take some seconds; a cloud that hangs is told as one."""
CLOCK_OFF_MOST_S = 60.0
"""AWS refuses requests signed five minutes off; a minute leaves time to mend it."""
_TIMEX_BYTES = 256
"""More than any system's `struct timex`."""
_TIME_ERROR = 5
"""adjtimex(2): the clock is not synchronised."""


async def provider_checks(where: Home, config: FleetConfig, view: FleetView) -> list[Check]:
    """Each provider's own checks and a two-way look at its instances, all at once; one that hangs holds up no other."""
    pools = {pool.name: pool for pool in view.pools}
    pools.update({pool.name: pool for intent in view.intents if intent.up for pool in (view.pool_of(intent),)})
    try:
        async with open_providers(where, config) as made:
            parts = await asyncio.gather(
                *(
                    _of_provider(name, provider, config.name, view, tuple(pools.values()))
                    for name, provider in made.items()
                )
            )
    except FleetError as error:  # settings that are wrong: none of them can be made
        return [Check(check="providers", status="fail", detail=error.message, fix=error.hint)]
    return [check for part in parts for check in part] + _undeclared(view)


async def _of_provider(
    name: ProviderName, provider: Provider, fleet: str, view: FleetView, pools: Sequence[Pool]
) -> list[Check]:
    mine = [pool for pool in pools if not pool.placement.providers or name in pool.placement.providers]
    try:
        async with asyncio.timeout(PROVIDER_LIMIT_S):
            there, own = await asyncio.gather(_instances(name, provider, fleet, view), provider.checks(mine))
            return [there, *own]
    except TimeoutError:
        return [
            Check(
                check=f"provider/{name}",
                status="fail",
                detail=f"no answer within {PROVIDER_LIMIT_S:g} s",
                fix="see the provider's status page; then: fleetctl doctor",
            )
        ]
    except FleetError as error:
        return [Check(check=f"provider/{name}", status="fail", detail=error.message, fix=error.hint)]


async def _instances(name: ProviderName, provider: Provider, fleet: str, view: FleetView) -> Check:
    """Whether the store knows all that the provider has."""
    try:
        listing = await provider.list(fleet)
    except FleetError as error:
        return Check(check=f"provider/{name}", status="fail", detail=error.message, fix=error.hint)
    known = {instance.id for instance in view.instances}
    strange = [line.id for line in listing.instances if line.id not in known]
    if strange:
        return Check(
            check=f"provider/{name}",
            status="warn",
            detail=f"the store does not know {several(len(strange), 'instance')}: {', '.join(strange[:3])}",
            fix="fleetctl up adopts those of a declared pool; the others: fleetctl gc",
        )
    count = len(listing.instances)
    return Check(check=f"provider/{name}", status="ok", detail=f"{several(count, 'instance')}, all known")


def _undeclared(view: FleetView) -> list[Check]:
    return [
        Check(
            check=f"instance/{row.name}",
            status="warn",
            detail=f"its pool {row.pool} is declared nowhere",
            fix="declare the pool or its service again: fleetctl up; or give it back: fleetctl gc",
        )
        for row in instance_rows(view)
        if row.orphan
    ]


def prices(where: Home, config: FleetConfig, now: float) -> list[Check]:
    """How old the prices of the clouds in use are."""
    clouds = [name for name in configured(config) if name not in OWNED]
    if not clouds:
        return []
    rows = load(where.root / "catalog").prices
    found = []
    for name in clouds:
        dates = [row.price.as_of for row in rows if row.provider == name]
        if not dates:
            detail, old = "no price is known", True
        else:
            newest, oldest = now - max(dates), now - min(dates)
            detail = f"{several(len(dates), 'price')}, {ago(newest)} to {ago(oldest)} old"
            old = oldest > STALE_S
        fix = "fleetctl catalog refresh" if old else ""
        found.append(Check(check=f"prices/{name}", status="warn" if old else "ok", detail=detail, fix=fix))
    return found


def orphans(known: Mapping[str, Orphan], now: float) -> Check:
    """What `gc` found when it last looked."""
    if not known:
        return Check(check="orphans", status="ok", detail="none known")
    oldest = max(now - one.seen_at for one in known.values())
    price = sum(one.price_per_hour or 0.0 for one in known.values())
    detail = f"{several(len(known), 'orphan')}, {dollars(price)}/h as far as known, the first found {ago(oldest)} ago"
    return Check(check="orphans", status="warn", detail=detail, fix="fleetctl gc")


def clock(view: FleetView) -> Check:
    """Whether this machine's clock goes right: clouds refuse signatures of another time, and leases would overlap."""
    stamps = [decision.at for decision in view.decisions.values()]
    ahead_s = max(stamps, default=view.at) - view.at
    fix = "keep it in step with NTP: timedatectl set-ntp true"
    if ahead_s > CLOCK_OFF_MOST_S:
        detail = f"{ago(ahead_s)} behind what the store was last told"
        return Check(check="clock", status="fail", detail=detail, fix=fix)
    error_s = clock_error_s()
    if error_s is None:
        return Check(check="clock", status="ok", detail="this system does not tell how far it may be off")
    if error_s > CLOCK_OFF_MOST_S:
        return Check(check="clock", status="warn", detail="nothing keeps it in step", fix=fix)
    return Check(check="clock", status="ok", detail=f"at most {error_s:.3f} s off, as the kernel has it")


def clock_error_s() -> float | None:
    """How far the clock may be off, as Linux's adjtimex(2) tells; infinite: nothing synchronises it; None: untold."""
    try:
        ask = ctypes.CDLL(None, use_errno=True).adjtimex
    except (AttributeError, OSError):
        return None
    told = ctypes.create_string_buffer(_TIMEX_BYTES)
    state = ask(told)
    if state < 0:
        return None
    if state == _TIME_ERROR:
        return float("inf")
    # struct timex: modes (and padding to 8), offset, freq, maxerror in microseconds
    return int(struct.unpack_from("@q", told.raw, 24)[0]) / 1e6
