"""`fleetctl top --web` as a browser meets it: the page, its socket, and who is refused."""

import asyncio
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from fleet_of_eight import eight
from pictures import Stored

from fleetctl.store import open_store
from fleetctl.tui.web import own_sources

STARTED_S = 30.0
"""A loaded machine needs seconds for what takes one."""

served = pytest.mark.skipif(
    importlib.util.find_spec("textual_serve") is None, reason="textual-serve is not installed: pip install -e '.[web]'"
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    store = open_store(str(tmp_path / "fleet.db"))
    fleet = Stored(store, eight(time.time()))
    fleet.begin()
    fleet.tick(at=time.time() - 1.0)
    store.close()
    return tmp_path


@pytest.fixture
def server(home: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`fleetctl top --web` at a free port, and that port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    words = [sys.executable, "-m", "fleetctl", "top", "--web", "--port", str(port)]
    environment = {**os.environ, "FLEETCTL_HOME": str(home)}
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process, port
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@served
async def test_a_browser_sees_the_dashboard_read_only_and_leaves_it(server: tuple[subprocess.Popen[str], int]) -> None:
    process, port = server
    assert process.stdout is not None
    assert await asyncio.to_thread(process.stdout.readline) == f"http://127.0.0.1:{port}/\n"

    async with asyncio.timeout(2 * STARTED_S), aiohttp.ClientSession(f"http://127.0.0.1:{port}") as browser:
        async with browser.get("/") as page:
            text = await page.text()
            assert page.status == 200 and "fleetctl top" in text
            assert page.headers["Content-Security-Policy"] == own_sources(port)
        async with browser.get("/", headers={"Origin": "https://evil.example"}) as refused:
            assert refused.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await browser.ws_connect("/ws", headers={"Origin": "https://evil.example"})

        async with browser.ws_connect("/ws?width=120&height=40") as screen:
            drawn = await _until(screen, b"vision-11b")
            assert b" RO" in drawn and b" RW" not in drawn
            await screen.send_json(["stdin", "+"])
            await _until(screen, b"read-only")
            await screen.send_json(["stdin", "c"])
            await _until(screen, b"SO FAR")
            await screen.send_json(["stdin", "q"])
            while (await screen.receive()).type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
                pass

    process.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(process.wait, STARTED_S) == 0


async def _until(screen: aiohttp.ClientWebSocketResponse, text: bytes) -> bytes:
    """What is drawn until this text is."""
    said = b""
    async with asyncio.timeout(STARTED_S):
        while text not in said:
            message = await screen.receive()
            assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), (message, said[-500:])
            said += message.data if isinstance(message.data, bytes) else message.data.encode()
    return said


@served
def test_a_port_in_use_is_named_with_another(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "fleetctl", "top", "--web", "--port", str(port)],
            env={**os.environ, "FLEETCTL_HOME": str(home)},
            check=False, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    assert done.returncode == 7 and f"127.0.0.1:{port}" in done.stderr and "--port" in done.stderr


def test_the_page_asks_nobody_but_this_machine() -> None:
    allowed = own_sources(8090)

    assert "127.0.0.1:8090" in allowed and "localhost:8090" in allowed and "googleapis" not in allowed
    assert "*" not in allowed and "https:" not in allowed
