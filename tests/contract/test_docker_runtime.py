"""Engines in real containers: a Docker daemon of our own (root and dockerd needed) or the one in DOCKER_HOST."""

import asyncio
import gzip
import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from agent_machines import BOUND_S, Machine, of, spec, wanted
from aiohttp import web
from image_nodes import ARCHITECTURES, DOCKER, digest, docker, docker_daemon

from fleetctl.model.images import image_name
from fleetctl.model.names import ReplicaId
from fleetctl.model.nodes import Artifact, ArtifactState, NodeStatus, ReplicaSpec
from fleetctl.model.replicas import ReplicaPhase
from fleetctl.node.local import UnixNodeLink

pytestmark = [pytest.mark.docker, pytest.mark.slow]

PIECE_BYTES = 256 * 1024
PIECE_S = 0.05
"""Twenty pieces a second: the download takes about a second, and its progress can be seen."""

IMAGE = "fleetctl-test/tiny:1"
SERVE = (
    "mkdir -p /www && echo ok >/www/health && echo 'tiny:num_requests_running 0' >/www/metrics && echo serving && "
    "trap 'exit 0' TERM; busybox httpd -f -p {port} -h /www & wait"
)
"""The first process of a container must ask for SIGTERM, or it is deaf to it."""


@pytest.fixture(scope="session")
def daemon() -> Iterator[str]:
    """The address of a daemon for these tests only, or of the one that DOCKER_HOST names."""
    named = os.environ.get("DOCKER_HOST")
    if named:
        yield named
        return
    with docker_daemon() as host:
        yield host


@pytest.fixture(scope="session")
def image(daemon: str) -> str:
    """An image that holds a static busybox and nothing else."""
    busybox = shutil.which("busybox")
    if busybox is None or b"dynamically" in subprocess.run(["file", "-b", "-L", busybox], capture_output=True).stdout:
        pytest.skip("needs a static busybox (apt-get install busybox-static) to make an image of")
    docker(daemon, "import", "-", IMAGE, stdin=layer_of(Path(busybox)))
    return IMAGE


def layer_of(busybox: Path, padding: bytes = b"") -> bytes:
    """A tar of a whole file system."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(busybox, "bin/busybox")
        link = tarfile.TarInfo("bin/sh")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        tar.addfile(link)
        weight = tarfile.TarInfo("padding")
        weight.size = len(padding)
        tar.addfile(weight, io.BytesIO(padding))
    return archive.getvalue()


@pytest.fixture
async def machine(tmp_path: Path, daemon: str) -> AsyncIterator[Machine]:
    folder = tmp_path / "i-1"
    folder.mkdir()
    link = UnixNodeLink()
    made = Machine(folder=folder, link=link)
    yield made
    await link.close()
    halted = await made.run("--halt", DOCKER_HOST=daemon)
    assert halted.returncode == 0, halted.stderr
    if made.agent is not None:
        await asyncio.to_thread(made.agent.wait, BOUND_S)
    assert containers(daemon) == []


def containers(host: str) -> list[str]:
    listed = docker(host, "ps", "-aq", "--filter", "label=fleetctl.instance=i-1")
    return listed.stdout.decode().split()


def contained(image: str, script: str = SERVE, **changes: object) -> ReplicaSpec:
    made = spec(
        image=image,
        engine="generic",
        command=("/bin/sh", "-c", f"export PATH=/bin; /bin/busybox --install -s /bin; {script}"),
    )
    return replace(made, sleep=(), wake=(), **changes)  # type: ignore[arg-type]  # a table of fields


@pytest.fixture
async def registry(image: str) -> AsyncIterator[str]:
    """A registry on loopback that has one image, of one layer that arrives in pieces; gives the image's name."""
    layer = gzip.compress(layer_of(Path(shutil.which("busybox") or ""), padding=os.urandom(4 * 1024 * 1024)))
    layers = [{"mediaType": f"{DOCKER}.image.rootfs.diff.tar.gzip", "size": len(layer), "digest": digest(layer)}]
    config = json.dumps(
        {
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest(gzip.decompress(layer))]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{DOCKER}.distribution.manifest.v2+json",
            "config": {
                "mediaType": f"{DOCKER}.container.image.v1+json",
                "size": len(config),
                "digest": digest(config),
            },
            "layers": layers,
        }
    ).encode()
    blobs = {digest(config): config, digest(layer): layer}

    async def manifests(_: web.Request) -> web.Response:
        headers = {"Docker-Content-Digest": digest(manifest), "Content-Type": f"{DOCKER}.distribution.manifest.v2+json"}
        return web.Response(body=manifest, headers=headers)

    async def blob(request: web.Request) -> web.StreamResponse:
        body = blobs[request.match_info["digest"]]
        answer = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await answer.prepare(request)
        for start in range(0, len(body), PIECE_BYTES):
            await answer.write(body[start : start + PIECE_BYTES])
            await asyncio.sleep(PIECE_S)
        return answer

    async def hello(_: web.Request) -> web.Response:
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/v2/", hello)
    app.router.add_get("/v2/tiny/manifests/{tag}", manifests)
    app.router.add_get("/v2/tiny/blobs/{digest}", blob)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"127.0.0.1:{runner.addresses[0][1]}/tiny:1"
    await runner.cleanup()


