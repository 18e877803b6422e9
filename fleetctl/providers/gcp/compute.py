"""The GCP provider.

Nothing is remembered that could not be asked again: a machine's name and request id follow from the fleet and the
Instance's id, and its labels and metadata say the rest. What is kept in memory saves questions, and no more.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakValueDictionary

from fleetctl.errors import AuthFailure, Gone, InvalidRequest, OutcomeUnknown, ProviderError
from fleetctl.model.checks import Check
from fleetctl.model.instances import InstanceSeen, LaunchSpec, Leftover, Listing, Offer
from fleetctl.model.names import InstanceId
from fleetctl.model.services import Gpu, Pool
from fleetctl.providers.gcp import checks, images, leftovers, machines, names, offers
from fleetctl.providers.gcp.api import Api, Limits
from fleetctl.providers.gcp.asking import Asking, done, raise_its_error
from fleetctl.providers.gcp.failures import AlreadyThere
from fleetctl.providers.gcp.network import Network
from fleetctl.providers.gcp.settings import GCP, Settings

if TYPE_CHECKING:
    from google.cloud import compute_v1

_CONSOLE_BYTES = 65_536
"""The end of the console: several boots' worth of the kernel's last words, and short enough to print."""

_REPLAYS_MAX = 32
"""Failed attempts at one Instance that earlier processes may have made, each met again as the answer to its token. An
Instance that failed more often than this is given up long before."""

_IMAGE_KEPT_S = 6 * 3600.0
"""A newly found image is used this long. Google retires one months after its successor."""

_BEING_MADE = ("PENDING", "PROVISIONING", "STAGING")
_STARTED = (*_BEING_MADE, "RUNNING", "REPAIRING")
_AT_REST = ("TERMINATED", "STOPPED", "SUSPENDED")
_STOPPING = ("STOPPING", "PENDING_STOP", "SUSPENDING")

_Placed: TypeAlias = "tuple[str, compute_v1.Instance]"
"""A machine and its zone."""

_NOT_READY = ("resourceNotReady", "RESOURCE_NOT_READY")
_NOT_THERE = ("notFound", "RESOURCE_NOT_FOUND", "404")


class GcpProvider:
    """`boundary` is called before every request, with the request's name; tests end the process there."""

    name = GCP
    consistency_s = 60.0
    """Google names no bound. Listings are seen to follow within seconds; a minute costs a late verdict at most."""

    def __init__(
        self, settings: Settings, *, limits: Limits | None = None, boundary: Callable[[str], None] = lambda _: None
    ) -> None:
        self._settings = settings
        limits = limits or Limits()
        self._api = Api(settings, limits, boundary)
        self._asking = Asking(self._api, limits)
        self._network = Network(self._api, settings, self._asking)
        self._images: dict[str, tuple[str, float]] = {}
        self._zones: dict[InstanceId, str] = {}
        self._attempts: dict[InstanceId, int] = {}
        self._turns: WeakValueDictionary[InstanceId, asyncio.Lock] = WeakValueDictionary()

    async def offers(self, pool: Pool) -> Sequence[Offer]:
        return await self._asking.read("offers", lambda: offers.found(self._api, self._settings, pool))

    async def launch(self, spec: LaunchSpec) -> None:
        if spec.fleet != self._settings.fleet:
            raise InvalidRequest(f"{spec.id} is of fleet {spec.fleet}; this provider serves {self._settings.fleet}")
        what = f"launch {spec.id} in {spec.offer.zone}"
        async with self._turn(spec.id):
            operation = await self._insert(what, spec)
        if operation is None:
            return
        try:
            await self._asking.ended(what, operation)
        except (OutcomeUnknown, AlreadyThere) as error:
            if isinstance(error, OutcomeUnknown):
                raise
        except ProviderError:
            self._attempts[spec.id] = self._attempts.get(spec.id, 0) + 1  # its token would bring this failure back
            raise

    async def list(self, fleet: str) -> Listing:
        at = time.time()
        lines = await self._asking.read("the fleet's instances", lambda: self._lines(fleet))
        return Listing(provider=GCP, at=at, instances=lines)

    async def start(self, instance: InstanceId) -> None:
        what = f"start {instance}"
        async with self._turn(instance):
            zone, machine = await self._one(instance)
            if machine.status in _STARTED:
                return
            if machine.status not in _AT_REST:
                raise ProviderError(
                    f"gcp: {instance} is {machine.status} and cannot start yet",
                    hint="it is tried again at the next tick",
                )
            try:
                operation = await self._asking.change(what, lambda: self._api.start_instance(zone, machine.name))
            except Gone:
                raise _gone(instance) from None
        await self._asking.ended(what, operation)

    async def stop(self, instance: InstanceId) -> None:
        what = f"stop {instance}"
        async with self._turn(instance):
            zone, machine = await self._one(instance)
            if machine.status in _AT_REST or machine.status in _STOPPING:
                return
            local = machines.has_local_disks(machine)
            try:
                operation = await self._asking.change(
                    what, lambda: self._api.stop_instance(zone, machine.name, discard_local_ssd=local)
                )
            except Gone:
                raise _gone(instance) from None
        await self._asking.accepted(what, operation)

    async def terminate(self, instance: InstanceId) -> None:
        async with self._turn(instance):
            there = await self._find(instance, everywhere=True)
            accepted = [await self._delete(instance, zone, machine) for zone, machine in there]
        for operation in accepted:
            if operation is not None:
                try:
                    await self._asking.accepted(f"terminate {instance}", operation)
                except ProviderError as error:
                    if error.provider_code not in _NOT_THERE:
                        raise
        self._zones.pop(instance, None)
        self._attempts.pop(instance, None)

    async def console(self, instance: InstanceId) -> str:
        zone, machine = await self._one(instance)
        return await self._asking.read(
            f"console of {instance}", lambda: self._api.console(zone, machine.name, _CONSOLE_BYTES)
        )

    async def leftovers(self, fleet: str) -> Sequence[Leftover]:
        return await self._asking.read("the fleet's leftovers", lambda: leftovers.found(self._api, fleet))

    async def remove(self, leftover: Leftover) -> None:
        what = f"remove {leftover.kind} {leftover.id}"
        fleet = self._settings.fleet
        delete = await self._asking.read(what, lambda: leftovers.deletion(self._api, fleet, leftover))
        self._network.forget()
        if delete is None:
            return
        try:
            await self._asking.changed(what, delete)
        except ProviderError as error:
            if not isinstance(error, Gone) and error.provider_code not in _NOT_THERE:
                raise

    async def checks(self, pools: Sequence[Pool]) -> Sequence[Check]:
        look = checks.Look(self._api, self._settings, self._asking, self._network, self._image, self.offers, self.list)
        return await look.all(pools)

    async def close(self) -> None:
        self._asking.close()
        self._api.close()

    async def _insert(self, what: str, spec: LaunchSpec) -> "compute_v1.Operation | None":
        """Ask for the machine; None: it is there. Nothing else changes until this is over, at this id."""
        zone, name = spec.offer.zone, names.instance_name(spec.fleet, spec.id)
        for place, machine in await self._find(spec.id):
            # One that is being made here may yet fail: the same token brings back how it goes.
            if place != zone or machine.status not in _BEING_MADE:
                return None
        try:
            network = await self._network.ready()
            image = await self._image(spec.image, spec.offer.gpu)
        except OutcomeUnknown as error:  # of what launches need; no machine has been asked for
            raise ProviderError(f"{error.message}; {spec.id} was not launched", hint="fleetctl ps") from error
        body = machines.launch_body(spec, self._settings, image=image, network=network, at=time.time())
        self._zones[spec.id] = zone
        first = self._attempts.get(spec.id, 0)
        failed: compute_v1.Operation | None = None
        for attempt in range(first, first + _REPLAYS_MAX):
            token = names.request_id(spec.fleet, spec.id, attempt)
            self._attempts[spec.id] = attempt
            try:
                operation = await self._asking.change(what, partial(self._api.insert_instance, zone, body, token))
            except AlreadyThere:
                await self._confirm(spec, zone, name)
                return None
            except (Gone, InvalidRequest) as error:
                self._forget()  # the network or the image may have gone since they were looked at
                raise InvalidRequest(error.message, hint=error.hint, provider_code=error.provider_code) from error
            self._zones[spec.id] = place = names.last(operation.zone) or zone
            if not done(operation):
                return operation
            # So it is an earlier request's: a new operation has not ended when it is answered.
            if not operation.error.errors:
                await self._confirm(spec, place, name)
                return None
            failed = operation
        assert failed is not None, "the loop above runs at least once"
        raise_its_error(what, failed)
        return None

    async def _confirm(self, spec: LaunchSpec, zone: str, name: str) -> None:
        """That what has the machine's name is the machine."""
        try:
            machine = await self._asking.read(f"instance {spec.id}", lambda: self._api.instance(zone, name))
        except Gone:
            raise Gone(f"{spec.id} was made at gcp before and is gone: its id is used up", hint="fleetctl up") from None
        if not self._ours(machine, spec.id):
            raise InvalidRequest(f"gcp: {name} in {zone} is not of fleet {spec.fleet}", hint="remove or rename it")

    async def _image(self, wanted: str | None, gpu: Gpu) -> str:
        if image := wanted or self._settings.image:
            return images.path(image, self._settings.project)
        key, now = images.product(gpu), time.monotonic()
        if key not in self._images or now - self._images[key][1] > _IMAGE_KEPT_S:
            found = await self._asking.read("the newest GPU image", lambda: images.newest(self._api, gpu))
            self._images[key] = (found, now)
        return self._images[key][0]

    def _forget(self) -> None:
        self._network.forget()
        self._images.clear()

    def _lines(self, fleet: str) -> tuple[InstanceSeen, ...]:
        """Every Instance of the fleet in any zone of the project. Blocking."""
        rows = [
            (zone, instance, machine)
            for zone, machine in self._api.instances(f'labels.{names.FLEET_LABEL} = "{fleet}"')
            if machine.labels.get(names.FLEET_LABEL) == fleet and (instance := machines.instance_id(machine))
        ]
        # Google says STOPPING of a machine that is being deleted too; only the operations tell them apart.
        deleting = self._api.deletions() if any(row[2].status in _STOPPING for row in rows) else frozenset()
        if fleet == self._settings.fleet:
            self._zones.update({instance: zone for zone, instance, _ in rows})
        return tuple(
            machines.seen(machine, instance, zone, self._settings, deleting=str(machine.id) in deleting)
            for zone, instance, machine in rows
        )

    async def _one(self, instance: InstanceId) -> _Placed:
        """The machine and its zone. Raises `Gone`."""
        there = await self._find(instance)
        if not there:
            raise _gone(instance)
        return there[0]

    async def _find(self, instance: InstanceId, *, everywhere: bool = False) -> tuple[_Placed, ...]:
        """The fleet's machine of that id where it was last known to be, else (or besides) in the whole project.

        The first is sure: a machine is found by its name at once, while listings may lag.
        """
        found: dict[str, compute_v1.Instance] = {}
        name = names.instance_name(self._settings.fleet, instance)
        if zone := self._zones.get(instance):
            try:
                machine = await self._asking.read(f"instance {instance}", partial(self._api.instance, zone, name))
            except Gone:
                self._zones.pop(instance, None)
            else:
                if self._ours(machine, instance):
                    found[zone] = machine
        if everywhere or not found:
            for place, machine in await self._asking.read(f"instance {instance}", partial(self._marked, instance)):
                found.setdefault(place, machine)
        return tuple(found.items())

    def _marked(self, instance: InstanceId) -> tuple[_Placed, ...]:
        """Every machine of the project that carries the fleet's labels and the id. Blocking."""
        fleet = self._settings.fleet
        filtered = f'(labels.{names.FLEET_LABEL} = "{fleet}") (labels.{names.ID_LABEL} = "{instance}")'
        return tuple(row for row in self._api.instances(filtered) if self._ours(row[1], instance))

    async def _delete(
        self, instance: InstanceId, zone: str, machine: "compute_v1.Instance"
    ) -> "compute_v1.Operation | None":
        try:
            return await self._asking.change(
                f"terminate {instance}", lambda: self._api.delete_instance(zone, machine.name)
            )
        except Gone:
            return None
        except AuthFailure:
            raise
        except ProviderError as error:
            if error.provider_code in _NOT_READY and str(machine.id) in await self._asking.read(
                "deletions", self._api.deletions
            ):
                return None  # it is being deleted already
            raise

    def _ours(self, machine: "compute_v1.Instance", instance: InstanceId) -> bool:
        marks = machine.labels
        return marks.get(names.FLEET_LABEL) == self._settings.fleet and marks.get(names.ID_LABEL) == instance

    def _turn(self, instance: InstanceId) -> asyncio.Lock:
        """One request at a time changes an Instance, so that a termination never overtakes a launch on its way."""
        return self._turns.setdefault(instance, asyncio.Lock())


def _gone(instance: InstanceId) -> Gone:
    return Gone(f"{instance} is gone from gcp", hint="fleetctl up")
