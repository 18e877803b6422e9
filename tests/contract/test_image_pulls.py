"""A pull by Docker that breaks off: whatever the reason, its connection to the daemon has ended with it."""

import asyncio
import base64
import json
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from fleetctl.agent.images.refusals import Refusal
from fleetctl.agent.runtimes.daemon import DockerDaemon
from fleetctl.agent.runtimes.images import DockerImages
from fleetctl.errors import AgentFailure
from fleetctl.model.names import InstanceId

WITHIN_S = 10.0
DOWNLOADING = {"id": "a1", "status": "Downloading", "progressDetail": {"current": 10, "total": 40}}


@dataclass
class Pulling:
    """What of Docker's API a pull needs, with a stream that stops where the test wants it to."""

    says: list[object] = field(default_factory=lambda: [DOWNLOADING])
    status: int = 200
    stays: bool = True
    """After what it says it says nothing more, and keeps the connection."""
    breaks: bool = False
    """After what it says the connection breaks."""
    asked: list[web.Request] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Whoever pulled has gone."""

    async def create(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.status != 200:
            return web.json_response({"message": "pull access denied"}, status=self.status)
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        for one in self.says:
            await answer.write(json.dumps(one).encode() + b"\r\n")
        transport = request.transport
        assert transport is not None
        if self.breaks:
            transport.abort()
        while self.stays and not transport.is_closing():  # noqa: ASYNC110  it has no event
            await asyncio.sleep(0.01)
        self.left.set()
        return answer


@dataclass
class World:
    docker: Pulling
    images: DockerImages
    heard: list[tuple[int, int]] = field(default_factory=list)

    async def pull(self, name: str = "127.0.0.1:5000/acme/one:v1") -> None:
        await self.images.pull(name, lambda done, total: self.heard.append((done, total)))


async def about(_: web.Request) -> web.Response:
    """What Docker says of itself, whatever it is asked."""
    return web.json_response({"ApiVersion": "1.43", "Os": "linux", "Arch": "amd64"})


@pytest.fixture
async def world() -> AsyncIterator[World]:
    docker = Pulling()
    app = web.Application()
    app.router.add_post(r"/{version:(v[\d.]+/)?}images/create", docker.create)
    app.router.add_get("/{rest:.*}", about)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    with tempfile.TemporaryDirectory(prefix="fleetctl-docker-") as folder:
        path = Path(folder) / "docker.sock"
        await web.UnixSite(runner, str(path)).start()
        daemon = DockerDaemon(f"unix://{path}")
        try:
            yield World(docker, DockerImages(daemon, InstanceId("i-1")))
        finally:
            await daemon.close()
            await runner.cleanup()


async def gone(world: World) -> None:
    async with asyncio.timeout(WITHIN_S):
        await world.docker.left.wait()


async def test_pull_that_is_cancelled_while_it_reads_leaves_at_once(world: World) -> None:
    pulling = asyncio.ensure_future(world.pull())
    async with asyncio.timeout(WITHIN_S):
        while not world.heard:  # noqa: ASYNC110  what is watched has no event
            await asyncio.sleep(0.01)

    pulling.cancel()
    # Held on to, as a log or a debugger may: what is closed is not left to the garbage collector.
    (error,) = await asyncio.gather(pulling, return_exceptions=True)
    await gone(world)

    assert isinstance(error, asyncio.CancelledError)
    assert world.heard == [(10, 40)]


async def test_pull_whose_listener_fails_leaves_at_once(world: World) -> None:
    def fails(done: int, total: int) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError) as caught:
        await world.images.pull("acme/one", fails)
    await gone(world)

    assert str(caught.value) == "no"
    assert dict(world.docker.asked[0].query) == {"fromImage": "acme/one", "tag": "latest"}


async def test_refusal_on_the_way_is_told_and_leaves_at_once(world: World) -> None:
    world.docker.says.append({"errorDetail": {"message": "manifest unknown"}, "error": "manifest unknown"})

    with pytest.raises(Refusal) as caught:
        await world.pull()
    await gone(world)

    assert caught.value.kind == "missing"


async def test_refusal_at_once_is_told(world: World) -> None:
    world.docker.status = 403

    with pytest.raises(Refusal) as caught:
        await world.pull()

    assert caught.value.kind == "login"


async def test_docker_that_ends_in_the_middle_is_no_success(world: World) -> None:
    world.docker.breaks = True

    with pytest.raises(AgentFailure, match="no Docker daemon answers"):
        await world.pull()


async def test_login_of_the_machine_goes_along(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    key = base64.b64encode(b"me:secret").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"127.0.0.1:5000": {"auth": key}}}))
    world.docker.stays = False

    await world.pull("127.0.0.1:5000/acme/one@sha256:" + "0" * 64)

    (asked,) = world.docker.asked
    assert json.loads(base64.urlsafe_b64decode(asked.headers["X-Registry-Auth"])) == {
        "username": "me",
        "password": "secret",
        "serveraddress": "127.0.0.1:5000",
    }
    assert "tag" not in asked.query
