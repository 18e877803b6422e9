"""What every cloud's Provider promises, tried on the real SDK over real HTTP; each cloud plugs in a `CloudUnderTest`.

A cloud's test file makes a class of `CloudContract` and gives it a fixture called `cloud`. Who judges differs by cloud
and is said there; what is judged here is what the server itself holds (`truth`), never what the Provider says of it.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum

import pytest

from fleetctl.errors import (
    AuthFailure,
    Gone,
    InvalidRequest,
    NoCapacity,
    OutcomeUnknown,
    ProviderError,
    QuotaExceeded,
    Throttled,
)
from fleetctl.model.instances import InstanceSeen, LaunchSpec, Offer, Sighting
from fleetctl.model.names import InstanceId, PoolName
from fleetctl.model.services import Pool
from fleetctl.ports import Provider

FLEET = "test-fleet"
ONE = InstanceId("gpu-e1-1")
TWO = InstanceId("gpu-e1-2")
THREE = InstanceId("gpu-e1-3")

NEWLY_CODED = "SomethingNobodyKnows"
"""The error code that `Kind.UNKNOWN_CODE` answers with."""

SETTLED_S = 60.0
"""For a server on this machine to come to rest: a tenth of a second alone, a hundred times that on busy cores."""
LOOK_S = 0.02
"""Between two looks at it."""
PATIENCE_S = 30.0
"""The Provider's limit for one answer where no answer is withheld: as good as none, on cores however busy."""


class Operation(StrEnum):
    """The call of the Provider in which a fault strikes; its first request of that kind meets it."""

    PREPARE = "prepare"
    """A changing request of `launch` before the one that makes the machine: a network, a firewall, a key."""
    LAUNCH = "launch"
    """The request that makes the machine."""
    LIST = "list"
    START = "start"
    STOP = "stop"
    TERMINATE = "terminate"
    REMOVE = "remove"
    """A request that deletes a leftover."""


class Kind(StrEnum):
    CAPACITY = "capacity"
    QUOTA = "quota"
    AUTH = "auth"
    THROTTLED = "throttled"
    UNKNOWN_CODE = "unknown code"
    """A client's error with the code `NEWLY_CODED`; nothing was done."""
    REFUSED = "5xx, not done"
    BROKEN = "done, then 5xx"
    CUT = "done, connection cut"
    SLOW = "done, answered after the Provider's limit"
    HIDDEN = "not in listings yet"
    """Listings lack every machine that was made; LIST only. `times` counts listings."""
    PAGE = "a page missing"
    """Listings come in pages of one, the second of which fails; LIST only."""
    EXPIRED = "credentials expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    operation: Operation
    kind: Kind
    times: int = 1
    """Requests that meet it."""
    zone: str | None = None
    """Only requests for this zone; LAUNCH only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the server holds now, asked of its own memory."""

    machines: tuple[InstanceId, ...]
    """The id on each machine that is there and not terminated; one made twice is here twice."""
    others: tuple[str, ...]
    """Everything else that carries the fleet's tag: disks, addresses, networks, keys."""
    strangers: int = 0
    """Machines without the fleet's tag."""


Boundary = Callable[[str], None]
"""Called by the Provider before each of its requests; raising `Killed` there is the death of the process."""


class Killed(BaseException):
    """The process died here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudUnderTest:
    """One cloud's server and the levers on it, fresh for each test."""

    make: Callable[[str, Boundary], Provider]
    """A Provider of that fleet with nothing remembered, as a new process makes it; its time limits are short."""
    offers: tuple[Offer, ...]
    """At least two that the server can grant, of one machine type and region, in two zones; the first is the usual."""
    pool: Pool
    """For which `offers` finds something."""
    inject: Callable[[Fault], None]
    clear: Callable[[], None]
    """Faults stop."""
    truth: Callable[[str], Truth]
    """Of the named fleet."""
    stranger: Callable[[], None]
    """Makes a machine that no fleet has tagged."""
    cannot: frozenset[tuple[Operation, Kind]] = frozenset()
    """Faults that make no sense at this cloud."""
    seeds: int = 500
    """Sequences of bad luck in CI: with nearly four launches in each, what is wrong once in 500 launches is met 97
    times in a hundred, in some two minutes of two processes for three clouds. Four times as many cost four times as
    much in every change of anything, and are for changes of a provider: `--seeds 2000`."""


