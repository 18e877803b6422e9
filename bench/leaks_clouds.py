"""Whether bad luck leaks or doubles a machine, at each cloud. `SEEDS=200 python bench/leaks_clouds.py [aws gcp azure]`.

The providers' own code and the real SDKs run over HTTP against the judges of `tests/contract`: moto, Google's discovery
documents and Microsoft's schemas. Seeded sequences of calls meet faults, and what the server holds afterwards is
counted. Then: launches per second, and one two-way sweep over 1,000 instances. moto takes 9 s to list a thousand, which
would measure moto: there the sweep is over a listing made in memory.
"""

import asyncio
import copy
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.extend(str(Path(__file__).parents[1] / "tests/contract" / name) for name in ("clouds", "aws", "gcp", "azure"))

from bad_luck import Doubled, bad_luck
from cloud_contract import FLEET, CloudUnderTest, give_back, launch_spec, nothing
from figures import report
from no_route import loopback_only

from fleetctl.controller.sweep import sweep
from fleetctl.model.instances import Instance, InstancePhase, InstanceSeen, Leftover, Listing, Sighting
from fleetctl.model.names import InstanceId, PoolName, ProviderName
from fleetctl.ports import Provider

SEEDS = int(os.environ.get("SEEDS") or 200)
LAUNCHES = 32
AT_ONCE = 8
SWEPT = 1000
SWEEP_GOAL_S = 10.0
"""A sweep runs beside the ticks, every some minutes; its listing must be much younger than the consistency window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One cloud's server, and how to have a thousand machines on it."""

    cloud: CloudUnderTest
    fresh: Callable[[], None]
    """Forget what is over."""
    many: Callable[[int], None] | None
    """Copy the one machine that is there; None: the server is too slow for many."""
    patient: Callable[[], Provider]
    """A Provider with the limits of real use: those of the tests are shorter than a listing of a thousand."""


@contextmanager
def aws() -> Iterator[Bench]:
    from aws_server import AwsServer
    from aws_world import cloud_of

    regions = ("us-east-1",)
    server = AwsServer()
    server.reset(regions)
    try:
        cloud = cloud_of(server, regions=regions)
        yield Bench(
            cloud=cloud,
            fresh=lambda: server.forget_terminated(regions),
            many=None,
            patient=lambda: Simulated(cloud),  # type: ignore[arg-type, return-value]  # a sweep asks for no more
        )
    finally:
        server.close()


@contextmanager
def gcp() -> Iterator[Bench]:
    from gcp_compute import Compute
    from gcp_world import served, setup, under_test

    from fleetctl.providers.gcp import provider

    with tempfile.TemporaryDirectory() as home, served() as (server, endpoint):

        def many(count: int) -> None:
            for kind in ("instances", "disks"):
                held = server.compute.things[kind]
                ((zone, name),) = held
                for number in range(2, count + 1):
                    held[(zone, _renamed(name, number))] = _renamed(held[(zone, name)], number)

        def fresh() -> None:
            server.compute = Compute()

        yield Bench(
            cloud=under_test(server, endpoint, Path(home)),
            fresh=fresh,
            many=many,
            patient=lambda: provider(setup(endpoint, Path(home))),
        )


@contextmanager
def azure() -> Iterator[Bench]:
    from azure_world import world

    from fleetctl.paths import Home
    from fleetctl.providers import Setup
    from fleetctl.providers.azure import provider

    with tempfile.TemporaryDirectory() as home, world(Path(home)) as made:

        def many(count: int) -> None:
            held = made.server.cloud.resources
            for key, thing in list(held.items()):
                if f"-{1:04}" in key:
                    for number in range(2, count + 1):
                        held[_renamed(key, number)] = _renamed(thing, number)

        yield Bench(
            cloud=made.under_test(),
            fresh=lambda: None,
            many=many,
            patient=lambda: provider(Setup(fleet=FLEET, home=Home(Path(home)), options=made.options())),
        )


def _renamed(thing: Any, number: int) -> Any:
    """A copy in which machine 1 is the machine of that number."""
    if isinstance(thing, str):
        return thing.replace(f"-{1:04}", f"-{number:04}")
    if isinstance(thing, dict):
        return {key: _renamed(value, number) for key, value in thing.items()}
    if isinstance(thing, list):
        return [_renamed(value, number) for value in thing]
    return copy.copy(thing)


@dataclass(slots=True)
class Totals:
    """What sequences of one cloud came to."""

    met: Counter[str] = field(default_factory=Counter)
    leaked: Counter[str] = field(default_factory=Counter)
    doubled: Counter[str] = field(default_factory=Counter)
    """By fault: sequences that ended so and had met it; under "all", each once."""


async def sequences(bench: Bench, seeds: int) -> Totals:
    totals = Totals()
    for seed in range(seeds):
        met: Counter[str] = Counter()
        try:
            await bad_luck(bench.cloud, seed, faults_met=met)
        except Doubled as error:
            totals.doubled.update({*met, "all"})
            print(error, file=sys.stderr)
        except AssertionError as error:
            totals.leaked.update({*met, "all"})
            print(error, file=sys.stderr)
        bench.fresh()
        totals.met += met
    return totals