async def none_left(host: str) -> list[str]:
    """The machine's containers, once there are none or the bound is over."""
    deadline = time.monotonic() + BOUND_S
    while time.monotonic() < deadline:
        if not containers(host):
            return []
        await asyncio.sleep(0.1)
    return containers(host)


async def test_container_serves_and_goes(machine: Machine, daemon: str, image: str) -> None:
    await machine.up("--runtime", "docker", DOCKER_HOST=daemon)

    await machine.apply(wanted(contained(image)))
    replica = await machine.until_phase(ReplicaPhase.READY)
    async with aiohttp.ClientSession() as session, session.get(f"http://{replica.address}/metrics") as answer:
        metrics = await answer.text()
    logs = await machine.link.logs(machine.address, ReplicaId("chat-1"), 1000)
    running = containers(daemon)
    await machine.apply(wanted())
    await machine.until(lambda status: status.replicas == ())
    left = await none_left(daemon)

    assert metrics == "tiny:num_requests_running 0\n"
    assert logs == b"serving\n"
    assert replica.container == "fleetctl-chat-1"
    assert replica.address is not None
    assert replica.address.startswith("127.0.0.1:")
    assert [stage.name for stage in replica.stages] == ["image", "weights", "engine"]
    assert len(running) == 1
    assert left == []


async def test_killed_agent_takes_its_container_up_again(machine: Machine, daemon: str, image: str) -> None:
    await machine.up("--runtime", "docker", DOCKER_HOST=daemon)
    await machine.apply(wanted(contained(image)))
    before = await machine.until_phase(ReplicaPhase.READY)
    running = containers(daemon)

    machine.kill()
    status = await machine.up("--runtime", "docker", DOCKER_HOST=daemon)

    assert of(status) == before
    assert containers(daemon) == running


async def test_container_that_exits_is_reported_with_its_last_words(machine: Machine, daemon: str, image: str) -> None:
    await machine.up("--runtime", "auto", DOCKER_HOST=daemon)

    await machine.apply(wanted(contained(image, "echo no GPU for you >&2; exit 5")))
    replica = await machine.until_phase(ReplicaPhase.FAILED)

    assert replica.failure is not None
    assert "generic exited with code 5 before it was ready" in replica.failure
    assert "no GPU for you" in replica.failure


async def test_container_that_ended_while_the_agent_was_away_tells_its_code(
    machine: Machine, daemon: str, image: str
) -> None:
    await machine.up("--runtime", "docker", DOCKER_HOST=daemon)
    await machine.apply(wanted(contained(image)))
    await machine.until_phase(ReplicaPhase.READY)
    machine.kill()
    docker(daemon, "kill", "fleetctl-chat-1")

    await machine.up("--runtime", "docker", DOCKER_HOST=daemon)
    replica = await machine.until_phase(ReplicaPhase.FAILED)

    assert "generic exited with code 137 (killed; out of memory?)" in (replica.failure or "")


