"""Start the gateway apart from its caller, find a running one, stop it."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from fleetctl.errors import AgentFailure, Conflict, FleetError, TimedOut, UsageError
from fleetctl.gateway.health import GatewayHealth
from fleetctl.gateway.limits import DRAIN_TIMEOUT_S
from fleetctl.gateway.link import UnixGatewayLink

START_TIMEOUT_S = 20.0
"""It starts in well under a second; a busy machine may need longer."""
STOP_TIMEOUT_S = DRAIN_TIMEOUT_S + 10.0
"""The drain, and time to close what is left."""
POLL_S = 0.05
"""Between two looks at whether it has stopped."""


async def find_gateway(socket: Path) -> GatewayHealth | None:
    """The gateway that answers on `socket`; None: there is none."""
    if not socket.exists():
        return None
    link = UnixGatewayLink(socket)
    try:
        return await link.health()
    except AgentFailure:
        return None
    finally:
        await link.close()


async def ensure_gateway(listen: str, socket: Path, log_file: Path, options: Sequence[str] = ()) -> GatewayHealth:
    """The gateway of `socket`, started if there is none; it outlives the caller. `options`: further words for
    `python -m fleetctl.gateway`; one that runs already keeps those that it was started with.

    Raises `Conflict` when the port is taken, also by a running gateway that listens elsewhere; `AgentFailure` when it
    does not start, `TimedOut` when nothing is heard of it.
    """
    socket, log_file = socket.absolute(), log_file.absolute()
    found = await find_gateway(socket)
    if found is None or found.stopping:
        await _start(listen, socket, log_file, options)
        found = await find_gateway(socket)
        if found is None:
            raise AgentFailure("the gateway started and is gone again", hint=f"see {log_file}")
    if listen != found.listen and not listen.endswith(":0") and not _same_address(listen, found.listen):
        raise Conflict(
            f"the running gateway (pid {found.pid}) listens on {found.listen}, not on {listen}",
            hint=f"use --listen {found.listen} (or `gateway.listen`), or end it first with: kill {found.pid}",
        )
    return found


async def stop_gateway(socket: Path) -> bool:
    """Tell the gateway to drain and end, and wait for that. False: none was running. Raises `TimedOut`."""
    found = await find_gateway(socket)
    if found is None:
        return False
    process = _process(found.pid)
    link = UnixGatewayLink(socket)
    try:
        await link.shutdown()
    finally:
        await link.close()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            # Its silence is not its end: it closes what clients hold open, and until then no other may take its place.
            while _runs(process):  # noqa: ASYNC110  another process sets no event of ours
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise TimedOut(
            f"the gateway (pid {found.pid}) has not ended in {STOP_TIMEOUT_S:g} s", hint=f"kill {found.pid}"
        ) from None
    return True


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _runs(process: psutil.Process | None) -> bool:
    try:
        return process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def _start(listen: str, socket: Path, log_file: Path, options: Sequence[str]) -> None:
    log_file.parent.mkdir(parents=True, exist_ok=True)
    argv = ("-m", "fleetctl.gateway", "--listen", listen, "--admin-socket", str(socket), "--log", str(log_file))
    starter = await asyncio.create_subprocess_exec(
        sys.executable,
        *argv,
        *options,
        "--detach",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            _, said = await starter.communicate()
    except TimeoutError:
        starter.kill()
        await starter.wait()
        raise TimedOut(f"the gateway has not started in {START_TIMEOUT_S:g} s", hint=f"see {log_file}") from None
    if starter.returncode == 0:
        return
    lines = said.decode(errors="replace").strip().splitlines() or ["the gateway does not start"]
    kind: type[FleetError] = {7: Conflict, 2: UsageError}.get(starter.returncode or 1, AgentFailure)
    hint = lines[1].removeprefix("hint: ") if len(lines) == 2 else f"see {log_file}"
    raise kind(lines[0].removeprefix("error: ") if len(lines) <= 2 else lines[-1], hint=hint)


def _same_address(one: str, other: str) -> bool:
    return one.replace("localhost:", "127.0.0.1:") == other.replace("localhost:", "127.0.0.1:")
