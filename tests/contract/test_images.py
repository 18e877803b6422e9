"""Images by digest, through real Docker daemons and a real registry, which counts what it sends."""

import asyncio
import base64
import contextlib
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from image_nodes import (
    ELSEWHERE,
    ImageNode,
    LeverRegistry,
    RealRegistry,
    docker,
    docker_daemon,
    feed,
    ids,
    image_node,
    lever_registry,
    made_image,
    real_registry,
)

from fleetctl.agent.images.refusals import Refusal
from fleetctl.agent.sources.source import Got
from fleetctl.errors import AgentFailure
from fleetctl.model.images import image_name
from fleetctl.model.names import InstanceId
from fleetctl.model.nodes import Artifact, ArtifactState, Peer

pytestmark = [pytest.mark.docker, pytest.mark.slow]

ALONE = ("--bridge=none", "--iptables=false")
"""Several daemons in one network: none has a bridge of its own."""
MB = 1024 * 1024
BOUND_S = 100.0


@pytest.fixture(scope="module")
def daemons() -> Iterator[list[str]]:
    """Of three machines."""
    with ExitStack() as stack:
        yield [stack.enter_context(docker_daemon(*ALONE)) for _ in range(3)]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    with real_registry(tmp_path_factory.mktemp("registry")) as made:
        yield made


@pytest.fixture
async def nodes(tmp_path: Path, daemons: list[str]) -> AsyncIterator[list[ImageNode]]:
    """Three machines, with whose Docker no test before has left an image."""
    for host in daemons:
        for image in ids(host):
            docker(host, "image", "rm", "-f", image)
    async with asyncio.timeout(BOUND_S), AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(image_node(tmp_path, f"i-{number + 1}", host))
            for number, host in enumerate(daemons)
        ]


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(round(BOUND_S / 0.01)):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not within the bound")


def large_files(node: ImageNode) -> list[Path]:
    found = []
    for folder, _, names in os.walk(node.folder.store):  # which passes over what leaves meanwhile
        for path in (Path(folder) / name for name in names):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_size > MB:
                    found.append(path)
    return found


def by_digest(name: str, digest: str) -> str:
    return image_name(name).at(digest)


async def test_tag_is_pulled_once_and_its_digest_told(nodes: list[ImageNode], registry: RealRegistry) -> None:
    image = made_image(1, 2 * MB)
    name = registry.push(image, "acme/one", "v1")

    got = await nodes[0].source.get(nodes[0].want(name))
    before = registry.sent
    again = await nodes[0].source.get(nodes[0].want(by_digest(name, image.digest)))

    assert got.digest == image.digest
    assert got.pulled
    assert (again.digest, again.detail) == (image.digest, "was here")
    assert registry.sent == before, "by its digest it is here already"


async def test_start_from_standby_moves_no_byte_from_the_registry(
    nodes: list[ImageNode], registry: RealRegistry
) -> None:
    image = made_image(2, MB, say="served")
    name = by_digest(registry.push(image, "acme/standby", "v1"), image.digest)
    first = await nodes[0].source.get(nodes[0].want(name))
    before = registry.sent

    here = await nodes[0].source.here(Artifact(kind="image", name=name), first)
    again = await nodes[0].source.get(nodes[0].want(name))
    said = docker(nodes[0].host, "run", "--rm", "--network", "none", again.path)

    assert here
    assert said.stdout == b"served\n"
    assert registry.sent == before


async def test_image_removed_by_hand_is_missed_and_comes_again(nodes: list[ImageNode], registry: RealRegistry) -> None:
    image = made_image(3, MB)
    name = by_digest(registry.push(image, "acme/removed", "v1"), image.digest)
    got = await nodes[0].source.get(nodes[0].want(name))
    docker(nodes[0].host, "image", "rm", "-f", *ids(nodes[0].host))

    here = await nodes[0].source.here(Artifact(kind="image", name=name), got)
    again = await nodes[0].source.get(nodes[0].want(name))

    assert not here
    assert again.detail == ""
    assert len(ids(nodes[0].host)) == 1


async def test_tag_that_moved_is_not_what_the_digest_gives(nodes: list[ImageNode], registry: RealRegistry) -> None:
    old, new = made_image(4, MB, say="old"), made_image(5, MB, say="new")
    name = registry.push(old, "acme/moves", "v1")
    await nodes[0].source.get(nodes[0].want(name))
    registry.push(new, "acme/moves", "v1")

    got = await nodes[1].source.get(nodes[1].want(by_digest(name, old.digest)))
    said = docker(nodes[1].host, "run", "--rm", "--network", "none", got.path)

    assert said.stdout == b"old\n"


