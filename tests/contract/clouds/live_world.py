"""A real account as the cloud contract wants a cloud: no faults, the cloud's own listing as truth, and a cap on money.

The judge is the cloud itself, asked by a Provider that remembers nothing. Faults cannot be ordered from it, so the
tests that need one are skipped.
"""

import asyncio
import concurrent.futures
import json
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cloud_contract import FLEET, Boundary, CloudUnderTest, Fault, Truth, give_back, nothing

from fleetctl.errors import UsageError
from fleetctl.model.checks import Check
from fleetctl.model.instances import LaunchSpec, Leftover, Listing, Offer, Sighting
from fleetctl.model.names import InstanceId, PoolName
from fleetctl.model.services import Gpu, Pool
from fleetctl.paths import Home
from fleetctl.ports import Provider
from fleetctl.providers import Setup

T = TypeVar("T")

GPUS = {"aws": Gpu(name="T4", count=1), "gcp": Gpu(name="T4", count=1), "azure": Gpu(name="T4", count=1)}
"""The cheapest GPU that each cloud rents."""

BILLED_H = 1.0
"""What each launch is counted as: far more than a test holds a machine, so that the cap holds whatever goes wrong."""

SETTLED_S = 900.0
"""For a real machine to come to rest, instead of the minute of a server on this one."""

LOOK_S = 2.0
"""Between two looks at it: an account may ask only so often."""


class Capped:
    """A Provider that launches nothing beyond the cap: every launch counts as an hour of its price."""

    def __init__(self, provider: Provider, purse: "Purse") -> None:
        self._provider = provider
        self._purse = purse
        self.name = provider.name
        self.consistency_s = provider.consistency_s

    async def launch(self, spec: LaunchSpec) -> None:
        self._purse.pay(spec)
        await self._provider.launch(spec)

    async def offers(self, pool: Pool) -> Sequence[Offer]:
        return await self._provider.offers(pool)

    async def list(self, fleet: str) -> Listing:
        return await self._provider.list(fleet)

    async def start(self, instance: InstanceId) -> None:
        await self._provider.start(instance)

    async def stop(self, instance: InstanceId) -> None:
        await self._provider.stop(instance)

    async def terminate(self, instance: InstanceId) -> None:
        await self._provider.terminate(instance)

    async def console(self, instance: InstanceId) -> str:
        return await self._provider.console(instance)

    async def leftovers(self, fleet: str) -> Sequence[Leftover]:
        return await self._provider.leftovers(fleet)

    async def remove(self, leftover: Leftover) -> None:
        await self._provider.remove(leftover)

    async def checks(self, pools: Sequence[Pool]) -> Sequence[Check]:
        return await self._provider.checks(pools)

    async def close(self) -> None:
        await self._provider.close()


class Purse:
    """US dollars that a run may spend, and has."""

    def __init__(self, cap_usd: float) -> None:
        self.cap_usd = cap_usd
        self.spent_usd = 0.0

    def pay(self, spec: LaunchSpec) -> None:
        """Book a launch, or end the test before it. The prices of Offers alone count: a test may leave one out."""
        price = spec.offer.price_per_hour
        cost = BILLED_H * (self.dearest if price is None else price)
        if self.spent_usd + cost > self.cap_usd:
            pytest.fail(
                f"--live-cap: ${self.spent_usd:.2f} of ${self.cap_usd:.2f} are booked, and this launch may cost "
                f"${cost:.2f} more: nothing was launched"
            )
        self.spent_usd += cost

    dearest: float = float("inf")
    """Dollars an hour where a launch names no price: the highest price of the Offers in use."""


