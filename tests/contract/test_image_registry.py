"""An image on its way from a registry to a Docker, without a Docker: read once, given on while it still comes."""

import asyncio
import base64
import json
import os
import platform
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from image_nodes import ARCHITECTURES, BOUND_S, LeverRegistry, digest, lever_registry, made_image

from fleetctl.agent.chunks.store import Store
from fleetctl.agent.chunks.wire import name_of
from fleetctl.agent.images.credentials import login
from fleetctl.agent.images.origin import RegistryOrigin
from fleetctl.agent.images.refusals import Refusal
from fleetctl.agent.images.registry import LoopbackRegistry, described
from fleetctl.agent.origins.origin import Contents, OriginFile
from fleetctl.agent.runtimes.images import DockerFacts
from fleetctl.agent.sources.fetch import Fetch
from fleetctl.model.nodes import Artifact

MB = 1024 * 1024
HERE = DockerFacts(platform=f"linux/{ARCHITECTURES.get(platform.machine(), platform.machine())}")
QUICK = (0.01, 0.01, 0.01)


@pytest.fixture
async def registry() -> AsyncIterator[LeverRegistry]:
    async with lever_registry(made_image(1, 2 * MB, MB, MB, index=True)) as made:
        yield made


async def all_of(origin: RegistryOrigin) -> tuple[Contents, dict[str, bytes]]:
    """What the origin lists, and what it gives."""
    try:
        contents = await origin.contents()
        return contents, {one.path: await origin.read(one, 0, one.size) for one in contents.files}
    finally:
        await origin.close()


async def test_an_index_an_image_and_its_blobs_are_files(registry: LeverRegistry) -> None:
    contents, got = await all_of(RegistryOrigin(registry.by_digest, "i-1", HERE))

    image = registry.image
    here, index = image.manifests[0], image.manifests[-1]
    assert contents.revision == image.digest
    assert sorted(map(digest, got.values())) == sorted(map(digest, (here, index, *image.blobs.values())))
    assert all(digest(data) == f"sha256:{path.rpartition('-')[2]}" for path, data in got.items())
    assert [path.partition("/")[0] for path in got] == ["0-manifests"] * 2 + ["1-config"] + ["2-layers"] * 3
    assert all(one.sha256 is not None for one in contents.files)


async def test_any_range_of_a_layer_is_given(registry: LeverRegistry) -> None:
    origin = RegistryOrigin(registry.by_digest, "i-1", HERE)
    layer = max((await origin.contents()).files, key=lambda one: one.size)

    middle = await origin.read(layer, 1000, 70_000)
    await origin.close()

    assert middle == registry.image.blobs[f"sha256:{layer.sha256}"][1000:71_000]


async def test_a_tag_is_resolved(registry: LeverRegistry) -> None:
    origin = RegistryOrigin(registry.name, "i-1", HERE)

    assert await origin.digest() == registry.image.digest
    await origin.close()


async def test_another_manifest_than_the_digest_says_is_refused(registry: LeverRegistry) -> None:
    name = registry.by_digest
    registry.image = replace(registry.image, manifests=(*registry.image.manifests, registry.image.manifests[0] + b" "))
    registry.always = registry.image.manifests[-1]

    with pytest.raises(Refusal) as caught:
        await all_of(RegistryOrigin(name, "i-1", HERE, QUICK))

    assert caught.value.kind == "damaged"


@pytest.mark.parametrize(
    ("status", "code", "kind", "asked"),
    [(401, "UNAUTHORIZED", "login", 1), (404, "X", "missing", 1), (429, "X", "busy", 4), (503, "X", "other", 4)],
)
async def test_a_registry_that_refuses_is_asked_as_often_as_it_is_worth(
    registry: LeverRegistry, status: int, code: str, kind: str, asked: int
) -> None:
    registry.refuse = {"/manifests/": (status, code)}

    with pytest.raises(Refusal) as caught:
        await all_of(RegistryOrigin(registry.by_digest, "i-1", HERE, QUICK))

    assert caught.value.kind == kind
    assert registry.refused == asked
    assert "i-1" in caught.value.message


async def test_a_registry_that_wants_to_be_left_alone_is_left_alone(registry: LeverRegistry) -> None:
    registry.refuse = {"/manifests/": (429, "TOOMANYREQUESTS")}
    registry.retry_after_s = 3600

    with pytest.raises(Refusal) as caught:
        await all_of(RegistryOrigin(registry.by_digest, "i-1", HERE, QUICK))

    assert caught.value.after_s == 3600
    assert registry.refused == 1


async def test_a_registry_that_is_not_there_is_told() -> None:
    with pytest.raises(Refusal) as caught:
        await all_of(RegistryOrigin("127.0.0.1:9/tiny:1", "i-1", HERE, QUICK))

    assert "127.0.0.1:9 does not answer" in caught.value.message


