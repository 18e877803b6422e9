"""Nodes that join a Pool together: real agents, each with its own Docker, told what to hold by the planner itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from agent_machines import Machine
from image_nodes import MadeImage, RealRegistry, docker, docker_daemon, ids, made_image, real_registry

from fleetctl.decide.planner import plan
from fleetctl.errors import AgentFailure
from fleetctl.model.decisions import Verb
from fleetctl.model.images import image_name
from fleetctl.model.instances import Instance, InstancePhase, Offer
from fleetctl.model.names import InstanceId, PoolName, ProviderName, ServiceName
from fleetctl.model.nodes import ArtifactState, NodeStatus
from fleetctl.model.services import Gpu, Market, Pool, Service, Standby
from fleetctl.model.snapshots import Intent, Snapshot
from fleetctl.node.local import UnixNodeLink

pytestmark = [pytest.mark.docker, pytest.mark.slow]

MB = 1024 * 1024
TICK_S = 0.2
BOUND_S = 100.0
NOW = 1_000_000.0
OFFER = Offer(
    provider=ProviderName("ssh"),
    instance_type="rack",
    gpu=Gpu(name="L40S", count=1),
    zone="z1",
    market=Market.ON_DEMAND,
    price_per_hour=1.0,
    price_source="test",
    price_as_of=NOW,
)


@dataclass
class JoinedMachine(Machine):
    """One of several: with an identifier and a Docker of its own."""

    instance: InstanceId = InstanceId("i-1")
    host: str = ""

    def program(self, *options: str) -> list[str]:
        words = super().program(*options)
        words[words.index("--instance") + 1] = self.instance
        return words


@dataclass
class Controller:
    """Tells Nodes what the planner says, from what they say; remembers nothing but the pins, as the store does."""

    image: str
    machines: list[JoinedMachine]
    joined: int = 0
    """So many of the machines have answered; the others are still booting."""
    now: float = NOW
    pins: dict[str, str] = field(default_factory=dict)
    statuses: dict[InstanceId, NodeStatus] = field(default_factory=dict)

    async def tick(self) -> None:
        """What does not answer on a busy computer is asked again with the next."""
        with contextlib.suppress(AgentFailure):
            await self._tick()

    async def _tick(self) -> None:
        for machine in self.machines[: self.joined]:
            self.statuses[machine.instance] = await machine.link.status(machine.address)
        service = Service(
            name=ServiceName("chat"),
            engine="generic",
            model="m",
            gpu=(Gpu(name="L40S"),),
            concurrency=1,
            image=self.image,
            standby=Standby(slots=0),
            pool=PoolName("gpus"),
            command=("serve",),
        )
        rows = {
            machine.instance: Instance(
                id=machine.instance,
                pool=PoolName("gpus"),
                offer=OFFER,
                phase=InstancePhase.READY if machine.instance in self.statuses else InstancePhase.BOOTING,
                phase_at=self.now,
                created_at=NOW,
                address=machine.address,
            )
            for machine in self.machines
        }
        snapshot = Snapshot(
            now=self.now,
            fleet="test",
            epoch="e1",
            fence=1,
            intents=(Intent(service=service, revision="r1"),),
            pools=(Pool(name=PoolName("gpus"), gpu=(Gpu(name="L40S"),), min=len(rows)),),
            instances=rows,
            nodes=dict(self.statuses),
            pins=dict(self.pins),
        )
        made = plan(snapshot)
        self.pins |= dict(made.pins)
        self.now += TICK_S
        for action in made.actions:
            if action.verb is Verb.APPLY and action.desired is not None:
                machine = next(one for one in self.machines if one.instance == action.instance)
                await machine.link.apply(machine.address, replace(action.desired, peer_key="ab" * 32))

    async def until_held(self) -> None:
        """Tick until every machine that has joined holds the image by its digest."""
        async with asyncio.timeout(BOUND_S):
            while not all(self._held(machine.instance) for machine in self.machines[: self.joined]):
                await self.tick()
                await asyncio.sleep(TICK_S)

    def _held(self, instance: InstanceId) -> bool:
        status = self.statuses.get(instance)
        name = image_name(self.image).at(self.pins.get(self.image, "-"))
        return status is not None and any(
            one.artifact.name == name and one.state is ArtifactState.PRESENT for one in status.artifacts
        )

    def bytes_of(self, instance: InstanceId) -> tuple[int, int]:
        """From the registry, and from other Nodes."""
        images = [one for one in self.statuses[instance].artifacts if one.artifact.kind == "image"]
        return sum(one.origin_bytes for one in images), sum(one.peer_bytes for one in images)


@pytest.fixture(scope="module")
def daemons() -> Iterator[list[str]]:
    with ExitStack() as stack:
        yield [stack.enter_context(docker_daemon("--bridge=none", "--iptables=false")) for _ in range(3)]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    with real_registry(tmp_path_factory.mktemp("registry")) as made:
        yield made


@pytest.fixture
async def machines(tmp_path: Path, daemons: list[str]) -> AsyncIterator[list[JoinedMachine]]:
    async with AsyncExitStack() as stack:
        made = []
        for number, host in enumerate(daemons):
            for image in ids(host):
                docker(host, "image", "rm", "-f", image)
            folder = tmp_path / f"i-{number + 1}"
            folder.mkdir()
            link = UnixNodeLink()
            machine = JoinedMachine(folder=folder, link=link, instance=InstanceId(folder.name), host=host)
            stack.push_async_callback(_left, machine)
            await machine.up("--runtime", "docker", "--peers", "127.0.0.1:0", DOCKER_HOST=host)
            made.append(machine)
        yield made


async def _left(machine: JoinedMachine) -> None:
    await machine.link.close()
    halted = await machine.run("--halt", DOCKER_HOST=machine.host)
    assert halted.returncode == 0, halted.stderr
    if machine.agent is not None:
        await asyncio.to_thread(machine.agent.wait, BOUND_S)


def pushed(registry: RealRegistry, name: str, seed: int) -> tuple[str, MadeImage]:
    image = made_image(seed, 4 * MB, 2 * MB)
    return registry.push(image, f"acme/{name}", "v1"), image


async def test_three_nodes_that_join_together_by_tag_take_one_image_from_the_registry(
    machines: list[JoinedMachine], registry: RealRegistry
) -> None:
    name, image = pushed(registry, "together", 1)
    before = registry.sent
    controller = Controller(name, machines, joined=3)

    await controller.until_held()

    assert controller.pins == {name: image.digest}
    assert image.size <= registry.sent - before <= image.size * 1.05
    moved = [controller.bytes_of(machine.instance) for machine in machines]
    assert sum(origin for origin, _ in moved) <= image.size * 1.05
    assert sum(1 for _, peers in moved if peers >= image.size) == 2
    assert all(len(ids(machine.host)) == 1 for machine in machines)


async def test_nodes_that_join_one_after_the_other_take_it_from_the_first(
    machines: list[JoinedMachine], registry: RealRegistry
) -> None:
    name, image = pushed(registry, "later", 2)
    before = registry.sent
    controller = Controller(name, machines, joined=1)

    for joined in (1, 2, 3):
        controller.joined = joined
        await controller.until_held()

    assert image.size <= registry.sent - before <= image.size * 1.05


async def test_tag_that_moves_changes_no_node_that_joins_later(
    machines: list[JoinedMachine], registry: RealRegistry
) -> None:
    name, image = pushed(registry, "moved", 3)
    controller = Controller(name, machines[:1], joined=1)
    await controller.until_held()

    registry.push(made_image(4, MB), "acme/moved", "v1")
    controller.machines, controller.joined = machines, 3
    await controller.until_held()

    assert controller.pins == {name: image.digest}
    assert len(set.union(*(ids(machine.host) for machine in machines))) == 1


async def test_when_all_have_it_no_node_keeps_it_twice(machines: list[JoinedMachine], registry: RealRegistry) -> None:
    name, _ = pushed(registry, "once", 5)
    controller = Controller(name, machines, joined=3)
    await controller.until_held()

    async with asyncio.timeout(BOUND_S):
        while any(one.shared for status in controller.statuses.values() for one in status.artifacts):
            await controller.tick()
            await asyncio.sleep(TICK_S)

    left = [path for machine in machines for path in (machine.folder / "store").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in left) < MB
