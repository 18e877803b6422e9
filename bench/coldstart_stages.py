"""Stages of a start side by side, on one real node agent: image, weights and engine cache, then the engine.

The image comes through a Docker daemon of its own from a registry, the weights from a web server, the cache from a
second agent that has compiled it; each over a link of its own rate, and then all three over one. Each is measured alone
on a fresh Node first. Needs root, `dockerd` and a static `busybox`. `python bench/coldstart_stages.py [--mb 24]`.
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path

from stages.servers import Link, registry, way, web_server

sys.path.extend(str(Path(__file__).parents[1] / "tests" / name) for name in ("", "contract"))
from agent_machines import Machine, of, wanted
from figures import report
from image_nodes import MadeImage, docker_daemon, made_image

from fleetctl.decide.engine_cache import CacheKey
from fleetctl.model.names import InstanceId, ReplicaId, ServiceName
from fleetctl.model.nodes import (
    Artifact,
    ArtifactState,
    CacheFolder,
    EngineCache,
    Feed,
    NodeDesired,
    NodeStatus,
    Peer,
    ReplicaSpec,
)
from fleetctl.model.replicas import ReplicaPhase, Stage
from fleetctl.node.local import UnixNodeLink

MB = 1_000_000
OWN_RATE = 8.0 * MB
SHARED_RATE = 12.0 * MB
COMPILE_S = 6.0
KEY = "5a" * 32
CACHE = Artifact(kind="cache", name="c" * 64)
WHAT = ("image", "weights", "cache")


@dataclass
class Origins:
    """What a Node fetches, where from."""

    image: str
    weights: str
    peer: Peer
    sent: "dict[str, object]"

    def bytes_of(self, what: str) -> int:
        return int(self.sent[what].sent)  # type: ignore[attr-defined]


def spec(origins: Origins, number: int, what: tuple[str, ...] = WHAT) -> ReplicaSpec:
    return ReplicaSpec(
        id=ReplicaId(f"chat-{number}"),
        service=ServiceName("chat"),
        revision="r1",
        engine="rehearsal",
        model=origins.weights if "weights" in what else "rehearsal://tiny",
        concurrency=4,
        command=(
            *("{python}", "-m", "fleetctl.rehearsal", "--port", "{port}", "--model", "tiny"),
            *("--compile-s", str(COMPILE_S), "--compile-bytes", str(12 * MB)),
        ),
        image=origins.image if "image" in what else None,
        gpus=(number % 2,),
        cache=EngineCache(artifact=CACHE, folders=(CacheFolder(path="~/.cache", env="REHEARSAL_CACHE_DIR"),)),
    )


def desired(*specs: ReplicaSpec, origins: Origins | None = None, held: tuple[Artifact, ...] = ()) -> NodeDesired:
    made = replace(wanted(*specs, artifacts=held), peer_key=KEY)
    if origins is None:
        return made
    return replace(made, feeds=(Feed(artifact=CACHE, parents=(origins.peer,)),))


@asynccontextmanager
async def machine(name: str, host: str) -> AsyncIterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="fleetctl-stages-") as root:
        folder = Path(root) / name
        folder.mkdir()
        link = UnixNodeLink()
        made = Machine(folder=folder, link=link)
        await made.up("--peers", "127.0.0.1:0", "--runtime", "auto", "--instance", name, DOCKER_HOST=host)
        try:
            yield made
        finally:
            await link.close()
            await made.run("--halt", DOCKER_HOST=host)
            if made.agent is not None:
                await asyncio.to_thread(made.agent.wait, 20)


@asynccontextmanager
async def origins_of(image: MadeImage, size: int, holder: str, links: dict[str, Link]) -> AsyncIterator[Origins]:
    weights = random.Random(2).randbytes(size)
    async with (
        registry(links["image"], image.blobs, image.manifests[-1]) as images,
        web_server(links["weights"], {"model.bin": weights}) as files,
        way(links["cache"], holder) as there,
    ):
        yield Origins(
            image=f"{images.address}/engine@{image.digest}",
            weights=f"http://{files.address}/model.bin",
            peer=Peer(instance=InstanceId("i-0"), address=there.address),
            sent={"image": images, "weights": files, "cache": there},
        )


def took(stages: tuple[Stage, ...], name: str) -> float:
    return next((stage.ended_at or 0.0) - stage.started_at for stage in stages if stage.name == name)


async def started(node: Machine, order: NodeDesired, number: int) -> tuple[float, float, tuple[Stage, ...]]:
    """Seconds from the order until all was there, seconds of the engine, and all stages."""
    await node.apply(order)
    replica = await node.until_phase(ReplicaPhase.READY, f"chat-{number}")
    begun = next(stage.started_at for stage in replica.stages if stage.name == "engine")
    return begun - (replica.accepted_at or begun), took(replica.stages, "engine"), replica.stages


async def one_start(host: str, origins: Origins, what: tuple[str, ...]) -> tuple[float, float]:
    """On a fresh Node: how long those took together, and the engine after them."""
    held = (CACHE,) if "cache" in what else ()
    async with machine("i-1", host) as node:
        order = desired(spec(origins, 1, what), origins=origins if held else None, held=held)
        there_s, engine_s, stages = await started(node, order, 1)
        shown = ", ".join(f"{one.name} {(one.ended_at or 0) - one.started_at:.2f} s" for one in stages)
        print(f"  {'+'.join(what)}: there after {there_s:.2f} s ({shown})", file=sys.stderr)
        return there_s, engine_s


def cleared(host: str) -> None:
    os.system(f"docker -H {host} image prune -af >/dev/null 2>&1")


async def overlap(name: str, host: str, image: MadeImage, size: int, holder: str, links: dict[str, Link]) -> None:
    """All three at once against each alone."""
    print(f"{name}:", file=sys.stderr)
    async with origins_of(image, size, holder, links) as origins:
        alone = []
        for what in WHAT:
            cleared(host)
            alone.append((await one_start(host, origins, (what,)))[0])
        before = {what: origins.bytes_of(what) for what in WHAT}
        cleared(host)
        together, _ = await one_start(host, origins, WHAT)
        moved = {what: origins.bytes_of(what) - before[what] for what in WHAT}
    by_link: dict[int, float] = {}
    for what, count in moved.items():
        by_link[id(links[what])] = by_link.get(id(links[what]), 0.0) + count / links[what].rate
    floor = max(*alone, *by_link.values())
    print(f"  serial {sum(alone):.2f} s, floor {floor:.2f} s, together {together:.2f} s", file=sys.stderr)
    report(f"{name}_ratio", together / floor, "x max(longest stage, bytes/B)", at_most=1.15)
    report(f"{name}_of_serial", together / sum(alone), "x serial sum", at_most=1.0)


async def scale_out(host: str, image: MadeImage, size: int, holder: str, links: dict[str, Link]) -> None:
    """A Node holds all beforehand, as a standby does; then a Replica is put on it, and one more."""
    async with origins_of(image, size, holder, links) as origins, machine("i-1", host) as node:
        cleared(host)
        artifacts = (
            Artifact(kind="image", name=origins.image),
            Artifact(kind="weights", name=origins.weights),
            CACHE,
        )
        await node.apply(desired(origins=origins, held=artifacts))
        await node.until(lambda status: all_present(status, artifacts))
        before = {what: origins.bytes_of(what) for what in WHAT}
        first = desired(spec(origins, 1), origins=origins, held=artifacts)
        there_s, warm_s, _ = await started(node, first, 1)
        second = desired(spec(origins, 1), spec(origins, 2), origins=origins, held=artifacts)
        await started(node, second, 2)
        moved = {what: origins.bytes_of(what) - before[what] for what in WHAT}
    print(f"scale-out: there after {there_s:.3f} s, engine {warm_s:.2f} s, moved {moved}", file=sys.stderr)
    report("scale_out_registry_bytes", moved["image"], "bytes", at_most=0)
    report("scale_out_weight_bytes", moved["weights"], "bytes", at_most=0)
    report("scale_out_cache_bytes", moved["cache"], "bytes", at_most=0)


def all_present(status: NodeStatus, artifacts: tuple[Artifact, ...]) -> bool:
    present = {one.artifact for one in status.artifacts if one.state is ArtifactState.PRESENT}
    return present >= set(artifacts)


def key_measure() -> None:
    """One start, and every start that differs from it in one field."""
    key = CacheKey(
        built="sha256:1",
        gpu="NVIDIA H100 80GB HBM3",
        gpus=8,
        driver="550.54.15",
        cuda="12.4",
        instructions="a1",
        model="hf://meta-llama/Llama-3.1-70B@1d54af3",
        arguments=("--tensor-parallel-size", "8", "--max-model-len", "8192", "--dtype", "bfloat16"),
        environment=(("VLLM_USE_V1", "1"),),
    )
    changed = [replace(key, **{one.name: _other(getattr(key, one.name))}) for one in fields(CacheKey)]
    changed += [replace(key, arguments=(*key.arguments[:at], "0", *key.arguments[at + 1 :])) for at in range(6)]
    hits = sum(replace(key).name == key.name for _ in range(1000))
    misses = sum(one.name != key.name for one in changed)
    report("cache_key_hits", hits / 1000, "of identical starts", at_least=1.0)
    report("cache_key_misses", misses / len(changed), f"of {len(changed)} single changes", at_least=1.0)


def _other(value: object) -> object:
    if isinstance(value, int):
        return value + 1
    return f"{value}x" if isinstance(value, str) else ()


async def measured(size: int) -> None:
    image = made_image(7, size)
    with docker_daemon("--bridge=none", "--iptables=false") as host:
        async with machine("i-0", host) as holder:
            rehearsed = replace(spec(Origins("", "", Peer(instance=InstanceId(""), address=""), {}), 1, ()), image=None)
            _, cold_s, _ = await started(holder, desired(rehearsed), 1)
            status = await holder.until(lambda status: all_present(status, (CACHE,)))
            own = {what: Link(OWN_RATE) for what in WHAT}
            await overlap("own_links", host, image, size, status.peers, own)
            shared = dict.fromkeys(WHAT, Link(SHARED_RATE))
            await overlap("one_link", host, image, size, status.peers, shared)
            await scale_out(host, image, size, status.peers, {what: Link(100 * OWN_RATE) for what in WHAT})
            warm = await engine_again(holder, rehearsed)
    report("engine_with_cache", warm / cold_s, "x engine without", at_most=0.5)
    key_measure()


async def engine_again(node: Machine, first: ReplicaSpec) -> float:
    """The same engine started anew where its working folder is gone."""
    await node.apply(desired())
    working = node.folder / "working"
    await node.until(lambda status: not status.replicas and not any(working.glob("?" * 64)))
    await node.apply(desired(replace(first, id=ReplicaId("chat-3"))))
    replica = await node.until_phase(ReplicaPhase.READY, "chat-3")
    return took(of(await node.until(lambda _: True), "chat-3").stages or replica.stages, "engine")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mb", type=int, default=24, help="of the image and of the weights")
    asyncio.run(measured(parser.parse_args().mb * MB))


if __name__ == "__main__":
    main()