def live_cloud(name: str, options: dict[str, object], purse: Purse, home: Path) -> CloudUnderTest:
    """The account, empty of this suite's fleet. Raises `UsageError` where there is something of it, or no Offer."""
    setup = Setup(fleet=FLEET, home=Home(home), options=options)
    pool = Pool(name=PoolName("gpu"), gpu=(GPUS[name],))

    def make(fleet: str, boundary: Boundary) -> Provider:
        return Capped(_provider(name, Setup(fleet=fleet, home=setup.home, options=options), boundary), purse)

    async def look() -> tuple[Sequence[Offer], Truth]:
        provider = make(FLEET, nothing)
        try:
            return await provider.offers(pool), await _truth(provider, FLEET)
        finally:
            await provider.close()

    offers, there = apart(look)
    if there.machines or there.others:
        raise UsageError(f"the account has things of a fleet {FLEET}: {there}", hint="remove them by hand first")
    chosen = _two_zones(offers)
    purse.dearest = max(offer.price_per_hour or 0.0 for offer in chosen)
    return CloudUnderTest(
        make=make,
        offers=chosen,
        pool=pool,
        inject=_no_faults,
        clear=lambda: None,
        truth=lambda fleet: apart(lambda: _asked(make, fleet)),
        stranger=lambda: pytest.skip("nothing is made on a real account that fleetctl would not find again"),
    )


def empty(cloud: CloudUnderTest) -> None:
    """Give everything back, whatever a test left."""

    async def all_of(fleet: str) -> None:
        provider = cloud.make(fleet, nothing)
        try:
            await give_back(provider, fleet)
        finally:
            await provider.close()

    for fleet in (FLEET, "other"):
        apart(lambda fleet=fleet: all_of(fleet))  # type: ignore[misc]


def apart(call: Callable[[], Coroutine[Any, Any, T] | Awaitable[T]]) -> T:
    """The answer of a coroutine run in a loop of its own, whether or not one runs here."""

    async def whole() -> T:
        return await call()

    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(whole())).result()


async def _asked(make: Callable[[str, Boundary], Provider], fleet: str) -> Truth:
    provider = make(fleet, nothing)
    try:
        return await _truth(provider, fleet)
    finally:
        await provider.close()


async def _truth(provider: Provider, fleet: str) -> Truth:
    over = (Sighting.TERMINATED, Sighting.TERMINATING)
    machines = [line.id for line in (await provider.list(fleet)).instances if line.state not in over]
    others = [f"{one.kind}/{one.id}" for one in await provider.leftovers(fleet)]
    return Truth(machines=tuple(machines), others=tuple(others))


def _no_faults(_: Fault) -> None:
    pytest.skip("a real account takes no orders to fail")


def _two_zones(offers: Sequence[Offer]) -> tuple[Offer, Offer]:
    """The cheapest type that two zones of one region have, with a price that is known."""
    priced = [offer for offer in offers if offer.price_per_hour is not None]
    for first in priced:
        for second in priced:
            same = (first.instance_type, first.region) == (second.instance_type, second.region)
            if same and first.zone != second.zone:
                return first, second
    raise UsageError(
        "no machine type with a known price is offered in two zones of a region",
        hint="name more regions in --live-options; prices: fleetctl catalog refresh",
    )


def _provider(name: str, setup: Setup, boundary: Boundary) -> Provider:
    match name:
        case "aws":
            from fleetctl.providers.aws import AwsProvider
            from fleetctl.providers.aws.settings import read_settings as aws_settings

            return AwsProvider(aws_settings(setup.options), fleet=setup.fleet, boundary=boundary)
        case "gcp":
            from fleetctl.providers.gcp.compute import GcpProvider
            from fleetctl.providers.gcp.settings import read_settings

            return GcpProvider(read_settings(setup), boundary=boundary)
        case "azure":
            from fleetctl.providers.azure.provider import AzureProvider

            return AzureProvider(setup, boundary=boundary)
    raise UsageError(f"--live {name}: no such cloud", hint=f"one of: {', '.join(GPUS)}")


def refusal(name: str, cap_usd: float | None, options: str, *, ci: bool) -> str | None:
    """Why a live run may not begin; None: it may."""
    if name not in GPUS:
        return f"--live {name}: no such cloud; one of: {', '.join(GPUS)}"
    if ci:
        return "--live is never run in CI: it rents machines for money"
    if cap_usd is None or not 0 < cap_usd < float("inf"):
        return "--live rents machines for money: say how much they may cost at most, as in --live-cap 5"
    try:
        found = json.loads(options)
    except ValueError as error:
        return f"--live-options is no JSON: {error}"
    if not isinstance(found, dict) or "regions" not in found:
        return "--live-options: the provider's settings as in the fleet's file, as in '{\"regions\": [\"us-east-1\"]}'"
    if "endpoint" in found:
        return "--live-options: an endpoint is no real account"
    return None
