"""Whether credentials, permissions, quotas and the network suffice, as `fleetctl doctor` shows it. Changes nothing."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from fleetctl.errors import FleetError
from fleetctl.model.checks import Check
from fleetctl.model.instances import Listing, Offer
from fleetctl.model.services import Gpu, Pool
from fleetctl.providers.gcp.api import Api
from fleetctl.providers.gcp.asking import Asking
from fleetctl.providers.gcp.network import Network
from fleetctl.providers.gcp.role import needed
from fleetctl.providers.gcp.settings import Settings

_SHOWN = 4
"""Names of a list that a line has room for."""


class Look:
    """One look at what launches will need."""

    def __init__(
        self,
        api: Api,
        settings: Settings,
        asking: Asking,
        network: Network,
        image: Callable[[str | None, Gpu], Awaitable[str]],
        offers: Callable[[Pool], Awaitable[Sequence[Offer]]],
        listing: Callable[[str], Awaitable[Listing]],
    ) -> None:
        self._api = api
        self._settings = settings
        self._asking = asking
        self._network = network
        self._image = image
        self._offers = offers
        self._list = listing

    async def all(self, pools: Sequence[Pool]) -> tuple[Check, ...]:
        credentials = await self._tried("gcp credentials", self._credentials)
        if credentials.status == "fail":
            return (credentials,)  # all else would say the same
        return (
            credentials,
            await self._tried("gcp permissions", self._permissions),
            await self._tried("gcp instances", self._instances),
            await self._tried("gcp network", self._found_network),
            self._ssh(),
            await self._tried("gcp image", lambda: self._found_image(pools)),
            *[await self._tried(f"gcp pool/{pool.name}", partial(self._pool, pool)) for pool in pools],
        )

    async def _tried(self, name: str, look: Callable[[], Awaitable[Check]]) -> Check:
        try:
            return await look()
        except FleetError as error:
            return Check(check=name, status="fail", detail=error.message, fix=error.hint)

    async def _credentials(self) -> Check:
        project = await self._asking.read("project", self._api.own_project)
        return Check(check="gcp credentials", status="ok", detail=f"project {project.name or self._settings.project}")

    async def _permissions(self) -> Check:
        wanted = needed({"reservation": self._settings.reservation})
        held = await self._asking.read("permissions", lambda: self._api.permissions(wanted))
        lacking = [permission for permission in wanted if permission not in held]
        if not lacking:
            return Check(check="gcp permissions", status="ok", detail=f"all {len(wanted)} that are needed")
        shown = ", ".join(lacking[:_SHOWN]) + (f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else "")
        return Check(
            check="gcp permissions",
            status="fail",
            detail=f"lacking: {shown}",
            fix="grant the role of: fleetctl provider permissions gcp",
        )

    async def _instances(self) -> Check:
        there = len((await self._list(self._settings.fleet)).instances)
        return Check(check="gcp instances", status="ok", detail=f"{there} of fleet {self._settings.fleet}")

    async def _found_network(self) -> Check:
        name = await self._network.chosen()
        detail = f"network {name}" if name else "a network of the fleet's own is made at the first launch"
        return Check(check="gcp network", status="ok", detail=detail)

    def _ssh(self) -> Check:
        if self._settings.ssh_sources:
            sources = ", ".join(self._settings.ssh_sources)
            open_to_all = any(source.endswith("/0") for source in self._settings.ssh_sources)
            return Check(
                check="gcp ssh sources",
                status="warn" if open_to_all else "ok",
                detail=f"port 22 is open to {sources}",
                fix="name your own networks under providers.gcp.ssh_sources" if open_to_all else "",
            )
        return Check(
            check="gcp ssh sources",
            status="warn",
            detail="nobody may reach port 22, so no node can be reached from outside its network",
            fix="set providers.gcp.ssh_sources to your own networks, as in [203.0.113.7/32]",
        )

    async def _found_image(self, pools: Sequence[Pool]) -> Check:
        gpu = pools[0].gpu[0] if pools and pools[0].gpu else Gpu(name="ANY")
        image = await self._image(None, gpu)
        return Check(check="gcp image", status="ok", detail=image.rpartition("/")[2])

    async def _pool(self, pool: Pool) -> Check:
        name = f"gcp pool/{pool.name}"
        found = await self._offers(pool)
        wanted = " or ".join(str(gpu) for gpu in pool.gpu)
        if not found:
            regions = ", ".join(self._settings.regions)
            return Check(
                check=name,
                status="fail",
                detail=f"no zone of {regions} offers {wanted} on the {pool.placement.market} market",
                fix="add regions under providers.gcp.regions, or see: fleetctl offers --gpu GPU",
            )
        best: dict[str, int | None] = {}
        for offer in found:
            known = best.get(offer.region, 0)
            best[offer.region] = None if offer.quota_left is None or known is None else max(known, offer.quota_left)
        told = ", ".join(
            f"{region}: {'not known' if left is None else left}" for region, left in sorted(best.items())[:_SHOWN]
        )
        enough = any(left is None or left >= max(pool.min, 1) for left in best.values())
        return Check(
            check=name,
            status="ok" if enough else "fail",
            detail=f"{len(found)} offers; instances that the quotas still allow: {told}",
            fix="" if enough else "ask for more at https://console.cloud.google.com/iam-admin/quotas",
        )