def nothing(_: str) -> None:
    """No boundary kills."""


def launch_spec(cloud: CloudUnderTest, instance: InstanceId = ONE, *, zone: int = 0, fleet: str = FLEET) -> LaunchSpec:
    return LaunchSpec(
        id=instance,
        fleet=fleet,
        pool=PoolName("gpu"),
        offer=cloud.offers[zone],
        user_data="#cloud-config\nhostname: gpu\n",
        ssh_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f fleet",
    )


async def sighted(provider: Provider, state: Sighting, instance: InstanceId = ONE) -> InstanceSeen:
    """The listing's line, once it is in that state, within the bound."""
    seen: tuple[InstanceSeen, ...] = ()
    deadline = time.monotonic() + SETTLED_S
    while time.monotonic() < deadline:
        seen = (await provider.list(FLEET)).instances
        for line in seen:
            if line.id == instance and line.state is state:
                return line
        await asyncio.sleep(LOOK_S)
    raise AssertionError(f"{instance} is not {state} within {SETTLED_S} s: {seen}")


async def listed(provider: Provider, fleet: str = FLEET) -> dict[InstanceId, Sighting]:
    """What the Provider says is there and not terminated."""
    seen = (await provider.list(fleet)).instances
    return {line.id: line.state for line in seen if line.state is not Sighting.TERMINATED}


async def give_back(provider: Provider, fleet: str = FLEET) -> None:
    """What `fleetctl teardown` does: terminate all, then remove what else there is, in its order; bounded."""
    deadline = time.monotonic() + SETTLED_S
    while there := await listed(provider, fleet):
        assert time.monotonic() < deadline, f"still there: {there}"
        for instance in there:
            await provider.terminate(instance)
    while left := await provider.leftovers(fleet):
        assert time.monotonic() < deadline, f"still there: {left}"
        for leftover in left:
            with suppress(InvalidRequest):  # still held by another for a moment; the bound above judges
                await provider.remove(leftover)


REFUSALS: tuple[tuple[Kind, type[ProviderError]], ...] = (
    (Kind.CAPACITY, NoCapacity),
    (Kind.QUOTA, QuotaExceeded),
    (Kind.AUTH, AuthFailure),
    (Kind.THROTTLED, Throttled),
    (Kind.EXPIRED, AuthFailure),
    (Kind.UNKNOWN_CODE, ProviderError),
)
"""Verdicts: nothing was made, and the class says who acts."""

LOSSES = (Kind.BROKEN, Kind.CUT, Kind.SLOW)
"""It was done, and the Provider cannot know."""


