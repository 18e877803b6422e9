"""Docker daemons, registries and Nodes that hold images, for tests: real ones, and a registry of ours with levers."""

import base64
import gzip
import hashlib
import io
import ipaddress
import itertools
import json
import os
import platform
import random
import re
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import requests
from aiohttp import web
from ports import FIRST, free_port

from fleetctl.agent.chunks.serve import PeerServer
from fleetctl.agent.chunks.store import Store
from fleetctl.agent.folder import Folder
from fleetctl.agent.images.kept import KeptImages
from fleetctl.agent.runtimes.choice import Runtimes
from fleetctl.agent.sources.fetch import Fetch
from fleetctl.agent.sources.images import ImageSource
from fleetctl.agent.sources.source import Got
from fleetctl.model.names import InstanceId
from fleetctl.model.nodes import Artifact, Feed, Peer
from fleetctl.model.services import LocalMachine

BOUND_S = 60.0
KEY = bytes(range(32))
DOCKER = "application/vnd.docker"
MANIFEST = f"{DOCKER}.distribution.manifest.v2+json"
INDEX = f"{DOCKER}.distribution.manifest.list.v2+json"
ELSEWHERE = "s390x"
"""The architecture of no machine that runs these tests."""
_marks = itertools.count(1)
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


# daemons


@contextmanager
def docker_daemon(*options: str, place: Path | None = None, pid: Path | None = None) -> Iterator[str]:
    """The address of a daemon of one's own; skips the test where none can be had.

    `place`: of its images; `pid`: of its file of that name. Where the options say nothing of a bridge it gets one of
    its own: two daemons on `docker0` give out the same addresses, and each clears the other's rules when it starts.
    """
    if os.getuid() != 0 or shutil.which("dockerd") is None or shutil.which("docker") is None:
        pytest.skip("needs root, dockerd and docker (apt-get install docker.io) to start a daemon of its own")
    # Not tmp_path: its length would not leave room for a socket's name.
    root = Path(tempfile.mkdtemp(prefix="fleetctl-dockerd-"))
    host = f"unix://{root}/docker.sock"
    bridge = None if any(option.startswith("--bridge") for option in options) else _bridge()
    if bridge is not None:
        options = (*options, f"--bridge={bridge}", "--iptables=false", "--ip6tables=false")
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                "dockerd",
                *("--data-root", str(place or root / "data"), "--exec-root", str(root / "exec")),
                *("--pidfile", str(pid or root / "pid"), "-H", host, *options),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + BOUND_S
        while docker(host, "version", check=False).returncode != 0:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"dockerd does not come up here: {(root / 'log').read_text()[-800:]}")
            time.sleep(0.1)
        yield host
    finally:
        members = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGTERM)
        process.wait(BOUND_S)
        _, left = psutil.wait_procs(members, timeout=BOUND_S)
        if bridge is not None:
            subprocess.run(["ip", "link", "del", bridge], check=True, timeout=BOUND_S)
        assert left == []
        shutil.rmtree(root)


def _bridge() -> str:
    """The name of a network bridge that is nobody else's, with fourteen addresses; containers reach this machine."""
    number = free_port()
    name = f"fb-{number}"
    first = ipaddress.IPv4Address("100.64.0.0") + 16 * (number - FIRST)  # shared address space: no host's own network
    for words in (("link", "add", name, "type", "bridge"), ("addr", "add", f"{first + 1}/28", "dev", name)):
        subprocess.run(["ip", *words], check=True, timeout=BOUND_S)
    subprocess.run(["ip", "link", "set", name, "up"], check=True, timeout=BOUND_S)
    return name


def docker(
    host: str, *words: str, check: bool = True, stdin: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["docker", "-H", host, *words], input=stdin, capture_output=True, timeout=BOUND_S * 2, check=check
    )


def ids(host: str) -> set[str]:
    """Identifiers of all images there."""
    listed = docker(host, "image", "ls", "-q", "--no-trunc").stdout
    return set(listed.decode().split())


# images


def digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


@dataclass(frozen=True, slots=True)
class MadeImage:
    """Blobs by digest, and the texts of its manifests: the last is what a name means."""

    blobs: dict[str, bytes]
    manifests: tuple[bytes, ...]

    @property
    def digest(self) -> str:
        return digest(self.manifests[-1])

    @property
    def size(self) -> int:
        return sum(map(len, self.blobs.values()))


