"""What every Provider promises, tried on the real thing; and what the local one promises besides."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec
import psutil
import pytest

from fleetctl.errors import AgentFailure, Gone, InvalidRequest, ProviderError, UsageError
from fleetctl.model.instances import InstanceSeen, LaunchSpec, Offer, Sighting
from fleetctl.model.names import InstanceId, PoolName, ProviderName, ReplicaId, ServiceName
from fleetctl.model.nodes import NodeDesired, NodeStatus, ReplicaSpec
from fleetctl.model.replicas import ReplicaPhase
from fleetctl.model.services import Gpu, LocalMachine, Market, Placement, Pool
from fleetctl.node.local import UnixNodeLink
from fleetctl.paths import Home
from fleetctl.providers import Setup, load, names
from fleetctl.providers.local import LocalProvider

BOUND_S = 60.0
ENGINE = Path(__file__).with_name("tiny_engine.py")
SOURCE = Path(__file__).parents[2]
FLEET = "test-fleet"
ONE = InstanceId("gpu-e1-1")

CRASHING = """
import asyncio, os, sys
from pathlib import Path
import msgspec
from fleetctl.model.instances import LaunchSpec
from fleetctl.providers.local import LocalProvider

root, verb, crash_at = Path(sys.argv[1]), sys.argv[2], sys.argv[4]
spec = msgspec.json.decode(sys.argv[3], type=LaunchSpec)

def boundary(name):
    if name == crash_at:
        os._exit(42)

provider = LocalProvider(root, fleet=spec.fleet, boundary=boundary)
call = getattr(provider, verb)
asyncio.run(call(spec if verb == "launch" else spec.id))
"""


def launch_spec(instance: InstanceId = ONE, *, fleet: str = FLEET, local: LocalMachine | None = None) -> LaunchSpec:
    return LaunchSpec(
        id=instance,
        fleet=fleet,
        pool=PoolName("gpu"),
        offer=Offer(
            provider=ProviderName("local"),
            instance_type="local",
            gpu=Gpu(name="L40S", count=2),
            zone="local",
            market=Market.ON_DEMAND,
            price_per_hour=1.86,
            price_source="declared",
            price_as_of=1_790_000_000.0,
        ),
        local=local or LocalMachine(),
    )


def engine_spec(name: str = "chat-1") -> ReplicaSpec:
    return ReplicaSpec(
        id=ReplicaId(name),
        service=ServiceName("chat"),
        revision="r1",
        engine="tiny",
        model="rehearsal://tiny",
        concurrency=4,
        command=("{python}", str(ENGINE), "--port", "{port}"),
        gpus=(0,),
    )


def machine_processes(root: Path, word: str) -> list[psutil.Process]:
    """Live processes of any machine under the root, agents or engines, found from outside."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            line = process.cmdline()
            mine = any(str(root) in part for part in line) or process.environ().get("FLEETCTL_MACHINE", "").startswith(
                str(root)
            )
            if mine and any(word in part for part in line):
                found.append(process)
    return found


def agents(root: Path) -> list[psutil.Process]:
    return [process for process in machine_processes(root, "fleetctl.agent") if "--locked" in process.cmdline()]


def engines(root: Path) -> list[psutil.Process]:
    return machine_processes(root, ENGINE.name)


async def sighted(provider: LocalProvider, state: Sighting, instance: InstanceId = ONE) -> InstanceSeen:
    """The listing's line, once it is in that state, within the bound."""
    seen: tuple[InstanceSeen, ...] = ()
    deadline = time.monotonic() + BOUND_S
    while time.monotonic() < deadline:
        seen = (await provider.list(FLEET)).instances
        for line in seen:
            if line.id == instance and line.state is state:
                return line
        await asyncio.sleep(0.02)
    raise AssertionError(f"{instance} is not {state} within {BOUND_S} s: {seen}")


async def answering(
    link: UnixNodeLink, address: str | None, holds: Callable[[NodeStatus], bool] = lambda _: True
) -> NodeStatus:
    assert address is not None
    deadline = time.monotonic() + BOUND_S
    while time.monotonic() < deadline:
        with suppress(AgentFailure):
            status = await link.status(address)
            if holds(status):
                return status
        await asyncio.sleep(0.02)
    raise AssertionError(f"{address}: not within {BOUND_S} s")


