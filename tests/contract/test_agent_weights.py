"""Weights through the agent as a real process: from a web server or another node, into the store, to the engine."""

import asyncio
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from agent_machines import BOUND_S, Machine, engines, spec, wanted
from aiohttp import web
from chunk_nodes import content

from fleetctl.agent.chunks.layout import CHUNK_LEAST_BYTES
from fleetctl.model.names import InstanceId
from fleetctl.model.nodes import Artifact, ArtifactState, ArtifactStatus, Feed, NodeDesired, NodeStatus, Peer
from fleetctl.model.replicas import ReplicaPhase
from fleetctl.node.links import NodeLinks
from fleetctl.node.local import UnixNodeLink
from fleetctl.node.peer_key import peer_key
from fleetctl.paths import Home

KEY = "5a" * 32
SIZE = 30 * CHUNK_LEAST_BYTES + 11


class Server:
    """A web server of one file, that can stop half-way."""

    def __init__(self) -> None:
        self.data = content(SIZE)
        self.stop_after_bytes: int | None = None
        self.sent = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        asked = request.http_range
        start, stop = asked.start or 0, min(asked.stop or SIZE, SIZE)
        if self.stop_after_bytes is not None and self.sent >= self.stop_after_bytes:
            await asyncio.Event().wait()
        self.sent += stop - start
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{SIZE}", "ETag": '"one"'}
        return web.Response(status=206, body=self.data[start:stop], headers=headers)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_get("/model.bin", made.answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    made.url = f"http://127.0.0.1:{listener.getsockname()[1]}/model.bin"
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


def weights(server: Server) -> Artifact:
    return Artifact(kind="weights", name=server.url)


def of(status: NodeStatus, artifact: Artifact) -> ArtifactStatus | None:
    return next((one for one in status.artifacts if one.artifact == artifact), None)


def is_present(status: NodeStatus, artifact: Artifact) -> bool:
    found = of(status, artifact)
    return found is not None and found.state is ArtifactState.PRESENT


def desired(server: Server, *, feed: Feed | None = None, key: str = KEY) -> NodeDesired:
    made = wanted(artifacts=(weights(server),))
    return replace(made, feeds=(feed,) if feed is not None else (), peer_key=key)


async def test_an_engine_is_given_the_folder_of_its_weights(tmp_path: Path, server: Server) -> None:
    async with machine(tmp_path / "i-1") as one:
        await one.up()
        await one.apply(wanted(spec(model=server.url, env=(("AT", "{weights}/model.bin"),))))

        replica = await one.until_phase(ReplicaPhase.READY)
        at = Path(psutil.Process(replica.pid).environ()["AT"])
        found = of(await one.link.status(one.address), weights(server))

        assert at.read_bytes() == server.data
        assert at.parent.parent == one.folder / "store" / "weights"
        assert [stage.name for stage in replica.stages] == ["weights", "engine"]
        assert (replica.stages[0].origin_bytes, replica.stages[0].peer_bytes) == (SIZE, 0)
        assert found is not None
        assert (found.bytes_done, found.bytes_total, found.origin_bytes, found.peer_bytes) == (SIZE, SIZE, SIZE, 0)
        assert at.parent.name == found.digest


async def test_kill_9_at_half_costs_at_most_one_chunk(tmp_path: Path, server: Server) -> None:
    async with machine(tmp_path / "i-1") as one:
        server.stop_after_bytes = SIZE // 2
        await one.up()
        await one.apply(desired(server))
        half = await one.until(
            lambda status: (
                (found := of(status, weights(server))) is not None
                and (found.bytes_done or 0) >= SIZE // 2 - CHUNK_LEAST_BYTES
            )
        )
        one.kill()
        server.stop_after_bytes = None

        await one.up()
        status = await one.until(lambda status: is_present(status, weights(server)))

        before, after = of(half, weights(server)), of(status, weights(server))
        assert before is not None and after is not None
        assert 0 < after.origin_bytes <= SIZE - (before.bytes_done or 0) + CHUNK_LEAST_BYTES


async def test_one_node_follows_another_and_says_so(tmp_path: Path, server: Server) -> None:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(machine(tmp_path / "i-1"))
        two = await stack.enter_async_context(machine(tmp_path / "i-2"))
        first = await one.up("--peers", "127.0.0.1:0")
        await two.up("--peers", "off")
        parent = Peer(instance=InstanceId("i-1"), address=first.peers)
        await two.apply(desired(server, feed=Feed(artifact=weights(server), parents=(parent,))))
        await one.apply(desired(server, feed=Feed(artifact=weights(server))))

        status = await two.until(lambda status: is_present(status, weights(server)))

        found = of(status, weights(server))
        assert found is not None and (found.origin_bytes, found.peer_bytes) == (0, SIZE)
        assert status.peers == ""
        assert server.sent <= SIZE + CHUNK_LEAST_BYTES  # a byte to learn its size


async def test_without_a_key_a_node_gives_nothing_and_goes_to_the_origin(tmp_path: Path, server: Server) -> None:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(machine(tmp_path / "i-1"))
        two = await stack.enter_async_context(machine(tmp_path / "i-2"))
        first = await one.up("--peers", "127.0.0.1:0")
        await two.up()
        await one.apply(desired(server, key=""))
        await one.until(lambda status: is_present(status, weights(server)))
        host, _, port = first.peers.rpartition(":")

        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=BOUND_S)
        parent = Peer(instance=InstanceId("i-1"), address=first.peers)
        await two.apply(desired(server, feed=Feed(artifact=weights(server), parents=(parent,)), key=""))
        status = await two.until(lambda status: is_present(status, weights(server)))

        found = of(status, weights(server))
        assert found is not None and (found.origin_bytes, found.peer_bytes) == (SIZE, 0)


async def test_the_way_to_a_node_brings_the_fleet_s_key_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    links = NodeLinks(home)
    async with machine(tmp_path / "i-1") as one:
        await one.up()

        await links.apply(one.address, wanted())

        kept = one.folder / "desired.json"
        assert peer_key(home) in kept.read_text()
        assert peer_key(home) not in (one.folder / "agent.log").read_text()
        assert not stat.S_IMODE(kept.stat().st_mode) & 0o077
    await links.close()


async def test_weights_that_are_wanted_again_are_there(tmp_path: Path, server: Server) -> None:
    async with machine(tmp_path / "i-1") as one:
        await one.up()
        await one.apply(desired(server))
        await one.until(lambda status: is_present(status, weights(server)))
        await one.apply(replace(wanted(), generation="none"))
        await one.until(lambda status: not status.artifacts)
        sent = server.sent

        await one.apply(desired(server))
        status = await one.until(lambda status: is_present(status, weights(server)))

        found = of(status, weights(server))
        assert found is not None and found.stage is not None and found.stage.detail == "was here"
        assert server.sent == sent