async def launches_per_s(bench: Bench) -> float:
    provider = bench.cloud.make(FLEET, nothing)
    await provider.launch(launch_spec(bench.cloud, InstanceId("warm-up-1")))
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with turns:
            await provider.launch(launch_spec(bench.cloud, InstanceId(f"rate-{number:03}"), zone=number % 2))

    begun = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(LAUNCHES)))
    rate = LAUNCHES / (time.perf_counter() - begun)
    await give_back(provider)
    await provider.close()
    bench.fresh()
    return rate


class Simulated:
    """A Provider that lists from memory, for a server that is slower than what is measured."""

    name = ProviderName("aws")
    consistency_s = 0.0

    def __init__(self, cloud: CloudUnderTest) -> None:
        self._seen = tuple(
            InstanceSeen(
                id=_id(number),
                pool=PoolName("gpu"),
                state=Sighting.RUNNING,
                offer=cloud.offers[number % 2],
                created_at=time.time(),
            )
            for number in range(1, SWEPT + 1)
        )

    async def list(self, fleet: str) -> Listing:
        return Listing(provider=self.name, at=time.time(), instances=self._seen)

    async def leftovers(self, fleet: str) -> Sequence[Leftover]:
        return tuple(
            Leftover(provider=self.name, kind="volume", id=f"vol-{one.id}", instance=one.id) for one in self._seen
        )

    async def close(self) -> None:
        pass


def _id(number: int) -> InstanceId:
    return InstanceId(f"gpu-{number:04}")


async def sweep_s(bench: Bench) -> float:
    """A sweep over a thousand, of which the store knows all but one and has one that is gone."""
    cloud = bench.cloud
    provider = bench.patient()
    if bench.many is not None:
        await provider.launch(launch_spec(cloud, _id(1)))
        await provider.list(FLEET)
        bench.many(SWEPT)
    now = time.time()
    row = Instance(
        id=_id(1),
        pool=PoolName("gpu"),
        offer=cloud.offers[0],
        phase=InstancePhase.READY,
        phase_at=now - 3600,
        created_at=now - 3600,
    )
    rows = {_id(number): replace(row, id=_id(number)) for number in (*range(2, SWEPT + 1), SWEPT + 1)}
    name = cloud.offers[0].provider
    begun = time.perf_counter()
    found = await sweep({name: provider}, fleet=FLEET, rows=rows, pools=frozenset({PoolName("gpu")}), now=now)
    took = time.perf_counter() - begun
    assert not found.unreachable, found.unreachable
    assert len(found.listings[name].instances) == SWEPT
    assert [one.id for one in found.orphans if one.kind == "instance"] == [_id(1)]
    assert [one.id for one in found.missing] == [_id(SWEPT + 1)]
    await provider.close()
    return took


async def measure(name: str, make: Callable[[], Any]) -> bool:
    with make() as bench:
        begun = time.process_time()
        totals = await sequences(bench, SEEDS)
        cpu_ms = (time.process_time() - begun) / SEEDS * 1000
        rate = await launches_per_s(bench)
        swept = await sweep_s(bench)
    leaked, doubled = totals.leaked["all"], totals.doubled["all"]
    report(f"{name}_sequences", SEEDS, "sequences")
    report(f"{name}_faults_set", sum(totals.met.values()), "faults")
    report(f"{name}_leaked", leaked, "sequences", at_most=0)
    report(f"{name}_doubled", doubled, "sequences", at_most=0)
    for fault, count in sorted(totals.met.items()):
        key = fault.replace(": ", ":").replace(" ", "_").replace(",", "")
        report(f"{name}_set[{key}]", count, "faults")
        report(f"{name}_harm[{key}]", totals.leaked[fault] + totals.doubled[fault], "sequences", at_most=0)
    report(f"{name}_sequence", cpu_ms, "ms CPU")
    report(f"{name}_launches", rate, "launches/s")
    report(f"{name}_sweep_1000", swept, "s", at_most=SWEEP_GOAL_S)
    width = max(map(len, totals.met))
    print(f"\n{name}: {SEEDS} sequences, {sum(totals.met.values())} faults set up", file=sys.stderr)
    print(f"  {'fault':<{width}}  {'set':>5}  leaked  doubled", file=sys.stderr)
    for fault, count in (*sorted(totals.met.items()), ("all", sum(totals.met.values()))):
        print(f"  {fault:<{width}}  {count:>5}  {totals.leaked[fault]:>6}  {totals.doubled[fault]:>7}", file=sys.stderr)
    simulated = "" if bench.many is not None else " (listing made in memory)"
    print(
        f"  {cpu_ms:.0f} ms CPU a sequence; {rate:.1f} launches/s, {AT_ONCE} at once; "
        f"sweep over {SWEPT}: {swept:.2f} s{simulated}",
        file=sys.stderr,
    )
    return not leaked and not doubled


def main() -> None:
    makes = {"aws": aws, "gcp": gcp, "azure": azure}
    names = sys.argv[1:] or list(makes)
    # Nothing here may find a real account.
    os.environ |= {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_CONFIG_FILE": os.devnull,
        "CLOUDSDK_CONFIG": os.devnull,
    }
    with loopback_only():
        good = [asyncio.run(measure(name, makes[name])) for name in names]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
