"""Bad luck on one Node, by a real agent: one sentence naming it, the artifact and what to do; the rest goes on.

Beside this table: registries (test_images.py), the hub and buckets (test_origins_*.py), dead and silent peers
(test_chunks_peers.py), host keys, agents of other versions, machines that are off (ssh/test_ssh_nodes.py), GPUs and
drivers (unit/test_fleet_needs.py), and how it is told (unit/test_fleet_troubles.py).
"""

import asyncio
import hashlib
import json
import os
import re
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from agent_machines import BOUND_S, Machine, engines, spec, wanted
from aiohttp import web
from chunk_nodes import content
from image_nodes import docker, docker_daemon

from fleetctl.agent.chunks.layout import CHUNK_LEAST_BYTES
from fleetctl.agent.folder import Folder
from fleetctl.agent.runtimes.daemon import DockerDaemon
from fleetctl.agent.runtimes.docker import DockerRuntime
from fleetctl.errors import AgentFailure
from fleetctl.model.names import InstanceId
from fleetctl.model.nodes import Artifact, ArtifactState, ArtifactStatus, Feed, NodeStatus, Peer
from fleetctl.model.replicas import ReplicaPhase
from fleetctl.node.local import UnixNodeLink

KEY = "5a" * 32
SIZE = 40 * CHUNK_LEAST_BYTES
EMPTY_TAR = bytes(10240)
RAW = re.compile(r"Traceback|Error\(|errno|<class|\bNone\b|object at 0x", re.I)
"""What belongs in no sentence for people."""


def safetensors(*names: str) -> bytes:
    """A whole file of one small tensor for each name."""
    header = {name: {"dtype": "U8", "shape": [8], "data_offsets": [8 * n, 8 * n + 8]} for n, name in enumerate(names)}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"\1" * 8 * len(names)


class Server:
    """A web server with levers, which answers ranges."""

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, bytes] = {}
        self.status = 0
        """With which it answers everything; 0: with the files."""
        self.stop_after_bytes: int | None = None
        """From there on it waits until `go`."""
        self.go = asyncio.Event()
        self.sent = 0

    def listed(self, files: dict[str, bytes], *, sha256: dict[str, str] | None = None) -> str:
        """The address of a manifest of these files; `sha256`: what it says of some, whatever they are."""
        lines = [
            {"path": path, "size": len(data), "sha256": (sha256 or {}).get(path, hashlib.sha256(data).hexdigest())}
            for path, data in files.items()
        ]
        self.files |= {**files, "manifest.json": json.dumps({"files": lines}).encode()}
        return f"{self.url}/manifest.json"

    def one(self, name: str, data: bytes) -> str:
        self.files[name] = data
        return f"{self.url}/{name}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        data = self.files.get(request.path[1:])
        if self.status or data is None:
            return web.Response(status=self.status or 404, headers={"Retry-After": "0"})
        asked = request.http_range
        start, stop = asked.start or 0, min(asked.stop or len(data), len(data))
        if self.stop_after_bytes is not None and self.sent >= self.stop_after_bytes:
            await self.go.wait()
        self.sent += stop - start
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}", "ETag": '"one"'}
        return web.Response(status=206, body=data[start:stop], headers=headers)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    made.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    yield made
    await runner.cleanup()


@asynccontextmanager
async def machine(folder: Path) -> AsyncIterator[Machine]:
    folder.mkdir()
    link = UnixNodeLink()
    made = Machine(folder=folder, link=link)
    try:
        yield made
    finally:
        await link.close()
        await made.run("--halt")
        if made.agent is not None:
            await asyncio.to_thread(made.agent.wait, BOUND_S)
        assert engines(folder) == []


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Machine]:
    async with machine(tmp_path / "i-1") as made:
        yield made


def status_of(status: NodeStatus, artifact: Artifact) -> ArtifactStatus:
    return next(found for found in status.artifacts if found.artifact == artifact)


def is_failed(artifact: Artifact) -> Callable[[NodeStatus], bool]:
    return lambda status: any(
        found.artifact == artifact and found.state is ArtifactState.FAILED for found in status.artifacts
    )


def is_present(artifact: Artifact) -> Callable[[NodeStatus], bool]:
    return lambda status: any(
        found.artifact == artifact and found.state is ArtifactState.PRESENT for found in status.artifacts
    )


def one_sentence(said: str | None, *, artifact: str, to_do: str) -> None:
    """It names the Node and the artifact, says what to do, and is made for people."""
    assert said is not None
    assert "i-1" in said
    assert artifact in said
    assert to_do in said
    assert "\n" not in said
    assert len(said) < 400
    assert not RAW.search(said), said


def published(machine: Machine) -> list[Path]:
    """What any engine could take for weights."""
    return [path for path in (machine.folder / "store").glob("weights/*") if not path.name.startswith(".")]


