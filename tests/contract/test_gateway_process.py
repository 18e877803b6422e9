"""The gateway's process: how it starts, how it is found, told and stopped."""

import asyncio
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_world import WITHIN_S, eventually, gateway_process, routes

from fleetctl.errors import AgentFailure, Conflict, LeaseLost, UsageError
from fleetctl.gateway.link import UnixGatewayLink
from fleetctl.gateway.supervise import ensure_gateway, find_gateway, stop_gateway
from fleetctl.model.routes import Routes


@pytest.fixture(scope="module")
def process() -> Iterator[tuple[Path, int]]:
    with gateway_process() as running:
        yield running


async def test_a_new_store_begins_its_fences_anew(process: tuple[Path, int]) -> None:
    socket, _ = process
    link = UnixGatewayLink(socket)
    try:
        await eventually(link.health)
        await link.route(Routes(fence=7, epoch="old", routes=()))

        await link.route(Routes(fence=1, epoch="new", routes=()))

        assert (await link.health()).fence == 1
    finally:
        await link.close()


async def test_an_older_fence_is_refused(process: tuple[Path, int]) -> None:
    link = UnixGatewayLink(process[0])
    try:
        await eventually(link.health)
        await link.route(routes(fence=1))

        with pytest.raises(LeaseLost, match="fence 0"):
            await link.route(routes(fence=0))

        assert (await link.health()).fence == 1
        assert stat.S_IMODE(process[0].stat().st_mode) == 0o600
    finally:
        await link.close()


async def test_a_link_to_nobody_says_so(tmp_path: Path) -> None:
    link = UnixGatewayLink(tmp_path / "g.sock")
    try:
        with pytest.raises(AgentFailure, match="does not answer"):
            await link.stats()
    finally:
        await link.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for a socket's path."""
    with tempfile.TemporaryDirectory(prefix="fleetctl-gateway-") as made:
        yield Path(made)


async def test_a_gateway_is_started_once_outlives_its_starter_and_is_stopped(folder: Path) -> None:
    path, log = folder / "g.sock", folder / "logs" / "gateway.log"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))  # left by a process that died: nobody listens

    started = await ensure_gateway("127.0.0.1:0", path, log)
    try:
        again = await ensure_gateway(started.listen, path, log)
        with pytest.raises(Conflict, match="listens on"):
            await ensure_gateway("127.0.0.1:1", path, log)

        assert again.pid == started.pid
        assert os.getsid(started.pid) == os.getsid(started.pid) != os.getsid(0)
        assert os.getpgid(started.pid) != os.getpgid(0)
    finally:
        stopped = await stop_gateway(path)

    assert stopped
    assert await find_gateway(path) is None
    assert not path.exists()
    assert not await stop_gateway(path)
    assert f"pid {started.pid}" in log.read_text()


async def test_a_gateway_that_was_killed_is_replaced(folder: Path) -> None:
    path, log = folder / "g.sock", folder / "log"
    first = await ensure_gateway("127.0.0.1:0", path, log)
    os.kill(first.pid, signal.SIGKILL)
    async with asyncio.timeout(WITHIN_S):
        while await find_gateway(path) is not None:  # noqa: ASYNC110  another process
            await asyncio.sleep(0.02)

    second = await ensure_gateway("127.0.0.1:0", path, log)

    assert second.pid != first.pid
    await stop_gateway(path)


async def test_a_port_in_use_is_a_conflict_that_names_the_setting(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"

        with pytest.raises(Conflict, match=re.escape(listen)) as caught:
            await ensure_gateway(listen, folder / "g.sock", folder / "log")

    assert "--listen" in caught.value.hint
    assert "gateway.listen" in caught.value.hint
    assert not (folder / "g.sock").exists()


@pytest.mark.parametrize("listen", ["8080", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:70000"])
async def test_an_address_that_is_none_is_the_users_error(folder: Path, listen: str) -> None:
    with pytest.raises(UsageError, match="no address"):
        await ensure_gateway(listen, folder / "g.sock", folder / "log")


def test_a_second_gateway_on_the_same_socket_ends_with_7(process: tuple[Path, int], folder: Path) -> None:
    deadline_s = WITHIN_S
    argv = [sys.executable, "-m", "fleetctl.gateway", "--listen", "127.0.0.1:0", "--admin-socket", str(process[0])]

    ended = subprocess.run(argv, capture_output=True, text=True, timeout=deadline_s, check=False)

    assert ended.returncode == 7
    assert ended.stderr.startswith("error: another gateway already answers on ")
    assert process[0].exists()


def test_a_file_in_the_sockets_place_is_left_alone(folder: Path) -> None:
    path = folder / "g.sock"
    path.write_text("precious")
    argv = [sys.executable, "-m", "fleetctl.gateway", "--listen", "127.0.0.1:0", "--admin-socket", str(path)]

    ended = subprocess.run(argv, capture_output=True, text=True, timeout=WITHIN_S, check=False)

    assert ended.returncode == 7
    assert path.read_text() == "precious"