def made_image(seed: int, *sizes: int, index: bool = False, say: str = "") -> MadeImage:
    """An image of this machine's platform: layers of so many random bytes, and a static busybox if there is one."""
    layers, diffs, blobs = [], [], {}
    for number, size in enumerate(sizes):
        tar = _layer(f"padding-{number}", seed * 1000 + number, size, busybox=number == 0)
        packed = gzip.compress(tar, 1, mtime=0)
        blobs[digest(packed)] = packed
        diffs.append(digest(tar))
        layers.append(
            {"mediaType": f"{DOCKER}.image.rootfs.diff.tar.gzip", "size": len(packed), "digest": digest(packed)}
        )
    architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
    settings = {"Cmd": ["/bin/busybox", "echo", say]} if say else {}
    config = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": diffs},
        }
    ).encode()
    blobs[digest(config)] = config
    described = {"mediaType": f"{DOCKER}.container.image.v1+json", "size": len(config), "digest": digest(config)}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": layers}).encode()
    if not index:
        return MadeImage(blobs, (manifest,))
    elsewhere = manifest + b" "  # the same for another machine
    entries = [
        {
            "mediaType": MANIFEST,
            "size": len(text),
            "digest": digest(text),
            "platform": {"os": "linux", "architecture": name},
        }
        for text, name in ((elsewhere, ELSEWHERE), (manifest, architecture))
    ]
    several = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
    return MadeImage(blobs, (manifest, elsewhere, several))


def _layer(name: str, seed: int, size: int, *, busybox: bool) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        program = shutil.which("busybox")
        if busybox and program is not None:
            entry = tarfile.TarInfo("bin/busybox")
            body = Path(program).read_bytes()
            entry.size, entry.mode = len(body), 0o755
            tar.addfile(entry, io.BytesIO(body))
        weight = tarfile.TarInfo(name)
        weight.size = size
        tar.addfile(weight, io.BytesIO(random.Random(seed).randbytes(size)))
    return archive.getvalue()


# registries


@dataclass
class RealRegistry:
    """Debian's docker-registry. It counts what it sends by its own access log."""

    address: str
    log: Path

    def push(self, image: MadeImage, path: str, tag: str) -> str:
        """The name by tag."""
        base = f"http://{self.address}/v2/{path}"
        for name, body in image.blobs.items():
            place = requests.post(f"{base}/blobs/uploads/", timeout=BOUND_S).headers["Location"]
            requests.put(place, params={"digest": name}, data=body, timeout=BOUND_S).raise_for_status()
        for text in image.manifests[:-1]:
            self._put(f"{base}/manifests/{digest(text)}", text)
        self._put(f"{base}/manifests/{tag}", image.manifests[-1])
        return f"{self.address}/{path}:{tag}"

    def _put(self, place: str, text: bytes) -> None:
        kind = json.loads(text)["mediaType"]
        requests.put(place, data=text, headers={"Content-Type": kind}, timeout=BOUND_S).raise_for_status()

    @property
    def sent(self) -> int:
        """Bytes of answers to GET since it is up. It logs an answer after it has sent it: one more is awaited."""
        mark = f"mark-{next(_marks)}"
        requests.get(f"http://{self.address}/v2/{mark}/tags/list", timeout=BOUND_S)
        deadline = time.monotonic() + BOUND_S
        while mark not in self.log.read_text():
            assert time.monotonic() < deadline, "it logs nothing"
            time.sleep(0.01)
        lines = re.findall(r'"GET /v2/\S+ HTTP/1\.1" 20\d (\d+)', self.log.read_text())
        return sum(map(int, lines))


