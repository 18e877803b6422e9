"""The port's methods, each a few requests one after another; what more than one method needs to know is kept here."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fleetctl.catalog import load
from fleetctl.errors import Gone, InvalidRequest, OutcomeUnknown, ProviderError
from fleetctl.model.checks import Check
from fleetctl.model.instances import InstanceSeen, LaunchSpec, Leftover, Listing, Offer, Sighting
from fleetctl.model.names import InstanceId
from fleetctl.model.services import Pool
from fleetctl.providers.aws.checks import checks
from fleetctl.providers.aws.images import Images
from fleetctl.providers.aws.leftovers import leftovers, remove
from fleetctl.providers.aws.networks import Networks
from fleetctl.providers.aws.offers import offers
from fleetctl.providers.aws.requests import run_request
from fleetctl.providers.aws.sdk import Sdk
from fleetctl.providers.aws.settings import AWS, Limits, Settings
from fleetctl.providers.aws.tags import ID, of_fleet, seen, state

_CONSISTENCY_S = 120.0
"""EC2 promises no bound; its guide to eventual consistency suggests waits of up to minutes for what was just made."""

_OVER = (Sighting.TERMINATING, Sighting.TERMINATED)

_OURS_GONE = ("InvalidGroup.NotFound", "InvalidSubnetID.NotFound", "InvalidKeyPair.NotFound")
"""Of a launch into a network that somebody removed, or that EC2 does not show everywhere yet."""


class AwsProvider:
    """`boundary` is called before each request; tests crash there."""

    name = AWS
    consistency_s = _CONSISTENCY_S

    def __init__(
        self,
        settings: Settings,
        *,
        fleet: str,
        catalog_folder: Path | None = None,
        ssh_key: str = "",
        limits: Limits | None = None,
        boundary: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._fleet = fleet
        self._catalog_folder = catalog_folder
        self._ssh_key = ssh_key
        self._sdk = Sdk(settings, limits or Limits(), boundary)
        self._networks = Networks(self._sdk, settings, fleet)
        self._images = Images(self._sdk)
        self._made: dict[InstanceId, tuple[str, str]] = {}
        """Region and EC2's own id of what this process made: known before a listing shows it."""

    async def offers(self, pool: Pool) -> Sequence[Offer]:
        return await offers(self._sdk, load(self._catalog_folder), self._settings.regions, pool)

    async def launch(self, spec: LaunchSpec) -> None:
        region = spec.offer.region
        if spec.fleet != self._fleet:
            raise InvalidRequest(f"{spec.id} is of fleet {spec.fleet}; this provider serves {self._fleet}")
        if region not in self._settings.regions:
            # Nobody would ever list it there.
            raise InvalidRequest(
                f"aws: {region or 'no region'} is not configured, so {spec.id} cannot be launched there",
                hint=f"providers.aws.regions: {', '.join(self._settings.regions)}",
            )
        if await self._made_before(spec):
            return
        image = await self._images.find(region, spec.image or self._settings.image)
        network = await self._networks.of(region, spec.offer.zone, spec.ssh_key or self._ssh_key)
        request = run_request(spec, self._settings, network, image)
        try:
            answer = await self._sdk.change(region, "run_instances", **request)
        except ProviderError as error:
            if error.provider_code == "IdempotentParameterMismatch":
                await self._settle_mismatch(spec, error)
                return
            if error.provider_code in _OURS_GONE:
                self._networks.forget(region)
                raise ProviderError(error.message, provider_code=error.provider_code) from error
            raise
        made = answer["Instances"][0]
        self._made[spec.id] = (region, made["InstanceId"])
        if state(made) in _OVER:
            raise Gone(f"aws: {spec.id} was launched before, and terminated")

    async def _made_before(self, spec: LaunchSpec) -> bool:
        """Whether EC2 shows the machine already. EC2 forgets tokens after a time; tags it keeps."""
        there = await self._in_region(spec.offer.region, spec.id)
        if any(state(machine) not in _OVER for machine in there):
            return True
        if there:
            raise Gone(f"aws: {spec.id} was launched before, and terminated")
        return False

    async def _settle_mismatch(self, spec: LaunchSpec, error: ProviderError) -> None:
        """The token stands for a request with other particulars, as with a newer image: its machine is the one."""
        if not await self._made_before(spec):
            raise OutcomeUnknown(
                f"aws: {spec.id} was asked for before with other particulars, and is not listed yet",
                hint="fleetctl ps",
                provider_code=error.provider_code,
            ) from error

    async def list(self, fleet: str) -> Listing:
        asked_at = time.time()
        found = await asyncio.gather(*(self._list_region(region, fleet) for region in self._settings.regions))
        lines = [line for some in found for line in some]
        running = {line.id for line in lines if line.state is not Sighting.TERMINATED}
        return Listing(
            provider=AWS,
            at=asked_at,
            # EC2 shows what is terminated for an hour.
            instances=tuple(line for line in lines if line.state is not Sighting.TERMINATED or line.id not in running),
        )

    async def _list_region(self, region: str, fleet: str) -> Sequence[InstanceSeen]:
        pages = await self._sdk.pages(region, "describe_instances", "Reservations", Filters=of_fleet(fleet))
        machines = {one["InstanceId"]: one for reservation in pages for one in reservation["Instances"]}
        lines = [seen(machine, region, self._settings) for machine in machines.values()]
        return [line for line in lines if line is not None]

    async def start(self, instance: InstanceId) -> None:
        region, machine = await self._living(instance)
        match state(machine):
            case Sighting.RUNNING | Sighting.BOOTING:
                return
            case Sighting.STOPPING:
                raise ProviderError(f"aws: {instance} is still stopping, and can be started once it has stopped")
            case _:
                await self._sdk.change(region, "start_instances", InstanceIds=[machine["InstanceId"]])

    async def stop(self, instance: InstanceId) -> None:
        region, machine = await self._living(instance)
        if state(machine) not in (Sighting.STOPPING, Sighting.STOPPED):
            await self._sdk.change(region, "stop_instances", InstanceIds=[machine["InstanceId"]])

    async def terminate(self, instance: InstanceId) -> None:
        there = {
            (region, machine["InstanceId"]): state(machine) for region, machine in await self._everywhere(instance)
        }
        made = self._made.get(instance)
        if made is not None and made not in there:
            there[made] = Sighting.BOOTING  # made a moment ago, it can be terminated before any listing shows it
        for (region, machine), sighting in there.items():
            if sighting not in _OVER:
                await self._terminate(region, machine)

    async def _terminate(self, region: str, machine: str) -> None:
        try:
            await self._sdk.change(region, "terminate_instances", InstanceIds=[machine])
        except Gone:
            return

    async def console(self, instance: InstanceId) -> str:
        region, machine = await self._living(instance)
        try:
            answer = await self._sdk.read(region, "get_console_output", InstanceId=machine["InstanceId"], Latest=True)
        except InvalidRequest:  # only machines of the Nitro kind have a latest one
            answer = await self._sdk.read(region, "get_console_output", InstanceId=machine["InstanceId"])
        return str(answer.get("Output") or "")

    async def leftovers(self, fleet: str) -> Sequence[Leftover]:
        return await leftovers(self._sdk, self._settings.regions, fleet)

    async def remove(self, leftover: Leftover) -> None:
        self._networks.forget(leftover.region)
        await remove(self._sdk, leftover, self._fleet)

    async def checks(self, pools: Sequence[Pool]) -> Sequence[Check]:
        catalog = load(self._catalog_folder)
        return await checks(self._sdk, self._images, catalog, self._settings, self._fleet, pools)

    async def close(self) -> None:
        self._sdk.close()

    async def _living(self, instance: InstanceId) -> tuple[str, Any]:
        """Where it is, and EC2's description of it. Raises `Gone` when there is none."""
        for region, machine in await self._everywhere(instance):
            if state(machine) not in _OVER:
                return region, machine
        raise Gone(f"aws: there is no {instance} in {', '.join(self._settings.regions)}")

    async def _everywhere(self, instance: InstanceId) -> Sequence[tuple[str, Any]]:
        """Every machine that carries the fleet's tag and the id's, with its region."""
        regions = self._settings.regions
        found = await asyncio.gather(*(self._in_region(region, instance) for region in regions))
        return [(region, machine) for region, some in zip(regions, found, strict=True) for machine in some]

    async def _in_region(self, region: str, instance: InstanceId) -> Sequence[Any]:
        filters = [*of_fleet(self._fleet), {"Name": f"tag:{ID}", "Values": [instance]}]
        pages = await self._sdk.pages(region, "describe_instances", "Reservations", Filters=filters)
        return [machine for reservation in pages for machine in reservation["Instances"]]
