"""What one whole tick of the controller costs, at two sizes of fleet. `python bench/loop_tick.py [--profile]`.

Everything is the product's own but the world: the ports below answer at once from memory, so that what is measured is
the controller's observe, decide, commit (into a real SQLite file) and routes, and not a cloud. Every reading, every
queue and every node's report is new on each tick; the Replicas stay READY.
"""

import asyncio
import cProfile
import gc
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from figures import report

from fleetctl.controller.clock import SystemClock
from fleetctl.controller.controllers import Controller, Ticked
from fleetctl.controller.loop import YOUNG_OBJECTS_MAX
from fleetctl.controller.observe import Ports
from fleetctl.model.instances import InstanceSeen, LaunchSpec, Listing, Offer, Sighting
from fleetctl.model.keys import EntryReport
from fleetctl.model.names import InstanceId, ProviderName, ReplicaId, ServiceName
from fleetctl.model.nodes import ArtifactState, ArtifactStatus, NodeDesired, NodeStatus, ReplicaStatus
from fleetctl.model.replicas import ReplicaPhase
from fleetctl.model.routes import Identity, Routes
from fleetctl.model.services import REACTIVE, Gpu, Market, Pool, Service, Standby
from fleetctl.model.signals import QueueStats, Reading, Starved, Target, Unknown
from fleetctl.store import open_store

LOCAL = ProviderName("local")
REPLICAS = 10
START_TICKS_MAX = 400
WARM_UP_TICKS = 5
TICKS = 15
GOAL_MS = 100.0
SLOPE_GOAL = 10 * 1.1
"""Ten times the Services may cost ten times as much, and a tenth more."""


class MemoryProvider:
    """A `ports.Provider` whose Instances run as soon as they are launched."""

    name = LOCAL
    consistency_s = 0.0

    def __init__(self) -> None:
        self.launched: dict[InstanceId, InstanceSeen] = {}

    async def offers(self, pool: Pool) -> Sequence[Offer]:
        return [
            Offer(
                provider=LOCAL,
                instance_type="one-gpu",
                gpu=pool.gpu[0],
                zone="here",
                market=Market.ON_DEMAND,
                price_per_hour=1.0,
                price_source="bench",
                price_as_of=0.0,
            )
        ]

    async def launch(self, spec: LaunchSpec) -> None:
        self.launched[spec.id] = InstanceSeen(
            id=spec.id,
            pool=spec.pool,
            state=Sighting.RUNNING,
            offer=spec.offer,
            created_at=time.time(),
            address=spec.id,
        )

    async def list(self, fleet: str) -> Listing:
        return Listing(provider=LOCAL, at=time.time(), instances=tuple(self.launched.values()))

    async def start(self, instance: InstanceId) -> None:
        raise AssertionError("nothing stands by stopped here")

    async def stop(self, instance: InstanceId) -> None:
        raise AssertionError("nothing stands by stopped here")

    async def terminate(self, instance: InstanceId) -> None:
        self.launched.pop(instance, None)

    async def close(self) -> None:
        return None


class MemoryNodes:
    """A `ports.NodeLink` whose Nodes hold everything and run a Replica as soon as they are told to."""

    def __init__(self) -> None:
        self.known: dict[str, NodeStatus] = {}

    async def status(self, address: str) -> NodeStatus:
        known = self.known.get(address)
        if known is None:
            return NodeStatus(
                instance=InstanceId(address), version="bench", at=time.time(), generation="", epoch="", fence=0
            )
        # A new report every time, as from a real Node; what stands in it was made once, for making it is not measured.
        return NodeStatus(
            instance=known.instance,
            version="bench",
            at=time.time(),
            generation=known.generation,
            epoch=known.epoch,
            fence=known.fence,
            artifacts=known.artifacts,
            replicas=known.replicas,
        )

    async def apply(self, address: str, desired: NodeDesired) -> None:
        self.known[address] = NodeStatus(
            instance=InstanceId(address),
            version="bench",
            at=time.time(),
            generation=desired.generation,
            epoch=desired.epoch,
            fence=desired.fence,
            artifacts=tuple(ArtifactStatus(artifact=held, state=ArtifactState.PRESENT) for held in desired.artifacts),
            replicas=tuple(
                ReplicaStatus(
                    id=spec.id,
                    service=spec.service,
                    revision=spec.revision,
                    phase=ReplicaPhase.READY,
                    gpus=spec.gpus,
                    address=f"{address}:8000",
                )
                for spec in desired.replicas
            ),
        )

    async def logs(self, address: str, replica: ReplicaId, tail_bytes: int) -> bytes:
        return b""

    async def close(self) -> None:
        return None