async def test_two_names_of_one_image_that_are_wanted_in_turn_are_one_pull(
    nodes: list[ImageNode], registry: RealRegistry
) -> None:
    image = made_image(6, 8 * MB)
    name = registry.push(image, "acme/turns", "v1")
    before = registry.sent
    by_tag = asyncio.ensure_future(nodes[0].source.get(nodes[0].want(name)))
    await asyncio.sleep(0)

    by_tag.cancel()  # as when the controller says its digest instead
    got = await nodes[0].source.get(nodes[0].want(by_digest(name, image.digest)))

    assert got.digest == image.digest
    assert registry.sent - before <= image.size * 1.02 + 10_000


@pytest.mark.parametrize("index", [False, True], ids=["manifest", "index"])
async def test_image_leaves_its_registry_once_for_three_nodes(
    nodes: list[ImageNode], registry: RealRegistry, index: bool
) -> None:
    image = made_image(7 + index, 3 * MB, 2 * MB, MB, index=index, say="passed on")
    name = by_digest(registry.push(image, f"acme/chain{index:d}", "v1"), image.digest)
    before = registry.sent
    one, two, three = nodes
    feeds = [(one, feed(name)), (two, feed(name, one)), (three, feed(name, two, one))]
    fetches = [node.want(name, given) for node, given in feeds]

    got = await asyncio.gather(*(node.source.get(fetch) for node, fetch in zip(nodes, fetches, strict=True)))

    sent = registry.sent - before
    assert image.size <= sent <= image.size * 1.05
    statuses = [fetch.status(ArtifactState.PRESENT) for fetch in fetches]
    assert [status.origin_bytes > 0 for status in statuses] == [True, False, False]
    assert [status.peer_bytes > 0 for status in statuses] == [False, True, True]
    assert {one.digest for one in got} == {image.digest}
    run = ("run", "--rm", "--network", "none")
    said = [docker(node.host, *run, one.path).stdout for node, one in zip(nodes, got, strict=True)]
    assert said == [b"passed on\n"] * 3
    assert len(set.union(*(ids(node.host) for node in nodes))) == 1, "the same image everywhere"


async def test_node_that_came_by_chunks_starts_again_without_a_byte(
    nodes: list[ImageNode], registry: RealRegistry, tmp_path: Path
) -> None:
    image = made_image(9, MB)
    name = by_digest(registry.push(image, "acme/again", "v1"), image.digest)
    first = nodes[0].source.get(nodes[0].want(name, feed(name)))
    second = nodes[1].source.get(nodes[1].want(name, feed(name, nodes[0])))
    await asyncio.gather(first, second)
    before = registry.sent

    again = await nodes[1].source.get(nodes[1].want(name))

    assert again.detail == "was here"
    assert registry.sent == before
    listed = docker(nodes[1].host, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}").stdout.decode().split()
    assert listed == [again.path]
    assert again.path.startswith(f"{registry.address}/acme/again:fleetctl-")


async def test_chunks_are_dropped_when_no_feed_wants_them(nodes: list[ImageNode], registry: RealRegistry) -> None:
    image = made_image(10, 2 * MB)
    name = by_digest(registry.push(image, "acme/dropped", "v1"), image.digest)
    node = nodes[0]
    fetch = node.want(name, feed(name))
    await node.source.get(fetch)
    status = fetch.status(ArtifactState.PRESENT)
    while_fed = node.source.told(status).shared
    held = large_files(node)

    node.want(name)
    after = node.source.told(status).shared
    await until(lambda: not large_files(node))

    assert while_fed
    assert not after
    assert held
    assert await node.source.here(fetch.artifact, Got())


async def test_by_tag_nobody_pulls_until_the_digest_is_known(nodes: list[ImageNode], registry: RealRegistry) -> None:
    image = made_image(11, 4 * MB)
    name = registry.push(image, "acme/asked", "v1")
    before = registry.sent
    reader, follower = nodes[0].want(name, feed(name)), nodes[1].want(name, feed(name, nodes[0]))
    waiting = [
        asyncio.ensure_future(nodes[0].source.get(reader)),
        asyncio.ensure_future(nodes[1].source.get(follower)),
    ]

    await until(lambda: bool(reader.digest))
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

    assert reader.status(ArtifactState.FETCHING).digest == image.digest
    assert follower.digest == ""
    assert registry.sent - before < 10_000, "a manifest, and no layer"


