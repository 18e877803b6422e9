"""Seeded sequences of Provider calls under faults, judged by what the cloud's server itself holds.

Two laws. Safety, after every step: no id is on two machines. Convergence, once the faults stop: what
`fleetctl teardown` does leaves nothing, neither a machine nor anything beside one.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

from cloud_contract import (
    FLEET,
    LOSSES,
    Boundary,
    CloudUnderTest,
    Fault,
    Killed,
    Kind,
    Operation,
    give_back,
    launch_spec,
    listed,
    nothing,
)

from fleetctl.errors import InvalidRequest, ProviderError
from fleetctl.model.names import InstanceId
from fleetctl.ports import Provider

STEPS = range(3, 9)
"""Calls in one sequence: enough for a launch, a fault, a repetition and an end; a thousand short ones find more
than ten long ones."""

IDS = tuple(InstanceId(f"gpu-e1-{number}") for number in (1, 2, 3))

FAULTY: tuple[tuple[Operation, tuple[Kind, ...]], ...] = (
    (Operation.PREPARE, (Kind.AUTH, Kind.THROTTLED, Kind.REFUSED, Kind.BROKEN, Kind.CUT, Kind.UNKNOWN_CODE)),
    (Operation.LAUNCH, (Kind.CAPACITY, Kind.QUOTA, Kind.THROTTLED, Kind.REFUSED, Kind.BROKEN, Kind.CUT, Kind.EXPIRED)),
    (Operation.LAUNCH, (Kind.BROKEN, Kind.CUT, Kind.UNKNOWN_CODE)),
    (Operation.LIST, (Kind.HIDDEN, Kind.PAGE, Kind.THROTTLED, Kind.REFUSED, Kind.EXPIRED)),
    (Operation.LIST, (Kind.HIDDEN,)),
    (Operation.START, (Kind.REFUSED, *LOSSES[:2], Kind.CAPACITY)),
    (Operation.STOP, (Kind.REFUSED, *LOSSES[:2])),
    (Operation.TERMINATE, (Kind.REFUSED, *LOSSES[:2], Kind.THROTTLED, Kind.EXPIRED)),
    (Operation.REMOVE, (Kind.REFUSED, *LOSSES[:2], Kind.THROTTLED)),
)
"""Without SLOW, which is CUT with a wait before it: the contract tries it once for each call."""


class Doubled(AssertionError):
    """One id is on two machines."""


async def bad_luck(cloud: CloudUnderTest, seed: int, *, faults_met: Counter[str] | None = None) -> None:
    """Run one sequence and judge it. Raises `AssertionError` with the steps taken."""
    chance = random.Random(seed)
    story: list[str] = []
    met: Counter[str] = Counter() if faults_met is None else faults_met
    provider = cloud.make(FLEET, _mortal(chance, story))
    for _ in range(chance.choice(STEPS)):
        if chance.random() < 0.6:
            operation, kinds = chance.choice(FAULTY)
            kind = chance.choice(kinds)
            if (operation, kind) not in cloud.cannot:
                fault = Fault(operation=operation, kind=kind, times=chance.choice((1, 1, 2, 5)))
                cloud.inject(fault)
                met[f"{operation}: {kind}"] += 1
                story.append(f"fault: {operation}: {kind} × {fault.times}")
        name, call = _next_call(cloud, provider, chance)
        try:
            await call()
            story.append(name)
        except ProviderError as error:
            story.append(f"{name}: {type(error).__name__} {error.provider_code}")
        except Killed:
            met["killed"] += 1
            story.append(f"{name}: killed")
            await provider.close()
            provider = cloud.make(FLEET, _mortal(chance, story))
        _judge_safety(cloud, seed, story)
    await provider.close()
    cloud.clear()
    last = cloud.make(FLEET, nothing)
    try:
        await give_back(last)
    except (ProviderError, AssertionError) as error:
        raise AssertionError(f"seed {seed} does not converge: {error!r} after {'; '.join(story)}") from error
    _judge_safety(cloud, seed, story)
    truth = cloud.truth(FLEET)
    assert (truth.machines, truth.others) == ((), ()), f"seed {seed} leaks {truth} after {'; '.join(story)}"
    await last.close()


def _judge_safety(cloud: CloudUnderTest, seed: int, story: list[str]) -> None:
    machines = cloud.truth(FLEET).machines
    if len(machines) != len(set(machines)):
        raise Doubled(f"seed {seed}: {machines} after {'; '.join(story)}")


def _mortal(chance: random.Random, story: list[str]) -> Boundary:
    """A process that dies at one of its boundaries, sooner or later, or never."""
    left = chance.choice((3, 8, 15, 10_000, 10_000))

    def boundary(name: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            story.append(f"died before {name}")
            raise Killed

    return boundary


def _next_call(
    cloud: CloudUnderTest, provider: Provider, chance: random.Random
) -> tuple[str, Callable[[], Awaitable[object]]]:
    one = chance.choice(IDS)
    zone = IDS.index(one) % 2  # an id has one Offer for life, as in the store
    verbs = {"launch": 6, "launch twice at once": 2, "list": 2, "stop": 1, "start": 1, "terminate": 2, "leftovers": 1}
    verb = chance.choices(tuple(verbs), weights=tuple(verbs.values()))[0]
    spec = launch_spec(cloud, one, zone=zone)

    async def launch_twice() -> None:
        # Duplicate delivery: two controllers, each with a memory of its own, act on one intent.
        rival = cloud.make(FLEET, nothing)
        ends = await asyncio.gather(provider.launch(spec), rival.launch(spec), return_exceptions=True)
        await rival.close()
        failures = [end for end in ends if end is not None]
        for failure in sorted(failures, key=lambda failure: isinstance(failure, Exception)):
            raise failure  # a death goes before an error

    async def remove_some() -> None:
        # As a teardown broken off: only while no machine is seen, as `fleetctl teardown` does it.
        if not await listed(provider):
            for leftover in (await provider.leftovers(FLEET))[: chance.choice((1, 3))]:
                try:
                    await provider.remove(leftover)
                except InvalidRequest:
                    return

    match verb:
        case "launch":
            return f"launch {one}", lambda: provider.launch(spec)
        case "launch twice at once":
            return f"launch {one} twice at once", launch_twice
        case "list":
            return "list", lambda: provider.list(FLEET)
        case "leftovers":
            return "remove some leftovers", remove_some
        case "stop":
            return f"stop {one}", lambda: provider.stop(one)
        case "start":
            return f"start {one}", lambda: provider.start(one)
        case _:
            return f"terminate {one}", lambda: provider.terminate(one)
