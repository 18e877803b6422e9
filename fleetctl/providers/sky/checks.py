"""What `fleetctl doctor` says of SkyPilot: its environment, its clouds, its listing, and what Pools could rent."""

import shutil
import time
from collections.abc import Sequence

from fleetctl.catalog import STALE_S
from fleetctl.errors import FleetError
from fleetctl.model.checks import Check
from fleetctl.model.services import Pool
from fleetctl.providers.sky.clusters import Cluster
from fleetctl.providers.sky.environment import VERSION
from fleetctl.providers.sky.offers import Offers
from fleetctl.providers.sky.process import Bridge
from fleetctl.providers.sky.settings import Settings

_DAY_S = 86_400.0


async def run(bridge: Bridge, settings: Settings, offers: Offers, pools: Sequence[Pool]) -> Sequence[Check]:
    """One line for each thing that can be wrong by itself. Asks SkyPilot to look at its credentials again."""
    try:
        await bridge.start()
    except FleetError as error:
        return (Check(check="sky/environment", status="fail", detail=error.message, fix=error.hint),)
    found = [_environment(bridge)]
    if not settings.server:
        found.append(_rsync())
    for look in (_clouds(bridge, settings, offers), _listing(bridge), _prices(offers, pools)):
        try:
            found.append(await look)
        except FleetError as error:
            fix = error.hint or "sky api status; sky check -v"
            found.append(Check(check="sky/api", status="fail", detail=error.message, fix=fix))
    return tuple(found)


def _environment(bridge: Bridge) -> Check:
    if bridge.sky_version != VERSION:
        return Check(
            check="sky/environment",
            status="warn",
            detail=f"SkyPilot {bridge.sky_version}; the bridge is tested with {VERSION}",
            fix="fleetctl provider setup sky",
        )
    return Check(check="sky/environment", status="ok", detail=f"SkyPilot {VERSION}")


def _rsync() -> Check:
    """SkyPilot refuses every launch without it."""
    if shutil.which("rsync") is None:
        return Check(
            check="sky/rsync",
            status="fail",
            detail="rsync is not installed; SkyPilot needs it",
            fix="apt install rsync",
        )
    return Check(check="sky/rsync", status="ok", detail="rsync is installed")


async def _clouds(bridge: Bridge, settings: Settings, offers: Offers) -> Check:
    enabled = await bridge.read("check", list[str], "look at the clouds' credentials", clouds=list(settings.clouds))
    missing = [cloud for cloud in settings.clouds if cloud not in enabled]
    if missing:
        return Check(
            check="sky/clouds",
            status="fail",
            detail=f"SkyPilot has no working credentials for {', '.join(missing)}",
            fix=f"sky check -v {missing[0]}; and what it needs: fleetctl provider setup sky --with {missing[0]}",
        )
    chosen = offers.chosen(enabled)
    if not chosen:
        return Check(
            check="sky/clouds",
            status="fail",
            detail="SkyPilot has credentials for no cloud that fleetctl does not know itself",
            fix="sky check -v; or name clouds: providers: {sky: {clouds: [lambda]}}",
        )
    return Check(check="sky/clouds", status="ok", detail=", ".join(chosen))


async def _listing(bridge: Bridge) -> Check:
    clusters = await bridge.read("status", list[Cluster], "list the clusters", clusters=None, fresh=False)
    return Check(check="sky/listing", status="ok", detail=f"SkyPilot lists {len(clusters)} clusters, of all fleets")


async def _prices(offers: Offers, pools: Sequence[Pool]) -> Check:
    found = [offer for pool in pools for offer in await offers.find(pool)]
    dates = [offer.price_as_of for offer in found if offer.price_per_hour is not None]
    if not dates:
        return Check(check="sky/offers", status="ok", detail=f"{len(found)} offers for {len(pools)} pools, none priced")
    age_s = time.time() - min(dates)
    detail = f"{len(found)} offers for {len(pools)} pools; the oldest price table is {age_s / _DAY_S:.1f} days old"
    if age_s > STALE_S:
        return Check(check="sky/offers", status="warn", detail=detail, fix="rm -r ~/.sky/catalogs; sky gpus list")
    return Check(check="sky/offers", status="ok", detail=detail)