def ready(status: NodeStatus) -> bool:
    return [replica.phase for replica in status.replicas] == [ReplicaPhase.READY]


def desired(*replicas: ReplicaSpec) -> NodeDesired:
    return NodeDesired(generation=f"g{len(replicas)}", epoch="e1", fence=1, replicas=replicas)


def crash(root: Path, verb: str, boundary: str, spec: LaunchSpec) -> None:
    """One call in a process of its own that dies, as by kill -9, at the boundary."""
    died = subprocess.run(
        [sys.executable, "-c", CRASHING, str(root), verb, msgspec.json.encode(spec).decode(), boundary],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        timeout=BOUND_S,
        check=False,
    )
    assert died.returncode == 42, "the boundary was reached"


@pytest.fixture
async def root(tmp_path: Path) -> AsyncIterator[Path]:
    place = tmp_path / "machines"
    yield place
    last = LocalProvider(place, fleet=FLEET)
    for line in (await last.list(FLEET)).instances:
        await last.terminate(line.id)
    await last.close()
    assert agents(place) == []
    assert engines(place) == []


@pytest.fixture
async def provider(root: Path) -> AsyncIterator[LocalProvider]:
    made = load("local")(Setup(fleet=FLEET, home=Home(root.parent)))
    assert isinstance(made, LocalProvider)
    yield made
    await made.close()


@pytest.fixture
async def link() -> AsyncIterator[UnixNodeLink]:
    made = UnixNodeLink()
    yield made
    await made.close()


async def test_offers_are_the_pools_own_declarations(provider: LocalProvider) -> None:
    pool = Pool(
        name=PoolName("gpu"),
        gpu=(Gpu(name="H100", count=8), Gpu(name="L40S", count=4)),
        placement=Placement(market=Market.SPOT),
        price_per_hour=2.5,
    )

    offers = await provider.offers(pool)
    unpriced = await provider.offers(replace(pool, price_per_hour=None))

    assert [str(offer.gpu) for offer in offers] == ["H100:8", "L40S:4"]
    assert {(offer.instance_type, offer.zone, offer.market, offer.price_per_hour) for offer in offers} == {
        ("local", "local", Market.SPOT, 2.5)
    }
    assert {offer.price_source for offer in offers} == {"declared"}
    assert all(offer.price_per_hour is None for offer in unpriced), "unknown is not zero"


async def test_whole_life_of_an_instance(provider: LocalProvider, link: UnixNodeLink, root: Path) -> None:
    spec = launch_spec(local=LocalMachine(boot_s=0.5))
    before = await provider.list(FLEET)

    await provider.launch(spec)
    booting = (await provider.list(FLEET)).instances[0]
    running = await sighted(provider, Sighting.RUNNING)
    status = await answering(link, running.address)
    await provider.stop(ONE)
    stopped = (await provider.list(FLEET)).instances[0]
    left_by_stop = agents(root)
    await provider.start(ONE)
    again = (await provider.list(FLEET)).instances[0]
    rebooted = await answering(link, (await sighted(provider, Sighting.RUNNING)).address)
    await provider.terminate(ONE)

    assert before.instances == ()
    assert booting.state is Sighting.BOOTING
    assert (running.pool, running.offer, running.address) == (spec.pool, spec.offer, booting.address)
    assert status.instance == ONE
    assert [(gpu.index, gpu.name) for gpu in status.gpus] == [(0, "L40S"), (1, "L40S")]
    assert (stopped.state, left_by_stop) == (Sighting.STOPPED, [])
    assert again.state is Sighting.BOOTING, "a start is a boot"
    assert rebooted.stages[0].started_at > (status.stages[0].ended_at or 0)
    assert (await provider.list(FLEET)).instances == ()
    assert [path.name for path in root.iterdir()] == [], "nothing is left"


async def test_every_call_may_be_repeated(provider: LocalProvider, root: Path) -> None:
    for _ in range(3):
        await provider.launch(launch_spec())
    first = await sighted(provider, Sighting.RUNNING)
    (agent,) = agents(root)
    for _ in range(2):
        await provider.start(ONE)
    assert agents(root) == [agent]
    for _ in range(2):
        await provider.stop(ONE)
    await provider.launch(launch_spec())
    assert (await provider.list(FLEET)).instances[0].state is Sighting.STOPPED, (
        "a launch finds it made; it starts nothing"
    )
    for _ in range(2):
        await provider.start(ONE)
    assert (await sighted(provider, Sighting.RUNNING)).created_at == first.created_at
    for _ in range(2):
        await provider.terminate(ONE)

    assert (await provider.list(FLEET)).instances == ()