@contextmanager
def real_registry(folder: Path) -> Iterator[RealRegistry]:
    if shutil.which("docker-registry") is None:
        pytest.skip("needs docker-registry (apt-get install docker-registry)")
    address = f"127.0.0.1:{free_port()}"
    settings = folder / "registry.yml"
    settings.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/blobs}}}}\n"
        f"http: {{addr: '{address}'}}\n"
    )
    log = folder / "registry.log"
    with log.open("wb") as out:
        process = subprocess.Popen(["docker-registry", "serve", str(settings)], stdout=out, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + BOUND_S
        while True:
            try:
                if requests.get(f"http://{address}/v2/", timeout=1.0).ok:
                    break
            except requests.RequestException:
                assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield RealRegistry(address, log)
    finally:
        process.terminate()
        process.wait(BOUND_S)


@dataclass
class LeverRegistry:
    """A registry of ours that refuses on demand. `address` is on loopback, so that Docker needs no TLS."""

    image: MadeImage
    address: str = ""
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict)
    """By a part of the path: the status and the error's code…"""
    times: int = 1_000_000
    """…for so many requests…"""
    retry_after_s: int | None = None
    """…and when to come back."""
    other: bytes | None = None
    """Sent instead of the layers."""
    login: str = ""
    """User and password, with a colon between, that it wants; empty: anybody may ask."""
    always: bytes | None = None
    """Sent for every manifest."""
    refused: int = 0

    @property
    def name(self) -> str:
        return f"{self.address}/tiny:1"

    @property
    def by_digest(self) -> str:
        return f"{self.address}/tiny@{self.image.digest}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        for part, (status, code) in self.refuse.items():
            if part in request.path and self.refused < self.times:
                self.refused += 1
                headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
                if status == 401:
                    headers["WWW-Authenticate"] = 'Basic realm="registry"'
                body = {"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}
                return web.json_response(body, status=status, headers=headers)
        given = f"Basic {base64.b64encode(self.login.encode()).decode()}"
        if self.login and request.headers.get("Authorization") != given:
            body = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
            return web.json_response(body, status=401, headers={"WWW-Authenticate": 'Basic realm="registry"'})
        if request.path == "/v2/":
            return web.json_response({})
        reference = request.path.rpartition("/")[2]
        if "/manifests/" in request.path:
            texts = {digest(text): text for text in self.image.manifests}
            text = self.always or texts.get(reference, self.image.manifests[-1])
            if reference not in (*texts, "1"):
                return web.json_response(
                    {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}, status=404
                )
            headers = {"Content-Type": json.loads(text)["mediaType"], "Docker-Content-Digest": digest(text)}
            return web.Response(body=text, headers=headers)
        blob = self.image.blobs[reference]
        if self.other is not None and not blob.startswith(b"{"):
            blob = self.other[: len(blob)].ljust(len(blob), b"\0")
        span = request.http_range
        return web.Response(body=blob[span], status=200 if span.start is None else 206)


@asynccontextmanager
async def lever_registry(image: MadeImage) -> AsyncIterator[LeverRegistry]:
    registry = LeverRegistry(image)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", registry.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    registry.address = f"127.0.0.1:{runner.addresses[0][1]}"
    yield registry
    await runner.cleanup()


# nodes


@dataclass
class ImageNode:
    """A Node's images: its Docker, its chunk store, and what gives that to others."""

    name: str
    host: str
    folder: Folder
    store: Store
    source: ImageSource
    kept: KeptImages
    address: str
    wanted: dict[Artifact, Feed | None] = field(default_factory=dict)

    @property
    def peer(self) -> Peer:
        return Peer(instance=InstanceId(self.name), address=self.address)

    def want(self, image: str, feed: Feed | None = None) -> Fetch:
        """As the desired state says it; what was wanted before still is."""
        artifact = Artifact(kind="image", name=image)
        self.wanted[artifact] = feed
        self.keep()
        return Fetch(artifact, feed)

    async def drop(self, image: str) -> None:
        artifact = Artifact(kind="image", name=image)
        del self.wanted[artifact]
        self.keep()
        await self.source.remove(artifact, Got(pulled=True))

    def keep(self) -> None:
        self.source.keep(self.wanted, [feed for feed in self.wanted.values() if feed is not None])


def feed(image: str, *parents: ImageNode) -> Feed:
    return Feed(artifact=Artifact(kind="image", name=image), parents=tuple(parent.peer for parent in parents))


@asynccontextmanager
async def image_node(
    folder: Path,
    name: str,
    host: str,
    *,
    limit_bytes: int | None = None,
    pauses_s: Sequence[float] = (0.05, 0.05, 0.05),
) -> AsyncIterator[ImageNode]:
    place = Folder(folder / name)
    place.root.mkdir()
    place.make()
    store = Store(place.store)
    store.key = KEY
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = PeerServer(listener, store)
    await server.use(KEY)
    runtimes = Runtimes("docker", InstanceId(name), place, real_gpus=False, docker=host)
    kept = KeptImages(place, limit_bytes=limit_bytes)
    source = ImageSource(InstanceId(name), runtimes, LocalMachine(), store, kept, pauses_s=tuple(pauses_s))
    try:
        yield ImageNode(name, host, place, store, source, kept, f"127.0.0.1:{listener.getsockname()[1]}")
    finally:
        await source.close()
        await server.close()
        await runtimes.close()
