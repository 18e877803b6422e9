"""The Azure Provider: one machine, one resource of its id's name, in one resource group for each region of a fleet.

The name is the creation token: Azure keeps one machine of a name in a group, and the request that makes one says
`If-None-Match: *`, so that it never touches one that is there. A machine is asked for only after every group of the
fleet was looked at, since names are unique in one group only.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from fleetctl.errors import Gone, InvalidRequest, OutcomeUnknown, ProviderError
from fleetctl.model.checks import Check
from fleetctl.model.instances import LaunchSpec, Leftover, Listing, Offer
from fleetctl.model.names import InstanceId
from fleetctl.model.services import Pool
from fleetctl.providers import Setup
from fleetctl.providers.azure import checks, leftovers, listings
from fleetctl.providers.azure.connections import Connection, Limits
from fleetctl.providers.azure.consoles import read_console
from fleetctl.providers.azure.machines import AZURE, FLEET_TAG, ID_TAG, body, never_ran, owned, place, power
from fleetctl.providers.azure.networks import Networks, groups, look
from fleetctl.providers.azure.offers import Offers
from fleetctl.providers.azure.settings import group_name, machine_name, read

_ENDED_MAX = 10_000
"""Ids remembered as terminated by this process: some 1 MB, and more than a day of launches at Azure's own limits."""

_NETWORK_GONE = ("InvalidResourceReference", "ResourceGroupNotFound", "NotFound")
"""What a launch is refused with when the group or the network was removed, by a teardown elsewhere for instance."""


@dataclass(frozen=True, slots=True)
class _Found:
    group: str
    machine: Any
    """The SDK's VirtualMachine, with its instance view."""

    @property
    def provisioning(self) -> str:
        return self.machine.provisioning_state or ""

    @property
    def ending(self) -> bool:
        return self.provisioning == "Deleting"