async def test_follower_whose_parent_goes_silent_fetches_it_at_the_registry(
    nodes: list[ImageNode], registry: RealRegistry
) -> None:
    image = made_image(12, MB)
    name = by_digest(registry.push(image, "acme/alone", "v1"), image.digest)
    nobody = Peer(instance=InstanceId("i-9"), address="127.0.0.1:9")
    fetch = nodes[1].want(name, replace(feed(name), parents=(nobody,)))

    got = await nodes[1].source.get(fetch)

    assert got.digest == image.digest
    assert fetch.status(ArtifactState.PRESENT).origin_bytes >= image.size


# what stays and what goes


@pytest.fixture
async def small(tmp_path: Path, daemons: list[str]) -> AsyncIterator[ImageNode]:
    """A machine that keeps 13 MB of images: three of 4 MB, or two of 5."""
    for image in ids(daemons[0]):
        docker(daemons[0], "image", "rm", "-f", image)
    async with image_node(tmp_path, "i-1", daemons[0], limit_bytes=13 * MB) as node:
        yield node


async def test_images_that_nothing_wants_stay_until_there_is_no_room(small: ImageNode, registry: RealRegistry) -> None:
    names = []
    for number in range(4):
        image = made_image(20 + number, 2 * MB)
        names.append(by_digest(registry.push(image, f"acme/kept{number}", "v1"), image.digest))
    for name in names[:2]:
        await small.source.get(small.want(name))
        await small.drop(name)
    both = len(ids(small.host))

    await small.source.get(small.want(names[0]))  # wanted once more: the other one is now the oldest
    await small.drop(names[0])
    await small.source.get(small.want(names[2]))
    await small.source.get(small.want(names[3]))

    assert both == 2
    held = [docker(small.host, "image", "inspect", name, check=False).returncode == 0 for name in names]
    assert held == [True, False, True, True]


async def test_no_image_goes_that_a_container_has_or_that_was_here_before(
    small: ImageNode, registry: RealRegistry
) -> None:
    theirs = registry.push(made_image(30, 3 * MB), "acme/theirs", "v1")
    docker(small.host, "pull", theirs)
    images = [made_image(31 + number, 3 * MB, say="x") for number in range(3)]
    names = [
        by_digest(registry.push(image, f"acme/used{number}", "v1"), image.digest) for number, image in enumerate(images)
    ]
    await small.source.get(small.want(theirs))
    await small.drop(theirs)
    await small.source.get(small.want(names[0]))
    docker(small.host, "create", "--name", "theirs", "--network", "none", names[0])
    try:
        for name in names[1:]:
            await small.drop(next(iter(small.wanted)).name)
            await small.source.get(small.want(name))
        held = [docker(small.host, "image", "inspect", name, check=False).returncode == 0 for name in (theirs, *names)]
    finally:
        docker(small.host, "rm", "-f", "theirs")

    assert held == [True, True, False, True]


async def test_what_the_first_boot_pulled_is_ours_to_remove(small: ImageNode, registry: RealRegistry) -> None:
    at_boot = registry.push(made_image(40, 3 * MB), "acme/boot", "v1")
    docker(small.host, "pull", at_boot)
    small.folder.pulled_at_boot.write_text(f"{at_boot}\n")
    images = [made_image(41, 3 * MB), made_image(42, 3 * MB)]
    names = [by_digest(registry.push(image, f"acme/after{at}", "v1"), image.digest) for at, image in enumerate(images)]

    for name in names:
        await small.source.get(small.want(name))

    assert docker(small.host, "image", "inspect", at_boot, check=False).returncode != 0
    assert len(ids(small.host)) == 2


# refusals, by a registry of ours


@pytest.fixture
async def levers() -> AsyncIterator[LeverRegistry]:
    async with lever_registry(made_image(50, MB)) as made:
        yield made


async def refused(node: ImageNode, name: str, *, in_chunks: bool) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await node.source.get(node.want(name, feed(name) if in_chunks else None))
    assert caught.value.message.count(node.name) == 1
    assert name in caught.value.message or image_name(name).path in caught.value.message
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("in_chunks", [False, True], ids=["docker", "chunks"])
@pytest.mark.parametrize(
    ("status", "code", "kind", "said"),
    [
        (401, "UNAUTHORIZED", "login", "does not let i-1 have image"),
        (403, "DENIED", "login", "does not let i-1 have image"),
        (404, "MANIFEST_UNKNOWN", "missing", "has no tiny with digest sha256:"),
        (429, "TOOMANYREQUESTS", "busy", "too many requests (429)"),
    ],
)
async def test_refusal_names_node_image_and_what_to_do(
    nodes: list[ImageNode], levers: LeverRegistry, status: int, code: str, kind: str, said: str, in_chunks: bool
) -> None:
    levers.refuse = {"/manifests/": (status, code)}
    levers.retry_after_s = 0

    found = await refused(nodes[0], levers.by_digest, in_chunks=in_chunks)

    assert found.kind == kind
    assert said in found.message