class MemorySignals:
    """A `ports.SignalSource` whose engines are each a little busier or idler than a moment ago."""

    def __init__(self) -> None:
        self.round = 0

    async def read(self, targets: Sequence[Target]) -> Mapping[ReplicaId, Reading | Unknown]:
        self.round += 1
        now = time.time()
        return {
            target.replica: Reading(at=now, running=6.0 + (self.round + place) % 3, waiting=0.0)
            for place, target in enumerate(targets)
        }

    async def close(self) -> None:
        return None


STARVED_EVERY_S = 60.0
"""Nobody asks this gateway for anything."""


class MemoryGateway:
    """A `ports.GatewayLink` that keeps the routes and reports what it would hold."""

    def __init__(self) -> None:
        self.routes: Routes | None = None

    async def route(self, routes: Routes) -> None:
        self.routes = routes

    async def identify(self, identity: Identity) -> None:
        """Everybody may enter."""

    async def entry(self) -> EntryReport:
        return EntryReport(gateway="memory")

    async def starved(self, after: int) -> Starved:
        await asyncio.sleep(STARVED_EVERY_S)
        return Starved(count=after)

    async def stats(self) -> Mapping[ServiceName, QueueStats]:
        now = time.time()
        if self.routes is None:
            return {}
        return {
            route.service: QueueStats(
                at=now,
                service=route.service,
                queued=0,
                oldest_wait_s=0.0,
                in_flight=tuple((upstream.replica, 7) for upstream in route.upstreams),
                arrived=int(now),
                completed=int(now),
                failed=0,
            )
            for route in self.routes.routes
        }

    async def close(self) -> None:
        return None


def a_service(number: int) -> Service:
    """Ten Replicas, each on an Instance of its own, that carry what they are meant to."""
    return Service(
        name=ServiceName(f"service-{number:04d}"),
        engine="rehearsal",
        model="some/model",
        gpu=(Gpu(name="L40S"),),
        concurrency=10,
        scaling=replace(REACTIVE, min=REPLICAS, max=REPLICAS + 2, target=0.7),
        standby=Standby(slots=0),
    )


async def ticks(folder: Path, services: int, profile: cProfile.Profile | None) -> list[Ticked]:
    """The measured ticks of a fleet in which everything is ready."""
    store = open_store(str(folder / "fleet.db"))
    for number in range(services):
        store.put_service(a_service(number), revision="r1", at=time.time())
    ports = Ports(
        clock=SystemClock(),
        providers={LOCAL: MemoryProvider()},
        nodes=MemoryNodes(),
        signals=MemorySignals(),
        gateway=MemoryGateway(),
    )
    controller = Controller(store, ports, fleet="bench", holder="bench")
    try:
        ready = 0
        for _ in range(START_TICKS_MAX):
            ticked = await controller.tick()
            ready = sum(decision.ready for decision in ticked.plan.decisions)
            if ready == services * REPLICAS and not controller.in_flight:
                break
            await asyncio.sleep(0.05)  # what was begun ends meanwhile
        assert ready == services * REPLICAS, f"only {ready} of {services * REPLICAS} replicas got ready"
        for _ in range(WARM_UP_TICKS):
            await controller.tick()
        measured = []
        if profile is not None:
            profile.enable()
        for _ in range(TICKS):
            ticked = await controller.tick()
            assert not ticked.plan.actions, "the fleet is not at rest"
            measured.append(ticked)
        if profile is not None:
            profile.disable()
        return measured
    finally:
        await controller.close()
        store.close()


def main() -> None:
    profile = cProfile.Profile() if "--profile" in sys.argv else None
    medians: dict[int, float] = {}
    gc.set_threshold(YOUNG_OBJECTS_MAX)  # as `controller.loop.run`, from which ticks come
    print(f"{'fleet':>12} {'CPU ms median':>14} {'most':>8} {'wall ms median':>15}", file=sys.stderr)
    for services in (100, 1000):
        with tempfile.TemporaryDirectory() as folder:
            measured = asyncio.run(ticks(Path(folder), services, profile))
        cpu = [ticked.cpu_s * 1000 for ticked in measured]
        wall = [ticked.wall_s * 1000 for ticked in measured]
        medians[services] = statistics.median(cpu)
        print(
            f"{f'{services} x {REPLICAS}':>12} {medians[services]:>14.1f} {max(cpu):>8.1f}"
            f" {statistics.median(wall):>15.1f}",
            file=sys.stderr,
        )
    if profile is not None:
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(35)
    slope = medians[1000] / medians[100]
    report("tick_100x10", medians[100], "ms CPU", at_most=GOAL_MS)
    report("tick_1000x10", medians[1000], "ms CPU", at_most=SLOPE_GOAL * medians[100])
    report("tick_slope_1000_to_100", slope, "ratio", at_most=SLOPE_GOAL)


if __name__ == "__main__":
    main()