def refused(server: Server, status: int) -> str:
    server.status = status
    return server.one("model.safetensors", safetensors("a"))


def wrong_digest(server: Server) -> str:
    return server.listed({"model.bin": content(5000)}, sha256={"model.bin": "0" * 64})


def truncated(server: Server) -> str:
    return server.one("model.safetensors", safetensors("a", "b")[:-5])


def swapped(server: Server) -> str:
    index = json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}).encode()
    files = {"one.safetensors": safetensors("b"), "two.safetensors": safetensors("a")}
    return server.listed({**files, "model.safetensors.index.json": index})


@pytest.mark.parametrize(
    ("lay", "artifact", "to_do"),
    [
        pytest.param(lambda s: refused(s, 401), "model.safetensors", "signed address", id="401"),
        pytest.param(lambda s: refused(s, 403), "model.safetensors", "signed address", id="403"),
        pytest.param(lambda s: refused(s, 404), "model.safetensors", "correct model:", id="404"),
        pytest.param(lambda s: refused(s, 429), "model.safetensors", "tried again", id="429"),
        pytest.param(lambda s: refused(s, 500), "model.safetensors", "look at the server's log", id="500"),
        pytest.param(wrong_digest, "model.bin", "the origin's copy is damaged", id="a wrong digest"),
        pytest.param(truncated, "model.safetensors", "look at the file at its origin", id="cut off"),
        pytest.param(swapped, "one.safetensors", "look at the file at its origin", id="swapped"),
        pytest.param(
            lambda s: "http://127.0.0.1:9/model.bin", "127.0.0.1:9/model.bin", "check the address", id="nobody there"
        ),
        pytest.param(lambda s: "file:///not/there", "/not/there", "put them there", id="not on this node"),
    ],
)
async def test_weights_that_do_not_come_are_one_sentence_and_the_rest_goes_on(
    one: Machine, server: Server, tmp_path: Path, lay: Callable[[Server], str], artifact: str, to_do: str
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "model.safetensors").write_bytes(safetensors("a"))
    bad = Artifact(kind="weights", name=lay(server))
    good = Artifact(kind="weights", name=f"file://{here}")
    await one.up()

    await one.apply(wanted(spec("chat-1"), spec("chat-2", model=bad.name, gpus=(1,)), artifacts=(bad, good)))
    replica = await one.until_phase(ReplicaPhase.FAILED, "chat-2")
    status = await one.until(lambda seen: is_failed(bad)(seen) and is_present(good)(seen))
    ready = await one.until_phase(ReplicaPhase.READY, "chat-1")

    one_sentence(status_of(status, bad).failure, artifact=artifact, to_do=to_do)
    one_sentence(replica.failure, artifact=artifact, to_do=to_do)
    assert published(one) == []
    assert ready.failure is None
    assert len(engines(one.folder)) == 1, "the other one has its engine"


async def test_what_was_mended_comes_and_the_sentence_goes(one: Machine, server: Server) -> None:
    bad = Artifact(kind="weights", name=refused(server, 404))
    await one.up()
    await one.apply(wanted(artifacts=(bad,)))
    await one.until(is_failed(bad))

    server.status = 0
    await one.apply(wanted(spec("chat-1", model=bad.name), artifacts=(bad,)))  # a Replica does not wait for the retry
    status = await one.until(is_present(bad))

    assert status_of(status, bad).failure is None
    assert len(published(one)) == 2, "the folder and what says what is in it"


async def test_a_dead_peer_and_then_a_dead_origin(one: Machine, server: Server) -> None:
    bad = Artifact(kind="weights", name=refused(server, 404))
    dead = Peer(instance=InstanceId("i-9"), address="127.0.0.1:9")
    await one.up()

    feeds = (Feed(artifact=bad, parents=(dead,)),)
    await one.apply(replace(wanted(artifacts=(bad,)), feeds=feeds, peer_key=KEY))
    status = await one.until(is_failed(bad))

    one_sentence(status_of(status, bad).failure, artifact="model.safetensors", to_do="correct model:")
    assert published(one) == []


async def test_a_container_without_docker(one: Machine) -> None:
    image = Artifact(kind="image", name="quay.io/acme/one:v1")
    await one.up("--runtime", "docker", DOCKER_HOST="unix:///not/there.sock")

    await one.apply(wanted(artifacts=(image,)))
    status = await one.until(is_failed(image))

    one_sentence(status_of(status, image).failure, artifact=image.name, to_do="start Docker on this node")


