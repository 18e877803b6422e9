"""Commands' side of the tunnels: ask them, start them where they are not, end them."""

import asyncio
import contextlib
import sys
import time

import msgspec
import psutil

import fleetctl
from fleetctl.errors import AgentFailure, TimedOut
from fleetctl.node import payload
from fleetctl.node.tunnels import api
from fleetctl.paths import Home

START_LIMIT_S = 20.0
"""They start in well under a second; a busy computer may need longer."""
STOP_LIMIT_S = 20.0
RESTART_EVERY_S = 3.0
"""Tunnels that do not answer are started again at most this often."""
HEALTH_LIMIT_S = 5.0
POLL_S = 0.05


class TunnelsLink:
    """Asks the tunnels of a home. Raises `AgentFailure`."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._known_good = False
        self._starting = asyncio.Lock()
        self._tried_at: float | None = None

    async def ask(self, path: str, ask: api.Ask, *, timeout_s: float) -> bytes:
        """One question, and its answer. Where nobody serves, they are started and asked again."""
        await self._ensure()
        try:
            return await _post(self._home, path, msgspec.json.encode(ask), timeout_s=timeout_s)
        except _Silent:
            self._known_good = False
            await self._ensure()
        try:
            return await _post(self._home, path, msgspec.json.encode(ask), timeout_s=timeout_s)
        except _Silent as silent:
            self._known_good = False
            raise AgentFailure(
                f"the tunnels to machines do not answer: {silent}", hint=f"see {_log(self._home)}"
            ) from None

    async def _ensure(self) -> None:
        async with self._starting:
            if self._known_good:
                return
            health = await find_tunnels(self._home)
            if health is not None and payload.release(health.build) < payload.release(fleetctl.__version__):
                await stop_tunnels(self._home)  # of a fleetctl that was replaced meanwhile; never a newer one's
                health = None
            if health is None:
                now = time.monotonic()
                if self._tried_at is not None and now - self._tried_at < RESTART_EVERY_S:
                    raise AgentFailure("the tunnels to machines do not answer", hint=f"see {_log(self._home)}")
                self._tried_at = now
                await _start(self._home)
            self._known_good = True


class _Silent(Exception):
    """Nobody answers there."""


async def find_tunnels(home: Home) -> api.Health | None:
    """The tunnels that answer for this home; None: there are none."""
    if not api.tunnels_socket(home).exists():
        return None
    try:
        return msgspec.json.decode(
            await _request(home, "GET", api.HEALTH, b"", timeout_s=HEALTH_LIMIT_S), type=api.Health
        )
    except (_Silent, AgentFailure, msgspec.DecodeError):
        return None


async def stop_tunnels(home: Home) -> bool:
    """Tell them to leave, and wait until they have. False: there were none. Raises `TimedOut`."""
    found = await find_tunnels(home)
    if found is None:
        return False
    process: psutil.Process | None = None
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(found.pid)
    with contextlib.suppress(_Silent, AgentFailure):
        await _request(home, "POST", api.SHUTDOWN, b"", timeout_s=HEALTH_LIMIT_S)
    try:
        async with asyncio.timeout(STOP_LIMIT_S):
            while _runs(process):  # noqa: ASYNC110  another process sets no event of ours
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise TimedOut(
            f"the tunnels to machines (pid {found.pid}) have not ended in {STOP_LIMIT_S:g} s", hint=f"kill {found.pid}"
        ) from None
    return True


def _runs(process: psutil.Process | None) -> bool:
    try:
        return process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def _start(home: Home) -> None:
    starter = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fleetctl.node.tunnels", "--home", str(home.root), "--log", str(_log(home))),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(START_LIMIT_S):
            _, said = await starter.communicate()
    except TimeoutError:
        starter.kill()
        await starter.wait()
        raise AgentFailure(
            f"the tunnels to machines have not started in {START_LIMIT_S:g} s", hint=f"see {_log(home)}"
        ) from None
    if starter.returncode != 0:
        lines = said.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise AgentFailure(f"the tunnels to machines do not start: {lines[-1]}", hint=f"see {_log(home)}")


def _log(home: Home) -> str:
    return str(home.logs / "tunnels.log")


async def _post(home: Home, path: str, body: bytes, *, timeout_s: float) -> bytes:
    return await _request(home, "POST", path, body, timeout_s=timeout_s)


async def _request(home: Home, method: str, path: str, body: bytes, *, timeout_s: float) -> bytes:
    import aiohttp

    connector = aiohttp.UnixConnector(str(api.tunnels_socket(home)))
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.request(method, f"http://tunnels{path}", data=body or None) as answer,
        ):
            said = await answer.read()
            if answer.status < 300:
                return said
    except TimeoutError:
        raise AgentFailure(
            f"no answer through the tunnels within {timeout_s:g} s", hint="the next tick asks again"
        ) from None
    except (aiohttp.ClientError, OSError) as error:
        raise _Silent(str(error)) from None
    try:
        failure = msgspec.json.decode(said, type=api.Failure)
    except msgspec.DecodeError:
        raise AgentFailure(f"the tunnels to machines answered {answer.status}") from None
    raise AgentFailure(failure.error, hint=failure.hint)