async def test_a_mirror_is_asked_for_what_is_on_the_hub(registry: LeverRegistry) -> None:
    facts = replace(HERE, mirrors=(f"http://{registry.address}/",))

    contents, _ = await all_of(RegistryOrigin(f"acme/tiny@{registry.image.digest}", "i-1", facts))

    assert contents.revision == registry.image.digest


def test_a_login_is_read_as_docker_left_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"auth": base64.b64encode(b"me:se:cret").decode()}
    (tmp_path / "config.json").write_text(
        json.dumps({"auths": {"quay.io": entry, "https://index.docker.io/v1/": {"auth": "!"}, "ghcr.io": {}}})
    )
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    assert login("quay.io") == ("me", "se:cret")
    assert login("docker.io") is None
    assert login("ghcr.io") is None
    assert login("else.example") is None


def test_a_credential_helper_is_asked_as_docker_asks_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-cloud"
    helper.write_text(f'#!/bin/sh\ncat >{tmp_path}/asked-$1\necho \'{{"Username": "AWS", "Secret": "s3"}}\'\n')
    helper.chmod(0o755)
    helpers = {"one.example": "cloud", "two.example": "not-there", "three.example": "../../bin/sh"}
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": helpers}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    found = [login(name) for name in ("one.example", "two.example", "three.example", "four.example")]

    assert found == [("AWS", "s3"), None, None, None]
    assert (tmp_path / "asked-get").read_text() == "one.example"


class SlowOrigin:
    """An `Origin` whose last layer comes when it is let go."""

    def __init__(self, inner: RegistryOrigin) -> None:
        self._inner = inner
        self.go = asyncio.Event()
        self.last = ""

    async def contents(self) -> Contents:
        contents = await self._inner.contents()
        self.last = contents.files[-1].path
        return contents

    async def read(self, file: OriginFile, start: int, length: int) -> bytes:
        if file.path == self.last:
            await self.go.wait()
        return await self._inner.read(file, start, length)

    async def close(self) -> None:
        await self._inner.close()


async def test_docker_is_given_what_is_here_while_the_rest_still_comes(registry: LeverRegistry, tmp_path: Path) -> None:
    artifact = Artifact(kind="image", name=registry.by_digest)
    origin = SlowOrigin(RegistryOrigin(artifact.name, "i-1", HERE))
    store = Store(tmp_path)
    loopback = LoopbackRegistry(store)
    place = await loopback.offer("acme/tiny", name_of(artifact))
    coming = asyncio.ensure_future(store.get(Fetch(artifact), origin))
    await described(store, name_of(artifact))
    index = registry.image.manifests[-1]
    manifest = json.loads(registry.image.manifests[0])
    first, _, last = (layer["digest"] for layer in manifest["layers"])
    base = f"http://{place.replace('/acme', '/v2/acme', 1)}"

    async with asyncio.timeout(BOUND_S), aiohttp.ClientSession() as session:
        async with session.get(f"{base}/manifests/{registry.image.digest}") as answer:
            text, kind = await answer.read(), answer.headers["Content-Type"]
        async with session.get(f"{base}/blobs/{first}") as answer:
            whole = await answer.read()
        async with session.get(f"{base}/blobs/{last}") as answer:
            begun = not coming.done()
            origin.go.set()
            late = await answer.read()
        await coming
        async with session.get(f"{base}/blobs/{first}", headers={"Range": "bytes=100-"}) as answer:
            rest, status = await answer.read(), answer.status
        async with session.head(f"{base}/blobs/{first}") as answer:
            size = answer.headers["Content-Length"]
        async with session.get(f"{base}/blobs/{digest(b'none')}") as answer:
            missing = answer.status
        async with session.get(f"http://127.0.0.1:{loopback.port}/v2/") as answer:
            hello = answer.status
    await loopback.close()
    await origin.close()

    assert (text, kind) == (index, json.loads(index)["mediaType"])
    assert whole == registry.image.blobs[first]
    assert begun
    assert late == registry.image.blobs[last]
    assert (rest, status) == (whole[100:], 206)
    assert size == str(len(whole))
    assert (missing, hello) == (404, 200)


async def test_docker_is_told_when_the_rest_will_not_come(registry: LeverRegistry, tmp_path: Path) -> None:
    artifact = Artifact(kind="image", name=registry.by_digest)
    origin = SlowOrigin(RegistryOrigin(artifact.name, "i-1", HERE))
    store = Store(tmp_path)
    loopback = LoopbackRegistry(store)
    place = await loopback.offer("acme/tiny", name_of(artifact))
    coming = asyncio.ensure_future(store.get(Fetch(artifact), origin))
    await described(store, name_of(artifact))
    last = json.loads(registry.image.manifests[0])["layers"][-1]["digest"]

    place = place.replace("/acme", "/v2/acme", 1)
    async with (
        asyncio.timeout(BOUND_S),
        aiohttp.ClientSession() as session,
        session.get(f"http://{place}/blobs/{last}") as answer,
    ):
        coming.cancel()
        with pytest.raises(aiohttp.ClientError):
            await answer.read()
    await asyncio.gather(coming, return_exceptions=True)
    await loopback.close()
    await origin.close()