async def test_what_is_gone_is_gone(provider: LocalProvider) -> None:
    await provider.terminate(ONE)

    with pytest.raises(Gone):
        await provider.start(ONE)
    with pytest.raises(Gone):
        await provider.stop(ONE)

    assert (await provider.list(FLEET)).instances == ()


async def test_concurrent_launches_of_one_id_make_one_machine(provider: LocalProvider, root: Path) -> None:
    await asyncio.gather(*(provider.launch(launch_spec()) for _ in range(8)))

    await sighted(provider, Sighting.RUNNING)
    assert len(agents(root)) == 1


async def test_two_processes_that_launch_one_id_make_one_machine(provider: LocalProvider, root: Path) -> None:
    text = msgspec.json.encode(launch_spec()).decode()
    command = [sys.executable, "-c", CRASHING, str(root), "launch", text, "never"]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}

    rivals = [await asyncio.create_subprocess_exec(*command, env=environment) for _ in range(2)]
    codes = [await rival.wait() for rival in rivals]

    assert codes == [0, 0]
    await sighted(provider, Sighting.RUNNING)
    assert len(agents(root)) == 1


async def test_listing_shows_this_fleet_and_nothing_half_made(provider: LocalProvider, root: Path) -> None:
    other = LocalProvider(root, fleet="other")
    await other.launch(launch_spec(InstanceId("gpu-e9-1"), fleet="other"))
    await provider.launch(launch_spec())
    for name in (".new-gpu-e1-2", ".gone-gpu-e1-3", "not-ours"):
        (root / name).mkdir()

    seen = await provider.list(FLEET)

    assert [line.id for line in seen.instances] == [ONE]
    with pytest.raises(InvalidRequest, match="of fleet other"):
        await provider.terminate(InstanceId("gpu-e9-1"))
    with pytest.raises(InvalidRequest, match="of fleet other"):
        await provider.launch(launch_spec(InstanceId("gpu-e1-9"), fleet="other"))
    await other.terminate(InstanceId("gpu-e9-1"))
    await other.close()


async def test_unreadable_instance_makes_no_listing(provider: LocalProvider, root: Path) -> None:
    await provider.launch(launch_spec())
    file = root / ONE / "instance.json"
    good = file.read_bytes()
    file.write_bytes(b"{")

    with pytest.raises(ProviderError, match=r"instance\.json cannot be read"):
        await provider.list(FLEET)

    file.write_bytes(good)


@pytest.mark.parametrize("name", ["../up", "", ".hidden", "a/b"])
async def test_id_that_cannot_name_a_folder_is_refused(provider: LocalProvider, name: str) -> None:
    with pytest.raises(InvalidRequest):
        await provider.launch(launch_spec(InstanceId(name)))


async def test_machines_are_found_again_with_nothing_but_the_folder(
    provider: LocalProvider, link: UnixNodeLink, root: Path
) -> None:
    await provider.launch(launch_spec())
    before = await sighted(provider, Sighting.RUNNING)
    await provider.close()

    successor = LocalProvider(root, fleet=FLEET)
    found = await successor.list(FLEET)

    assert found.instances == (before,)
    await answering(link, found.instances[0].address)
    await successor.terminate(ONE)
    assert (await successor.list(FLEET)).instances == ()
    await successor.close()


async def test_killed_agent_is_sighted_and_started_again_under_its_engine(
    provider: LocalProvider, link: UnixNodeLink, root: Path
) -> None:
    await provider.launch(launch_spec(local=LocalMachine(boot_s=0.4)))
    address = (await sighted(provider, Sighting.RUNNING)).address
    assert address is not None
    await answering(link, address)
    await link.apply(address, desired(engine_spec()))
    before = await answering(link, address, ready)
    (agent,) = agents(root)

    os.kill(agent.pid, signal.SIGKILL)
    dead = await sighted(provider, Sighting.STOPPED)
    began = time.monotonic()
    await provider.start(ONE)
    after = await answering(link, address)

    assert dead.detail == "node agent not running"
    assert after.replicas == before.replicas, "ready in its first status, under the same pid"
    assert len(engines(root)) == 1
    assert after.stages == before.stages
    assert time.monotonic() - began < BOUND_S


