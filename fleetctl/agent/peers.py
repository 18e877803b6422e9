"""Where other Nodes reach this one: its address, and the server behind it once there is a key."""

import asyncio
import contextlib
import logging
import socket

from fleetctl.agent.chunks.hashes import key_of
from fleetctl.agent.chunks.serve import PeerServer
from fleetctl.agent.chunks.store import Store
from fleetctl.errors import UsageError

log = logging.getLogger(__name__)

_ELSEWHERE = ("198.51.100.1", 9)
"""An address of nobody (RFC 5737): which of ours a packet to it would leave from. None is sent."""

_CONGESTION = b"cubic"
"""A Node in a chain receives as fast as it can while it sends, so that what it hears of its sending waits in a queue.
BBR takes the least delay that it ever saw for the path's, and then sends half of what the link carries."""


class Peers:
    """Follows the fleet's key: without one nothing is served, and nobody is followed."""

    def __init__(self, store: Store, where: str) -> None:
        """`where`: `HOST:PORT`, `auto` (the default route's address, a free port), `auto:PORT` (that port, unless
        another program has it) or `off`. Raises `UsageError`."""
        self._store = store
        listener = _bound(where)
        self.address = _said(listener) if listener is not None else ""
        """`host:port`; empty: this Node gives nothing to others."""
        self._server = PeerServer(listener, store) if listener is not None else None
        self._given = ""
        self._task: asyncio.Task[None] | None = None

    def use(self, given: str) -> None:
        """The fleet's key in hex; empty: there is none. Returns at once."""
        if given == self._given:
            return
        self._given = given
        key = key_of(given)
        self._store.key = key
        if self._server is not None:
            self._task = asyncio.ensure_future(self._serve(self._server, self._task))

    async def ready(self) -> None:
        """Return when the last key given is the one in use."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._server is not None:
            await self._server.close()

    async def _serve(self, server: PeerServer, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await asyncio.wait({before})
        try:
            await server.use(self._store.key)
        except OSError as error:
            log.warning("other nodes cannot fetch from %s: %s", self.address, error)


def _bound(where: str) -> socket.socket | None:
    """A socket that has its port and does not listen yet."""
    if where == "off":
        return None
    host, _, number = where.rpartition(":") if where != "auto" else ("auto", ":", "0")
    host = host.strip("[]")
    if not host or not number.isdigit() or int(number) > 65535:
        raise UsageError(f"--peers {where} is none of HOST:PORT, auto, auto:PORT, off")
    port = int(number)
    if host == "auto":
        return _at_the_route(port)
    try:
        return _taken(host, port)
    except OSError as error:
        raise UsageError(f"--peers {where}: {error.strerror}", hint="name an address of this machine") from None


def _at_the_route(port: int) -> socket.socket | None:
    """At the address of the default route; where the port is somebody else's, at a free one."""
    host = _source_address()
    if not host:
        log.warning("this machine has no way to other machines: nothing is given to them")
        return None
    try:
        return _taken(host, port)
    except OSError as error:
        if not port:
            raise UsageError(f"--peers auto: {host}: {error.strerror}", hint="name one as HOST:PORT") from None
        log.warning("port %d: %s; another one is taken, which a firewall may not let others reach", port, error)
        return _at_the_route(0)


def _taken(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # not on every system, nor allowed everywhere; the usual one does too
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _CONGESTION)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def _source_address() -> str:
    """Of the interface of the default route: in a cloud the private one, since public addresses are on no interface."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(_ELSEWHERE)
        return str(probe.getsockname()[0])
    return ""


def _said(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