async def test_a_docker_that_cannot_give_gpus(tmp_path: Path) -> None:
    """A real one, without NVIDIA's container toolkit."""
    with docker_daemon("--bridge=none", "--iptables=false") as host:
        if "nvidia" in docker(host, "info", "--format", "{{.Runtimes}}").stdout.decode():
            pytest.skip("this Docker can give GPUs")
        docker(host, "import", "-", "acme/one:v1", stdin=EMPTY_TAR)
        folder = Folder(tmp_path)
        folder.make()
        daemon = DockerDaemon(host)
        runtime = DockerRuntime(InstanceId("i-1"), folder, daemon, real_gpus=True)
        try:
            with pytest.raises(AgentFailure) as caught:
                await runtime.start(spec("chat-1", image="acme/one:v1", engine="vllm", command=("true",)))
            await runtime.stop(spec("chat-1").id, grace_s=0.0)
        finally:
            await daemon.close()

    said = f"{caught.value.message}; {caught.value.hint}"
    one_sentence(said, artifact="acme/one:v1", to_do="install nvidia-container-toolkit")


async def test_the_older_of_two_controllers_is_told_to_stop(one: Machine) -> None:
    await one.up()
    await one.apply(wanted(spec("chat-1"), fence=5))

    with pytest.raises(AgentFailure) as caught:
        await one.apply(wanted(fence=4))

    said = f"{caught.value.message}; {caught.value.hint}"
    one_sentence(said, artifact="desired state with fence 4", to_do="this one must stop")
    assert (await one.until_phase(ReplicaPhase.READY, "chat-1")).failure is None, "and it changed nothing"


# the disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Of 16 MB."""
    made = tmp_path / "disk"
    made.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(made)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root and CAP_SYS_ADMIN")
    yield made
    subprocess.run(["umount", "-l", str(made)], check=True, timeout=10)


def fill(ballast: Path) -> None:
    """Take the last byte of the disk."""
    with ballast.open("ab", buffering=0) as file:
        for step in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * step)
            except OSError:
                continue


async def test_a_disk_that_fills_up_while_weights_come(server: Server, disk: Path) -> None:
    async with machine(disk / "i-1") as one:
        bad = Artifact(kind="weights", name=server.one("model.bin", content(SIZE)))
        server.stop_after_bytes = SIZE // 2
        await one.up()
        await one.apply(wanted(spec("chat-1")))
        ready = await one.until_phase(ReplicaPhase.READY, "chat-1")
        await one.apply(wanted(spec("chat-1"), artifacts=(bad,)))
        await one.until(lambda status: any(0 < (found.bytes_done or 0) < SIZE for found in status.artifacts))

        fill(disk / "ballast")
        server.go.set()
        status = await one.until(is_failed(bad))
        after = await one.until_phase(ReplicaPhase.READY, "chat-1")

        one_sentence(status_of(status, bad).failure, artifact="model.bin", to_do="free space on this node")
        assert published(one) == []
        assert after.pid == ready.pid, "what runs goes on"
        assert one.agent is not None
        assert one.agent.poll() is None

        (disk / "ballast").unlink()
        await one.apply(wanted(spec("chat-1"), spec("chat-2", model=bad.name, gpus=(1,)), artifacts=(bad,)))
        await one.until(is_present(bad))
        assert (await one.until_phase(ReplicaPhase.READY, "chat-2")).failure is None


async def test_a_full_disk_takes_no_new_replica_and_ends_none(disk: Path) -> None:
    async with machine(disk / "i-1") as one:
        await one.up()
        await one.apply(wanted(spec("chat-1")))
        ready = await one.until_phase(ReplicaPhase.READY, "chat-1")
        fill(disk / "ballast")

        await one.apply(wanted(spec("chat-1"), spec("chat-2", gpus=(1,))))
        failed = await one.until_phase(ReplicaPhase.FAILED, "chat-2")
        after = await one.until_phase(ReplicaPhase.READY, "chat-1")

        assert failed.failure is not None
        assert "is full" in failed.failure
        assert "free space on this node" in failed.failure
        assert not RAW.search(failed.failure)
        assert after.pid == ready.pid
        await one.apply(wanted(spec("chat-1")))
        await one.until(lambda status: [found.id for found in status.replicas] == ["chat-1"])
        (disk / "ballast").unlink()
        await one.apply(wanted(spec("chat-1"), spec("chat-3", gpus=(1,))))
        await one.until_phase(ReplicaPhase.READY, "chat-3")


async def test_a_replica_whose_files_do_not_go_is_tried_again_with_pauses(one: Machine) -> None:
    await one.up()
    (one.folder / "logs" / "chat-1.log" / "x").mkdir(parents=True)  # stands for a disk that lets nothing go
    await one.apply(wanted(spec()))
    await one.until_phase(ReplicaPhase.FAILED)

    await one.apply(wanted())
    log = one.folder / "agent.log"
    await one.until(lambda status: not status.replicas and "chat-1 is not removed yet" in log.read_text())

    said = log.read_text()
    assert said.count("not removed yet") == 1
    assert "never retrieved" not in said