@pytest.mark.parametrize("agent_dead", [False, True], ids=["agent alive", "agent dead"])
@pytest.mark.parametrize("verb", ["stop", "terminate"])
async def test_end_of_a_machine_ends_its_engines(
    provider: LocalProvider, link: UnixNodeLink, root: Path, verb: str, agent_dead: bool
) -> None:
    await provider.launch(launch_spec())
    address = (await sighted(provider, Sighting.RUNNING)).address
    assert address is not None
    await answering(link, address)
    await link.apply(address, desired(engine_spec()))
    await answering(link, address, ready)
    if agent_dead:
        os.kill(agents(root)[0].pid, signal.SIGKILL)

    await getattr(provider, verb)(ONE)

    assert engines(root) == []
    assert agents(root) == []


@pytest.mark.parametrize("boundary", ["folder made", "folder named", "agent started"])
async def test_launch_killed_at_a_boundary_and_repeated_makes_one(
    provider: LocalProvider, root: Path, boundary: str
) -> None:
    crash(root, "launch", f"launch: {boundary}", launch_spec())
    half = await provider.list(FLEET)

    await provider.launch(launch_spec())

    await sighted(provider, Sighting.RUNNING)
    assert len(agents(root)) == 1
    assert len(half.instances) == (0 if boundary == "folder made" else 1)
    assert not list(root.glob(".new-*"))


@pytest.mark.parametrize("boundary", ["halted", "folder renamed", "folder removed"])
async def test_terminate_killed_at_a_boundary_and_repeated_leaves_none(
    provider: LocalProvider, link: UnixNodeLink, root: Path, boundary: str
) -> None:
    await provider.launch(launch_spec())
    address = (await sighted(provider, Sighting.RUNNING)).address
    assert address is not None
    await answering(link, address)
    await link.apply(address, desired(engine_spec()))
    await answering(link, address, ready)

    crash(root, "terminate", f"terminate: {boundary}", launch_spec())
    half = await provider.list(FLEET)
    await provider.terminate(ONE)

    assert [line.state for line in half.instances] == ([Sighting.STOPPED] if boundary == "halted" else [])
    assert (await provider.list(FLEET)).instances == ()
    assert engines(root) == []
    assert agents(root) == []
    assert not list(root.glob(".gone-*"))


@pytest.mark.parametrize("boundary", ["begun", "halted", "ended"])
@pytest.mark.parametrize("then", ["stop", "start"])
async def test_stop_killed_at_a_boundary_is_taken_further(
    provider: LocalProvider, root: Path, boundary: str, then: str
) -> None:
    await provider.launch(launch_spec())
    await sighted(provider, Sighting.RUNNING)

    crash(root, "stop", f"stop: {boundary}", launch_spec())
    (half,) = (await provider.list(FLEET)).instances
    await getattr(provider, then)(ONE)

    assert half.state is (Sighting.STOPPED if boundary == "ended" else Sighting.RUNNING), "not stopped until it is"
    if then == "stop":
        assert (await provider.list(FLEET)).instances[0].state is Sighting.STOPPED
        assert agents(root) == []
    else:
        await sighted(provider, Sighting.RUNNING)
        assert len(agents(root)) == 1


@pytest.mark.parametrize("boundary", ["stop ended", "marker gone", "agent started"])
async def test_start_killed_at_a_boundary_and_repeated_runs_one(
    provider: LocalProvider, root: Path, boundary: str
) -> None:
    await provider.launch(launch_spec())
    await sighted(provider, Sighting.RUNNING)
    await provider.stop(ONE)

    crash(root, "start", f"start: {boundary}", launch_spec())
    await provider.start(ONE)

    await sighted(provider, Sighting.RUNNING)
    assert len(agents(root)) == 1


async def test_launch_and_terminate_at_once_leave_one_machine_or_none(provider: LocalProvider, root: Path) -> None:
    await provider.launch(launch_spec())

    await asyncio.gather(
        *(provider.terminate(ONE) if turn % 2 else provider.launch(launch_spec()) for turn in range(6))
    )

    machines = len((await provider.list(FLEET)).instances)
    assert len(agents(root)) == machines <= 1


def test_providers_are_loaded_by_name() -> None:
    known = names()

    assert "local" in known
    with pytest.raises(UsageError, match="no provider is called 'clowd'"):
        load("clowd")