class CloudContract:
    """One life and every kind of bad luck, each judged by the server's own memory."""

    async def test_whole_life_of_a_machine(self, cloud: CloudUnderTest) -> None:
        provider = cloud.make(FLEET, nothing)
        before = await provider.list(FLEET)

        await provider.launch(launch_spec(cloud))
        running = await sighted(provider, Sighting.RUNNING)
        written = await provider.console(ONE)
        await provider.stop(ONE)
        stopped = await sighted(provider, Sighting.STOPPED)
        await provider.start(ONE)
        again = await sighted(provider, Sighting.RUNNING)
        made = cloud.truth(FLEET)
        await provider.terminate(ONE)
        await give_back(provider)

        assert before.instances == ()
        assert (running.id, running.pool, running.offer) == (ONE, PoolName("gpu"), cloud.offers[0])
        assert running.address
        assert isinstance(written, str)
        assert abs(running.created_at - time.time()) < 600, "made just now"
        assert stopped.created_at == again.created_at == running.created_at
        assert made.machines == (ONE,)
        assert made.others, "it has a disk at least"
        assert cloud.truth(FLEET) == Truth(machines=(), others=())
        await provider.close()

    async def test_listing_by_a_new_process_rebuilds_every_offer(self, cloud: CloudUnderTest) -> None:
        first = cloud.make(FLEET, nothing)
        unpriced = replace(cloud.offers[1], price_per_hour=None, price_source="", price_as_of=0.0)
        await first.launch(launch_spec(cloud))
        await first.launch(replace(launch_spec(cloud, TWO), offer=unpriced))
        await first.close()

        second = cloud.make(FLEET, nothing)
        seen = {line.id: line.offer for line in (await second.list(FLEET)).instances}

        assert seen == {ONE: cloud.offers[0], TWO: unpriced}
        await give_back(second)
        await second.close()

    async def test_every_call_may_be_repeated(self, cloud: CloudUnderTest) -> None:
        provider = cloud.make(FLEET, nothing)
        for _ in range(3):
            await provider.launch(launch_spec(cloud))
        assert cloud.truth(FLEET).machines == (ONE,)
        for _ in range(2):
            await provider.start(ONE)
        for _ in range(2):
            await provider.stop(ONE)
        await sighted(provider, Sighting.STOPPED)
        await provider.launch(launch_spec(cloud))
        assert (await listed(provider))[ONE] is Sighting.STOPPED, "a launch finds it made; it starts nothing"
        for _ in range(2):
            await provider.start(ONE)
        await sighted(provider, Sighting.RUNNING)
        for _ in range(2):
            await provider.terminate(ONE)

        assert cloud.truth(FLEET).machines == ()
        left = await provider.leftovers(FLEET)
        await give_back(provider)
        for leftover in left:
            await provider.remove(leftover)
        assert cloud.truth(FLEET) == Truth(machines=(), others=())
        await provider.close()

    async def test_what_is_gone_is_gone(self, cloud: CloudUnderTest) -> None:
        provider = cloud.make(FLEET, nothing)
        await provider.terminate(ONE)

        with pytest.raises(Gone):
            await provider.start(ONE)
        with pytest.raises(Gone):
            await provider.stop(ONE)
        await provider.launch(launch_spec(cloud))
        await provider.terminate(ONE)
        with pytest.raises(Gone):
            await provider.start(ONE)
        with pytest.raises(Gone):
            await provider.stop(ONE)

        assert cloud.truth(FLEET).machines == ()
        await give_back(provider)
        await provider.close()

    async def test_launches_at_once_make_one_of_each(self, cloud: CloudUnderTest) -> None:
        rivals = [cloud.make(FLEET, nothing) for _ in range(2)]

        await asyncio.gather(*(rival.launch(launch_spec(cloud, one)) for rival in rivals for one in (ONE, ONE, TWO)))

        truth = cloud.truth(FLEET)
        assert sorted(truth.machines) == [ONE, TWO]
        await give_back(rivals[0])
        assert cloud.truth(FLEET) == Truth(machines=(), others=())
        for rival in rivals:
            await rival.close()

    async def test_networks_made_at_once_are_made_once(self, cloud: CloudUnderTest) -> None:
        alone, rivals = cloud.make(FLEET, nothing), [cloud.make(FLEET, nothing) for _ in range(3)]
        await alone.launch(launch_spec(cloud, THREE))
        await alone.terminate(THREE)
        shared = Counter(leftover.kind for leftover in await alone.leftovers(FLEET))
        await give_back(alone)

        await asyncio.gather(*(rival.launch(launch_spec(cloud, ONE)) for rival in rivals))
        await rivals[0].terminate(ONE)
        made = Counter(leftover.kind for leftover in await rivals[0].leftovers(FLEET))

        assert made == shared
        await give_back(rivals[0])
        for provider in (alone, *rivals):
            await provider.close()

    async def test_no_capacity_in_one_zone_leaves_the_next(self, cloud: CloudUnderTest) -> None:
        provider = cloud.make(FLEET, nothing)
        cloud.inject(
            Fault(operation=Operation.LAUNCH, kind=Kind.CAPACITY, times=1000, zone=cloud.offers[0].zone),
        )

        with pytest.raises(NoCapacity) as refused:
            await provider.launch(launch_spec(cloud, ONE))
        await provider.launch(launch_spec(cloud, TWO, zone=1))

        assert refused.value.provider_code
        assert cloud.truth(FLEET).machines == (TWO,)
        await give_back(provider)
        assert cloud.truth(FLEET) == Truth(machines=(), others=()), "nothing of the refused one is left"
        await provider.close()

    @pytest.mark.parametrize(("kind", "wanted"), REFUSALS)
    async def test_refused_launch_says_who_must_act(
        self, cloud: CloudUnderTest, kind: Kind, wanted: type[ProviderError]
    ) -> None:
        possible(cloud, Operation.LAUNCH, kind)
        provider = cloud.make(FLEET, nothing)
        cloud.inject(Fault(operation=Operation.LAUNCH, kind=kind))

        with pytest.raises(ProviderError) as refused:
            await provider.launch(launch_spec(cloud))

        assert type(refused.value) is wanted
        assert refused.value.provider_code, "the cloud's own word is kept"
        assert kind is not Kind.UNKNOWN_CODE or refused.value.provider_code == NEWLY_CODED
        assert cloud.truth(FLEET).machines == ()
        cloud.clear()
        await provider.launch(launch_spec(cloud, TWO))
        assert cloud.truth(FLEET).machines == (TWO,)
        await give_back(provider)
        await provider.close()

    @pytest.mark.parametrize("kind", [Kind.AUTH, Kind.THROTTLED, Kind.EXPIRED, Kind.REFUSED])
    async def test_launch_that_fails_before_the_machine_can_be_repeated(
        self, cloud: CloudUnderTest, kind: Kind
    ) -> None:
        possible(cloud, Operation.PREPARE, kind)
        provider = cloud.make(FLEET, nothing)
        cloud.inject(Fault(operation=Operation.PREPARE, kind=kind))

        with pytest.raises(ProviderError):
            await provider.launch(launch_spec(cloud))
        half = cloud.truth(FLEET).machines
        cloud.clear()
        await provider.launch(launch_spec(cloud))

        assert half == ()
        assert cloud.truth(FLEET).machines == (ONE,)
        await give_back(provider)
        assert cloud.truth(FLEET) == Truth(machines=(), others=())
        await provider.close()

    @pytest.mark.parametrize("kind", [Kind.REFUSED, *LOSSES])
    async def test_lost_answer_to_a_launch_is_settled_by_listing(self, cloud: CloudUnderTest, kind: Kind) -> None:
        possible(cloud, Operation.LAUNCH, kind)
        provider = cloud.make(FLEET, nothing)
        cloud.inject(Fault(operation=Operation.LAUNCH, kind=kind))

        with pytest.raises(OutcomeUnknown):
            await provider.launch(launch_spec(cloud))
        await asyncio.sleep(0)
        cloud.clear()
        there = set(await listed(provider))
        truth = set(cloud.truth(FLEET).machines)
        await provider.launch(launch_spec(cloud))

        assert there == truth == (set() if kind is Kind.REFUSED else {ONE})
        assert cloud.truth(FLEET).machines == (ONE,)
        await give_back(provider)
        assert cloud.truth(FLEET) == Truth(machines=(), others=())
        await provider.close()

    @pytest.mark.parametrize("kind", [Kind.REFUSED, *LOSSES])
    @pytest.mark.parametrize("operation", [Operation.STOP, Operation.START, Operation.TERMINATE])
    async def test_lost_answer_to_a_change_and_its_repetition(
        self, cloud: CloudUnderTest, operation: Operation, kind: Kind
    ) -> None:
        possible(cloud, operation, kind)
        provider = cloud.make(FLEET, nothing)
        await provider.launch(launch_spec(cloud))
        await sighted(provider, Sighting.RUNNING)
        if operation is Operation.START:
            await provider.stop(ONE)
            await sighted(provider, Sighting.STOPPED)
        call: Callable[[InstanceId], Awaitable[None]] = getattr(provider, operation.value)
        cloud.inject(Fault(operation=operation, kind=kind))

        with pytest.raises(OutcomeUnknown):
            await call(ONE)
        cloud.clear()
        await call(ONE)

        match operation:
            case Operation.STOP:
                await sighted(provider, Sighting.STOPPED)
            case Operation.START:
                await sighted(provider, Sighting.RUNNING)
            case _:
                assert cloud.truth(FLEET).machines == ()
        await give_back(provider)
        await provider.close()

    @pytest.mark.parametrize("kind", [Kind.AUTH, Kind.THROTTLED, Kind.REFUSED, Kind.SLOW, Kind.UNKNOWN_CODE])
    async def test_listing_that_fails_is_no_listing(self, cloud: CloudUnderTest, kind: Kind) -> None:
        possible(cloud, Operation.LIST, kind)
        provider = cloud.make(FLEET, nothing)
        await provider.launch(launch_spec(cloud))
        cloud.inject(Fault(operation=Operation.LIST, kind=kind, times=1000))

        with pytest.raises(ProviderError):
            await provider.list(FLEET)
        cloud.clear()

        assert set(await listed(provider)) == {ONE}
        await give_back(provider)
        await provider.close()

    async def test_listing_with_a_page_missing_is_no_listing(self, cloud: CloudUnderTest) -> None:
        possible(cloud, Operation.LIST, Kind.PAGE)
        provider = cloud.make(FLEET, nothing)
        for one in (ONE, TWO, THREE):
            await provider.launch(launch_spec(cloud, one))
        cloud.inject(Fault(operation=Operation.LIST, kind=Kind.PAGE, times=1000))

        with pytest.raises(ProviderError):
            await provider.list(FLEET)
        cloud.clear()

        assert set(await listed(provider)) == {ONE, TWO, THREE}
        await give_back(provider)
        await provider.close()

    async def test_machine_not_listed_yet_is_not_made_again(self, cloud: CloudUnderTest) -> None:
        possible(cloud, Operation.LIST, Kind.HIDDEN)
        first, second = cloud.make(FLEET, nothing), cloud.make(FLEET, nothing)
        await first.launch(launch_spec(cloud))
        cloud.inject(Fault(operation=Operation.LIST, kind=Kind.HIDDEN, times=1000))
        unseen = await listed(second)

        await second.launch(launch_spec(cloud))
        cloud.clear()

        assert unseen == {}
        assert cloud.truth(FLEET).machines == (ONE,)
        assert set(await listed(second)) == {ONE}
        await give_back(second)
        for provider in (first, second):
            await provider.close()

    async def test_hung_call_holds_up_no_other(self, cloud: CloudUnderTest) -> None:
        possible(cloud, Operation.LAUNCH, Kind.SLOW)
        provider = cloud.make(FLEET, nothing)
        await provider.launch(launch_spec(cloud, TWO))
        cloud.inject(Fault(operation=Operation.LAUNCH, kind=Kind.SLOW))

        hung = asyncio.create_task(provider.launch(launch_spec(cloud)))
        turns = 0
        while not hung.done():
            await listed(provider)
            turns += 1
        with pytest.raises(OutcomeUnknown):
            await hung

        assert turns >= 2, "listings went on while it hung"
        cloud.clear()
        await give_back(provider)
        await provider.close()

    async def test_nothing_of_others_is_seen_or_touched(self, cloud: CloudUnderTest) -> None:
        cloud.stranger()
        ours, theirs = cloud.make(FLEET, nothing), cloud.make("other", nothing)
        await theirs.launch(launch_spec(cloud, TWO, fleet="other"))
        await ours.launch(launch_spec(cloud))

        seen = await listed(ours)
        with suppress(ProviderError):  # refused or not found: either way it is left alone
            await ours.terminate(TWO)
        with pytest.raises(ProviderError):
            await ours.stop(TWO)
        for leftover in await theirs.leftovers("other"):
            with pytest.raises(InvalidRequest):
                await ours.remove(leftover)
        await give_back(ours)

        assert set(seen) == {ONE}
        assert cloud.truth("other").machines == (TWO,)
        assert cloud.truth(FLEET) == Truth(machines=(), others=(), strangers=cloud.truth(FLEET).strangers)
        await give_back(theirs, "other")
        assert cloud.truth("other").machines == ()
        assert cloud.truth(FLEET).strangers == 1
        for provider in (ours, theirs):
            await provider.close()

    async def test_launch_killed_at_any_boundary_and_repeated_makes_one(self, cloud: CloudUnderTest) -> None:
        names = await boundaries(cloud, lambda provider: provider.launch(launch_spec(cloud)))
        await give_back(cloud.make(FLEET, nothing))

        for place in range(len(names)):
            with pytest.raises(Killed):
                await cloud.make(FLEET, killing(place)).launch(launch_spec(cloud, InstanceId(f"gpu-k-{place}")))
            await cloud.make(FLEET, nothing).launch(launch_spec(cloud, InstanceId(f"gpu-k-{place}")))
            assert cloud.truth(FLEET).machines == (f"gpu-k-{place}",), f"killed before {names[place]}"
            await give_back(cloud.make(FLEET, nothing))
            assert cloud.truth(FLEET) == Truth(machines=(), others=()), f"killed before {names[place]}"

        assert len(names) >= 2

    async def test_giving_back_killed_at_any_boundary_and_repeated_leaves_nothing(self, cloud: CloudUnderTest) -> None:
        await cloud.make(FLEET, nothing).launch(launch_spec(cloud))
        names = await boundaries(cloud, give_back)
        last_of_each = sorted({name: place for place, name in enumerate(names)}.values())

        for place in last_of_each:  # a way back has some forty requests of a dozen kinds; the sequences try the rest
            await cloud.make(FLEET, nothing).launch(launch_spec(cloud, InstanceId(f"gpu-k-{place}")))
            with suppress(Killed):  # the second way back may be shorter than the first
                await give_back(cloud.make(FLEET, killing(place)))
            await give_back(cloud.make(FLEET, nothing))
            assert cloud.truth(FLEET) == Truth(machines=(), others=()), f"killed before {names[place]}"

        assert len(names) >= 2

    async def test_checks_change_nothing_and_say_what_is_wrong(self, cloud: CloudUnderTest) -> None:
        provider = cloud.make(FLEET, nothing)
        before = cloud.truth(FLEET)

        good = await provider.checks((cloud.pool,))
        for operation in (Operation.LIST, Operation.LAUNCH, Operation.PREPARE):
            cloud.inject(Fault(operation=operation, kind=Kind.EXPIRED, times=1000))
        bad = await provider.checks((cloud.pool,))

        assert cloud.truth(FLEET) == before
        assert good
        assert [check for check in good if check.status == "fail"] == []
        wrong = [check for check in bad if check.status == "fail"]
        assert wrong
        assert all(check.detail and check.fix for check in wrong)
        await provider.close()

    async def test_offers_are_rentable_and_in_order(self, cloud: CloudUnderTest) -> None:
        provider = cloud.make(FLEET, nothing)

        offers = await provider.offers(cloud.pool)
        cheap = await provider.offers(
            replace(cloud.pool, placement=replace(cloud.pool.placement, max_price_per_hour=1e-6))
        )
        elsewhere = await provider.offers(
            replace(cloud.pool, placement=replace(cloud.pool.placement, regions=("nowhere-1",)))
        )

        assert offers
        assert {offer.market for offer in offers} == {cloud.pool.placement.market}
        assert {offer.gpu for offer in offers} <= set(cloud.pool.gpu)
        assert all(offer.price_per_hour is None or offer.price_per_hour > 0 for offer in offers)
        assert all(offer.price_per_hour is None or (offer.price_source and offer.price_as_of) for offer in offers)
        per_gpu = [
            float("inf") if offer.price_per_hour is None else offer.price_per_hour / offer.gpu.count for offer in offers
        ]
        assert per_gpu == sorted(per_gpu)
        assert list(cheap) == []
        assert list(elsewhere) == []
        await provider.launch(replace(launch_spec(cloud), offer=offers[0]))
        assert cloud.truth(FLEET).machines == (ONE,)
        await give_back(provider)
        await provider.close()


def possible(cloud: CloudUnderTest, operation: Operation, kind: Kind) -> None:
    """Skip a fault that makes no sense at this cloud."""
    if (operation, kind) in cloud.cannot:
        pytest.skip(f"{cloud.offers[0].provider} has no {kind} in {operation}")


def killing(place: int) -> Boundary:
    """Dies at the boundary of that number, the first one being 0."""
    passed = iter(range(place + 1))

    def boundary(_: str) -> None:
        if next(passed, place) >= place:
            raise Killed

    return boundary


async def boundaries(cloud: CloudUnderTest, act: Callable[[Provider], Awaitable[None]]) -> list[str]:
    """The names of the boundaries that the act crosses, in order."""
    crossed: list[str] = []
    provider = cloud.make(FLEET, crossed.append)
    await act(provider)
    await provider.close()
    return crossed
