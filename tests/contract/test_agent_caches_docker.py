"""Engine caches of engines in containers: a folder of the Node's under the variable that the image's engine reads."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from agent_machines import BOUND_S, Machine, spec, wanted
from image_nodes import docker, docker_daemon
from test_docker_runtime import SERVE, layer_of

from fleetctl.model.names import ReplicaId
from fleetctl.model.nodes import Artifact, ArtifactState, CacheFolder, EngineCache, NodeStatus, ReplicaSpec
from fleetctl.model.replicas import ReplicaPhase
from fleetctl.node.local import UnixNodeLink

pytestmark = [pytest.mark.docker, pytest.mark.slow]

IMAGE = "fleetctl-test/compiles:1"
KEY = Artifact(kind="cache", name="d" * 64)
FOLDERS = (CacheFolder(path="~/.compiled", env="COMPILED"), CacheFolder(path="~/.kernels"))
COMPILES = (
    "for place in $COMPILED /root/.kernels; do "
    "if [ -f $place/code ]; then echo found $place; else echo compiled $place; echo code >$place/code; fi; done; "
)


@pytest.fixture(scope="module")
def daemon() -> Iterator[str]:
    with docker_daemon() as host:
        yield host


@pytest.fixture
async def machine(tmp_path: Path, daemon: str) -> AsyncIterator[Machine]:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("needs a static busybox (apt-get install busybox-static) to make an image of")
    docker(daemon, "import", "-", IMAGE, stdin=layer_of(Path(busybox)))
    (tmp_path / "i-1").mkdir()
    link = UnixNodeLink()
    made = Machine(folder=tmp_path / "i-1", link=link)
    await made.up("--runtime", "docker", DOCKER_HOST=daemon)
    yield made
    await link.close()
    await made.run("--halt", DOCKER_HOST=daemon)
    if made.agent is not None:
        await asyncio.to_thread(made.agent.wait, BOUND_S)


def compiling(name: str, key: Artifact | None = KEY) -> ReplicaSpec:
    script = f"export PATH=/bin; /bin/busybox --install -s /bin; {COMPILES}{SERVE}"
    made = spec(name, image=IMAGE, engine="generic", command=("/bin/sh", "-c", script), sleep=(), wake=())
    return replace(made, cache=EngineCache(artifact=key, folders=FOLDERS) if key is not None else None)


def holds(status: NodeStatus) -> bool:
    return any(one.artifact == KEY and one.state is ArtifactState.PRESENT for one in status.artifacts)


async def test_a_container_finds_what_another_one_compiled(machine: Machine) -> None:
    await machine.apply(wanted(compiling("chat-1")))
    await machine.until_phase(ReplicaPhase.READY)
    first = await machine.link.logs(machine.address, ReplicaId("chat-1"), 10_000)
    await machine.until(holds)
    await machine.apply(wanted())
    await machine.until(lambda status: not status.replicas)
    await machine.until(lambda _: not any((machine.folder / "working").glob("?" * 64)))

    await machine.apply(wanted(compiling("chat-2")))
    await machine.until_phase(ReplicaPhase.READY, "chat-2")
    second = await machine.link.logs(machine.address, ReplicaId("chat-2"), 10_000)

    assert b"compiled /fleetctl/COMPILED" in first
    assert b"compiled /root/.kernels" in first
    assert b"found /fleetctl/COMPILED" in second
    assert b"found /root/.kernels" in second
