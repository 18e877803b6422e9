"""What a look at the world says when parts of it do not answer."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from fleet_world import CLOUD, a_service, an_offer

from fleetctl.controller.observe import Observer, Ports
from fleetctl.errors import AgentFailure, ProviderError
from fleetctl.model.instances import Instance, InstancePhase, LaunchSpec, Listing, Offer
from fleetctl.model.names import InstanceId, PoolName, ReplicaId
from fleetctl.model.nodes import NodeDesired, NodeStatus
from fleetctl.model.outside import Signal
from fleetctl.model.services import Pool
from fleetctl.model.signals import OutsideReading, Reading, Target, Unknown
from fleetctl.model.snapshots import Intent


class HandClock:
    """A `ports.Clock` that the test moves."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here sleeps")


class Line:
    """The way out to everything; cut, nothing answers."""

    def __init__(self) -> None:
        self.cut = False
        self.node_dead = False


class FarProvider:
    """A `ports.Provider` at the end of the line, with nothing in it."""

    name = CLOUD
    consistency_s = 0.0

    def __init__(self, line: Line, clock: HandClock) -> None:
        self._line, self._clock = line, clock

    async def offers(self, pool: Pool) -> Sequence[Offer]:
        return ()

    async def list(self, fleet: str) -> Listing:
        if self._line.cut:
            raise ProviderError("no route to the cloud")
        return Listing(provider=CLOUD, at=self._clock.now(), instances=())

    async def launch(self, spec: LaunchSpec) -> None: ...
    async def start(self, instance: InstanceId) -> None: ...
    async def stop(self, instance: InstanceId) -> None: ...
    async def terminate(self, instance: InstanceId) -> None: ...
    async def close(self) -> None: ...


class FarNodes:
    """A `ports.NodeLink` over the same line."""

    def __init__(self, line: Line, clock: HandClock) -> None:
        self._line, self._clock = line, clock

    async def status(self, address: str) -> NodeStatus:
        if self._line.cut or self._line.node_dead:
            raise AgentFailure("no route to the node")
        return NodeStatus(
            instance=InstanceId(address), version="", at=self._clock.now(), generation="", epoch="", fence=0
        )

    async def apply(self, address: str, desired: NodeDesired) -> None: ...
    async def logs(self, address: str, replica: ReplicaId, tail_bytes: int) -> bytes:
        return b""

    async def close(self) -> None: ...


class NoSignals:
    """A `ports.SignalSource` of a fleet without Replicas."""

    async def read(self, targets: Sequence[Target]) -> Mapping[ReplicaId, Reading | Unknown]:
        return {}

    async def close(self) -> None: ...


NODE = InstanceId("chat-e1-1")
INSTANCES = {
    NODE: Instance(
        id=NODE,
        pool=PoolName("chat"),
        offer=an_offer(CLOUD),
        phase=InstancePhase.READY,
        phase_at=0.0,
        created_at=0.0,
        address=NODE,
    )
}


class Counting:
    """A `ports.OutsideSource` that counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def read(self, signal: Signal) -> OutsideReading:
        self.asked += 1
        return OutsideReading(name=signal.name, value=float(self.asked))

    async def close(self) -> None: ...


class PatientClock(HandClock):
    """Whoever sleeps by it sleeps until it is cancelled."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


async def test_signals_from_outside_are_read_beside_the_tick_and_only_while_the_service_is_up() -> None:
    clock, line, source = PatientClock(), Line(), Counting()
    ports = Ports(clock=clock, providers={}, nodes=FarNodes(line, clock), signals=NoSignals(), outside=source)
    observer = Observer(ports, fleet="test")
    orders = Signal(name="orders", target=1.0, command=("count",))
    beside = Signal(name="queue_depth", policy="queue_depth")
    service = replace(a_service(), signals=(orders, beside))
    up = (Intent(service=service, revision="r"),)

    first = await observer.observe(up, (), {}, {})
    await asyncio.sleep(0)
    second = await observer.observe(up, (), {}, {})
    down = await observer.observe((replace(up[0], up=False),), (), {}, {})
    await observer.close()

    assert second.outside == {"chat": (OutsideReading(name="orders", value=1.0),)}
    assert set(first.outside) <= {"chat"}
    assert down.outside == {}
    assert source.asked == 1


async def test_a_nodes_silence_counts_only_while_its_provider_answers() -> None:
    clock, line = HandClock(), Line()
    ports = Ports(
        clock=clock, providers={CLOUD: FarProvider(line, clock)}, nodes=FarNodes(line, clock), signals=NoSignals()
    )
    observer = Observer(ports, fleet="test")

    async def node() -> NodeStatus | Unknown:
        return (await observer.observe((), (), INSTANCES, {})).nodes[NODE]

    answering = await node()
    line.node_dead = True
    clock.time = 1010.0
    dead = await node()
    line.cut = True
    clock.time = 1500.0
    cut = await node()
    line.cut = False
    clock.time = 1520.0
    back = await node()
    await observer.close()

    assert isinstance(answering, NodeStatus)
    assert (dead, cut, back) == (
        Unknown(reason="no route to the node", since=1010.0),
        Unknown(reason="no route to the node", since=1500.0),
        Unknown(reason="no route to the node", since=1500.0),
    )