async def test_login_of_the_machine_opens_a_private_registry(
    nodes: list[ImageNode], levers: LeverRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levers.login = "me:secret"
    settings = tmp_path / "docker" / "config.json"
    settings.parent.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(settings.parent))
    refusal = await refused(nodes[0], levers.by_digest, in_chunks=False)

    settings.write_text(json.dumps({"auths": {levers.address: {"auth": base64.b64encode(b"me:secret").decode()}}}))
    got = await nodes[0].source.get(nodes[0].want(levers.by_digest))

    assert refusal.kind == "login"
    assert got.digest == levers.image.digest


@pytest.mark.parametrize("in_chunks", [False, True], ids=["docker", "chunks"])
async def test_registry_that_is_asked_too_often_is_asked_again(
    nodes: list[ImageNode], levers: LeverRegistry, in_chunks: bool
) -> None:
    levers.refuse = {"/blobs/" if in_chunks else "/manifests/": (429, "TOOMANYREQUESTS")}
    levers.times, levers.retry_after_s = 2, 0

    got = await nodes[0].source.get(nodes[0].want(levers.by_digest, feed(levers.by_digest) if in_chunks else None))

    assert got.digest == levers.image.digest
    assert levers.refused == 2


@pytest.mark.parametrize("in_chunks", [False, True], ids=["docker", "chunks"])
async def test_layers_that_are_not_what_was_promised_are_refused(
    nodes: list[ImageNode], levers: LeverRegistry, in_chunks: bool
) -> None:
    levers.other = b"\1" * MB

    with pytest.raises(AgentFailure) as caught:
        await nodes[0].source.get(nodes[0].want(levers.by_digest, feed(levers.by_digest) if in_chunks else None))

    assert "is not what its" in caught.value.message
    assert ids(nodes[0].host) == set()


@pytest.mark.parametrize("in_chunks", [False, True], ids=["docker", "chunks"])
async def test_image_for_another_machine_is_refused(
    nodes: list[ImageNode], levers: LeverRegistry, in_chunks: bool
) -> None:
    made = made_image(51, MB, index=True)
    index = json.loads(made.manifests[-1])
    index["manifests"] = [one for one in index["manifests"] if one["platform"]["architecture"] == ELSEWHERE]
    levers.image = replace(made, manifests=(made.manifests[0], json.dumps(index).encode()))

    found = await refused(nodes[0], levers.by_digest, in_chunks=in_chunks)

    assert found.kind == "platform"
    assert "has no variant for linux/" in found.message


async def test_docker_that_is_not_there_is_told(tmp_path: Path) -> None:
    async with image_node(tmp_path, "i-1", f"unix://{tmp_path}/none.sock") as node:
        with pytest.raises(AgentFailure) as caught:
            await node.source.get(node.want("quay.io/acme/one:v1"))

    assert "i-1" in caught.value.message
    assert "no Docker daemon answers" in caught.value.message
    assert "start Docker on this node" in caught.value.hint


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Of 40 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"needs to mount a small disk: {mounted.stderr.decode()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


async def test_full_disk_lets_go_of_the_unwanted_and_then_says_so(
    tmp_path: Path, small_disk: Path, registry: RealRegistry
) -> None:
    images = [made_image(60, 14 * MB), made_image(61, 14 * MB), made_image(62, 60 * MB)]
    names = [by_digest(registry.push(image, f"acme/full{at}", "v1"), image.digest) for at, image in enumerate(images)]
    with docker_daemon(*ALONE, "--storage-driver=vfs", place=small_disk) as host:
        async with asyncio.timeout(BOUND_S), image_node(tmp_path, "i-1", host, limit_bytes=100 * MB) as node:
            await node.source.get(node.want(names[0]))
            await node.drop(names[0])
            first = ids(host)
            await node.source.get(node.want(names[1]))
            second = ids(host)
            with pytest.raises(Refusal) as caught:
                await node.source.get(node.want(names[2]))

    assert (len(first), len(second)) == (1, 1)
    assert first != second, "the first one made room for the second"
    assert caught.value.kind == "full"
    assert "i-1 has no room for image" in caught.value.message
    assert "disk_gb" in caught.value.hint
