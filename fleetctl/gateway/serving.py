"""The gateway's process: the public port, the admin socket, the way it starts and the way it ends."""

import asyncio
import fcntl
import gc
import logging
import os
import resource
import signal
import socket
import stat
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from fleetctl.errors import Conflict, UsageError
from fleetctl.gateway.admin import admin_app
from fleetctl.gateway.limits import (
    DRAIN_TIMEOUT_S,
    LISTEN_BACKLOG,
    OPEN_FILES_RESERVED,
    OPEN_FILES_WANTED,
    TICK_S,
)
from fleetctl.gateway.plane import DataPlane

_log = logging.getLogger("fleetctl.gateway")

_YOUNG_OBJECTS_MAX = 50_000
"""Between two collections of garbage: a request makes no cycles that outlive it, so looking more often only costs."""


async def serve(listen: str, admin_socket: Path, *, ready: Callable[[str], None]) -> None:
    """Serve until told to stop; `ready` gets the public address. Raises `Conflict` where a port or socket is taken."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    with _claim(admin_socket):
        plane = DataPlane(loop, connections_max=_connections_max())
        try:
            public = await _listen(plane, listen)
            try:
                address = _address(public)
                runner = await _admin(plane, admin_socket, address, stop.set)
                try:
                    for number in (signal.SIGTERM, signal.SIGINT):
                        loop.add_signal_handler(number, stop.set)
                    gc.freeze()
                    gc.set_threshold(_YOUNG_OBJECTS_MAX)
                    _log.info("listening on %s, pid %d", address, os.getpid())
                    ready(address)
                    await stop.wait()
                    _log.info("stopping: %d requests are running", plane.running)
                    public.close()
                    await drain(plane)
                finally:
                    await runner.cleanup()
                    admin_socket.unlink(missing_ok=True)
            finally:
                public.close()
        finally:
            plane.close()
            await asyncio.sleep(0)  # one turn, in which aborted connections are closed
    _log.info("stopped")


async def drain(plane: DataPlane, *, timeout_s: float = DRAIN_TIMEOUT_S) -> None:
    """Take no more requests, and wait for those that run; bounded."""
    plane.stop_accepting()
    give_up_at = plane.now() + timeout_s
    while plane.running and plane.now() < give_up_at:  # noqa: ASYNC110  the data plane needs no event but here
        await asyncio.sleep(TICK_S)
    if plane.running:
        _log.warning("%d requests were still running after %g s and are cut", plane.running, timeout_s)


def split_address(listen: str) -> tuple[str, int]:
    """`host:port` taken apart. Raises `UsageError`."""
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{listen!r} is no address to listen on", hint="write it as host:port, e.g. 127.0.0.1:8080")
    return host.strip("[]"), int(port)


async def _listen(plane: DataPlane, listen: str) -> asyncio.Server:
    host, port = split_address(listen)
    try:
        return await plane.loop.create_server(plane.client, host, port, backlog=LISTEN_BACKLOG)
    except OSError as error:
        raise Conflict(
            f"the gateway cannot listen on {listen}: {os.strerror(error.errno) if error.errno else error}",
            hint="end what listens there, or set another `gateway.listen` in the fleet's files"
            " (--listen where the gateway is run by hand)",
        ) from error


def _address(server: asyncio.Server) -> str:
    host, port = server.sockets[0].getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _admin(plane: DataPlane, path: Path, address: str, stop: Callable[[], None]) -> web.AppRunner:
    runner = web.AppRunner(admin_app(plane, listen=address, stop=stop), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # the socket is private from its first moment
    try:
        sock.bind(os.fspath(path))
    except OSError as error:
        sock.close()
        await runner.cleanup()
        raise Conflict(
            f"the gateway cannot make its socket {path}: {error.strerror}", hint="set FLEETCTL_HOME to a shorter path"
        ) from error
    finally:
        os.umask(before)
    await web.SockSite(runner, sock).start()
    return runner


class _claim:
    """Holds the right to a socket's path for as long as the process lives; a stale socket is removed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = -1

    def __enter__(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise Conflict(
                f"another gateway already answers on {self._path}",
                hint="use that one, or stop it first; a second one needs another --admin-socket",
            ) from None
        try:
            found = self._path.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(found.st_mode):
            os.close(self._lock)
            raise Conflict(f"{self._path} exists and is no socket", hint=f"move {self._path} away")
        self._path.unlink()

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)


def _connections_max() -> int:
    """As many clients as there are files for: each may need one more for its replica."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as error:  # macOS: the hard limit is larger than the kernel's own
            _log.warning("the limit of open files stays at %d: %s", soft, error)
    if soft == resource.RLIM_INFINITY:
        soft = 2**20
    connections = max(16, (soft - OPEN_FILES_RESERVED) // 2)
    if soft < OPEN_FILES_WANTED:
        _log.warning(
            "only %d files may be open, so at most %d clients are served at once; raise it with: ulimit -n %d",
            soft,
            connections,
            OPEN_FILES_WANTED,
        )
    return connections