class AzureProvider:
    """`boundary` is called before every request to Azure; tests end the process there."""

    name = AZURE
    consistency_s = 120.0
    """Azure's lists come from caches that lag by seconds as a rule; two minutes is ours, as a margin."""

    def __init__(
        self, setup: Setup, *, limits: Limits | None = None, boundary: Callable[[str], None] = lambda _: None
    ) -> None:
        self._settings = read(setup.options)
        self._options = setup.options
        self._fleet = setup.fleet
        self._ssh_key = setup.ssh_key
        self._connection = Connection(self._settings, limits or Limits(), boundary)
        self._networks = Networks(self._connection, setup.fleet)
        self._offers = Offers(self._connection, setup.home)
        self._changing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._ended: dict[InstanceId, None] = {}

    async def offers(self, pool: Pool) -> Sequence[Offer]:
        return await self._offers.find(pool)

    async def launch(self, spec: LaunchSpec) -> None:
        name = machine_name(spec.id)
        region, _ = place(spec.offer)
        self._mine(spec.id, spec.fleet)
        if region not in self._settings.regions:
            raise InvalidRequest(
                f"{spec.id}: {region} is not among the configured regions",
                hint=f"add it to providers.azure.regions: {', '.join(self._settings.regions)}",
            )
        async with self._alone(spec.id):
            for found in await self._find(spec.id, region):
                if found.ending:
                    raise Gone(f"{spec.id} is being deleted", hint="fleetctl ps -i")
                settled = await self._settled(found, "Creating")
                if settled is None or not never_ran(settled.provisioning, settled.machine.instance_view):
                    return
                # The trace of an attempt that failed: out of the way, so that this one is made anew.
                await self._delete(settled)
            if spec.id in self._ended:
                raise Gone(f"{spec.id} was terminated; its id makes no second machine", hint="fleetctl up")
            subnet = await self._networks.subnet(region)
            if spec.id in self._ended:  # terminated while the network was made
                raise Gone(f"{spec.id} was terminated before it was made", hint="fleetctl up")
            made: Any = body(spec, self._settings, subnet, ssh_key=spec.ssh_key or self._ssh_key)
            try:
                await self._connection.change(
                    f"make {spec.id}",
                    lambda clients: clients.compute.virtual_machines.begin_create_or_update(
                        group_name(self._fleet, region),
                        name,
                        made,
                        headers={"If-None-Match": "*"},
                        **self._connection.polling(),
                    ),
                )
            except OutcomeUnknown:
                raise
            except ProviderError as error:
                if error.provider_code in ("PreconditionFailed", "ConditionNotMet"):
                    return  # made by somebody else since we looked
                if error.provider_code in _NETWORK_GONE:
                    self._networks.forget(region)
                    raise ProviderError(
                        f"{error.message}; it was removed since it was looked at",
                        hint="it is made anew at the next attempt",
                        provider_code=error.provider_code,
                    ) from error
                await self._clear(spec.id, region, error)
                raise

    async def list(self, fleet: str) -> Listing:
        return await listings.listing(self._connection, fleet)

    async def start(self, instance: InstanceId) -> None:
        async with self._alone(instance):
            found = await self._one(instance)
            if power(found.machine.instance_view) in ("running", "starting"):
                return
            await self._connection.change(
                f"start {instance}",
                lambda clients: clients.compute.virtual_machines.begin_start(
                    found.group, found.machine.name, **self._connection.polling()
                ),
            )

    async def stop(self, instance: InstanceId) -> None:
        async with self._alone(instance):
            found = await self._one(instance)
            if power(found.machine.instance_view) in ("deallocated", "deallocating"):
                return
            # Not power_off: a machine that is off and not deallocated is billed as one that runs.
            await self._connection.change(
                f"stop {instance}",
                lambda clients: clients.compute.virtual_machines.begin_deallocate(
                    found.group, found.machine.name, **self._connection.polling()
                ),
            )

    async def terminate(self, instance: InstanceId) -> None:
        alone = self._alone(instance)
        if alone.locked():
            self._end(instance)  # a launch that is under way, and has not asked for the machine yet, gives up
        async with alone:
            for found in await self._find(instance):
                self._end(instance)
                await (self._settled(found, "Deleting") if found.ending else self._delete(found))

    async def console(self, instance: InstanceId) -> str:
        found = await self._one(instance)
        return await read_console(self._connection, found.group, found.machine.name)

    async def leftovers(self, fleet: str) -> Sequence[Leftover]:
        return await leftovers.find(self._connection, fleet)

    async def remove(self, leftover: Leftover) -> None:
        self._networks.forget(leftover.region)
        try:
            await leftovers.remove(self._connection, self._fleet, leftover)
        finally:
            self._networks.forget(leftover.region)  # a launch in between may have looked before it was gone

    async def checks(self, pools: Sequence[Pool]) -> Sequence[Check]:
        return await checks.run(self._connection, self._fleet, self._options, self._offers, pools)

    async def close(self) -> None:
        await self._connection.close()

    def _mine(self, instance: InstanceId, fleet: str) -> None:
        if fleet != self._fleet:
            raise InvalidRequest(f"{instance} is of fleet {fleet}; this provider serves {self._fleet}")

    def _end(self, instance: InstanceId) -> None:
        """Remember that the id was terminated: a launch of it that comes late makes no second machine."""
        self._ended[instance] = None
        if len(self._ended) > _ENDED_MAX:
            del self._ended[next(iter(self._ended))]

    def _alone(self, instance: InstanceId) -> asyncio.Lock:
        """One change of an Instance at a time, in this process; between processes Azure itself decides."""
        found = self._changing.get(instance)
        if found is None:
            found = self._changing[instance] = asyncio.Lock()
        return found

    async def _one(self, instance: InstanceId) -> _Found:
        """The Instance, which must be there. Raises `Gone`."""
        for found in await self._find(instance):
            if not found.ending:
                return found
        raise Gone(f"{instance} is gone from Azure", hint="fleetctl ps -i")

    async def _find(self, instance: InstanceId, *regions: str) -> Sequence[_Found]:
        """The Instance in every resource group of the fleet; one at most, unless somebody else made the second.

        Raises `InvalidRequest` for a machine of that name that is not the fleet's.
        """
        name = machine_name(instance)
        known = set(await groups(self._connection, self._fleet))
        known.update(group_name(self._fleet, region) for region in (*self._settings.regions, *regions))
        found = await asyncio.gather(*(self._in_group(group, name) for group in sorted(known)))
        there = [one for one in found if one is not None]
        for one in there:
            if not owned(one.machine.tags, self._fleet) or one.machine.tags.get(ID_TAG) != instance:
                raise InvalidRequest(
                    f"machine {name} in {one.group} has not the tags {FLEET_TAG}={self._fleet}, {ID_TAG}={instance}",
                    hint="fleetctl touches nothing that it did not tag",
                )
        return there

    async def _in_group(self, group: str, name: str) -> _Found | None:
        machine = await look(
            self._connection,
            f"look for {name} in {group}",
            lambda clients: clients.compute.virtual_machines.get(group, name, expand="instanceView"),
        )
        return None if machine is None else _Found(group, machine)

    async def _settled(self, found: _Found, passing: str) -> _Found | None:
        """The machine once it has left that state, or as it was when the limit of a verdict is over; None: it went."""
        limits = self._connection.limits
        now: _Found | None = found
        try:
            async with asyncio.timeout(limits.verdict_s):
                while now is not None and now.provisioning == passing:
                    await asyncio.sleep(limits.pause_s)
                    now = await self._in_group(found.group, found.machine.name)
        except TimeoutError:
            return found
        return now

    async def _delete(self, found: _Found) -> None:
        try:
            await self._connection.change(
                f"terminate {found.machine.name}",
                lambda clients: clients.compute.virtual_machines.begin_delete(
                    found.group, found.machine.name, **self._connection.polling()
                ),
            )
        except Gone:
            return

    async def _clear(self, instance: InstanceId, region: str, failed: ProviderError) -> None:
        """Delete what a failed creation left, at best: a repeated launch and a terminate find it too."""
        try:
            found = await self._in_group(group_name(self._fleet, region), machine_name(instance))
            if (
                found is not None
                and owned(found.machine.tags, self._fleet)
                and never_ran(found.provisioning, found.machine.instance_view)
            ):
                await self._delete(found)
        except ProviderError as error:
            failed.add_note(f"what it left could not be deleted yet: {error.message}")