async def test_image_that_cannot_be_had_fails_clearly(machine: Machine, daemon: str) -> None:
    # Port 9 of this machine: refused at once, wherever the test runs.
    missing = Artifact(kind="image", name="127.0.0.1:9/not/there:1")
    await machine.up("--runtime", "docker", DOCKER_HOST=daemon)

    await machine.apply(wanted(contained(missing.name)))
    replica = await machine.until_phase(ReplicaPhase.FAILED)

    assert "image 127.0.0.1:9/not/there:1 could not be pulled" in (replica.failure or "")
    status = await machine.link.status(machine.address)
    assert {one.state for one in status.artifacts if one.artifact == missing} == {ArtifactState.FAILED}


async def test_image_that_was_here_before_stays_when_not_wanted(machine: Machine, daemon: str, image: str) -> None:
    held = Artifact(kind="image", name=image)
    await machine.up("--runtime", "docker", DOCKER_HOST=daemon)
    await machine.apply(wanted(artifacts=(held,)))
    status = await machine.until(lambda one: [a.state for a in one.artifacts] == [ArtifactState.PRESENT])

    await machine.apply(wanted())
    await machine.until(lambda one: one.artifacts == ())

    assert (status.artifacts[0].bytes_done or 0) > 100_000
    assert docker(daemon, "image", "inspect", image).returncode == 0


async def test_image_is_pulled_with_progress_and_kept_when_not_wanted(
    machine: Machine, daemon: str, registry: str
) -> None:
    def part_way(status: NodeStatus) -> bool:
        return any(0 < (one.bytes_done or 0) < 4_000_000 for one in status.artifacts)

    await machine.up("--runtime", "docker", DOCKER_HOST=daemon)

    await machine.apply(wanted(contained(registry)))
    pulling = await machine.until(part_way)
    replica = await machine.until_phase(ReplicaPhase.READY)
    status = await machine.link.status(machine.address)
    await machine.apply(wanted())
    await machine.until(lambda one: one.artifacts == () and one.replicas == ())

    assert of(pulling).phase is ReplicaPhase.PREPARING
    assert [stage.name for stage in of(pulling).stages if stage.ended_at is None] == ["image"]
    image_stage = next(stage for stage in replica.stages if stage.name == "image")
    assert (image_stage.ended_at or 0) - image_stage.started_at > 0.5
    held = next(one for one in status.artifacts if one.artifact.kind == "image")
    assert held.bytes_done is not None
    assert held.bytes_done > 4_000_000
    assert image_stage.bytes_total == held.bytes_done
    assert held.digest.startswith("sha256:")
    assert docker(daemon, "image", "inspect", registry).returncode == 0, "it stays until the disk is needed"


async def test_image_removed_by_hand_comes_again_before_an_engine_starts(
    machine: Machine, daemon: str, registry: str
) -> None:
    held = Artifact(kind="image", name=registry)
    await machine.up("--runtime", "docker", DOCKER_HOST=daemon)
    await machine.apply(wanted(artifacts=(held,)))
    await machine.until(lambda one: [a.state for a in one.artifacts] == [ArtifactState.PRESENT])
    docker(daemon, "image", "rm", registry)

    await machine.apply(wanted(contained(registry), artifacts=(held,)))
    replica = await machine.until_phase(ReplicaPhase.READY)

    assert replica.container is not None


async def test_replica_that_waits_for_a_tag_starts_by_the_digest_that_it_is_told(
    machine: Machine, daemon: str, registry: str
) -> None:
    async with aiohttp.ClientSession() as session, session.get(_manifest(registry)) as answer:
        by_digest = image_name(registry).at(digest(await answer.read()))
    by_tag = contained(registry)
    await machine.up("--runtime", "docker", DOCKER_HOST=daemon)
    await machine.apply(wanted(by_tag))
    await machine.until(lambda one: any((a.bytes_done or 0) > 0 for a in one.artifacts))

    await machine.apply(wanted(replace(by_tag, image=by_digest)))
    replica = await machine.until_phase(ReplicaPhase.READY)
    status = await machine.link.status(machine.address)
    seen = docker(daemon, "inspect", "--format", "{{.Config.Image}}", replica.container or "").stdout.decode().strip()

    assert seen == by_digest
    assert [one.artifact.name for one in status.artifacts if one.artifact.kind == "image"] == [by_digest]


def _manifest(name: str) -> str:
    taken = image_name(name)
    return f"http://{taken.registry}/v2/{taken.path}/manifests/{taken.tag}"
