"""The sockets that a gateway listens on, and the right to its place."""

import fcntl
import os
import socket
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from fleetctl.errors import Conflict, UsageError
from fleetctl.gateway.limits import LISTEN_BACKLOG

SPREADS: Final = sys.platform == "linux"
"""Whether the kernel spreads connections over sockets that share a port; elsewhere all processes share one socket.

On Linux 6.18, 256 connections came to 4 processes as 57 to 75 each with a socket of their own, and as 1 to 205 with one
socket for all: whoever wakes first takes what is there.
"""
_TAKEN_HINT: Final = (
    "end what listens there, or set another `gateway.listen` in the fleet's files (--listen where the gateway is run by"
    " hand)"
)


class Listening:
    """One address, listened on by `count` processes, each with sockets of its own.

    Whoever holds this holds the sockets open: what was connected to a process that dies waits for the next one.
    """

    def __init__(self, groups: Sequence[tuple[socket.socket, ...]]) -> None:
        self.groups = groups
        """For each process its sockets: one for each address that the host's name stands for."""

    @property
    def address(self) -> str:
        return address_of(self.groups[0][0])

    def close(self) -> None:
        for group in self.groups:
            for one in group:
                one.close()

    def keep(self, kept: int | None) -> None:
        """In a process that was started: close what is of the others. None: all."""
        mine = () if kept is None else self.groups[kept]
        for group in self.groups:
            for one in group:
                if one not in mine:
                    one.close()


def listen_on(listen: str, count: int = 1) -> Listening:
    """Raises `UsageError` for what is no address, `Conflict` for one that cannot be had."""
    host, port = split_address(listen)
    opened: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        alone = count == 1 or not SPREADS
        first: list[socket.socket] = []
        for family, _, _, _, address in dict.fromkeys(found):
            if not alone and port:  # among sockets that share, nobody is told that a port is taken
                _bound(family, address, shared=False).close()
            first.append(_bound(family, address, shared=not alone))
            opened.append(first[-1])
        groups = [tuple(first)]
        while len(groups) < count:
            if alone:
                groups.append(groups[0])
                continue
            more = tuple(_bound(one.family, one.getsockname(), shared=True) for one in first)
            opened += more
            groups.append(more)
        for one in opened:
            one.listen(LISTEN_BACKLOG)
            one.setblocking(False)
    except OSError as error:
        for one in opened:
            one.close()
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise Conflict(f"the gateway cannot listen on {listen}: {why}", hint=_TAKEN_HINT) from error
    return Listening(groups)


def listen_at(path: Path) -> socket.socket:
    """A Unix socket that only this user may connect to. Raises `Conflict`."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # it is private from its first moment
    try:
        sock.bind(os.fspath(path))
        sock.listen(LISTEN_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise Conflict(
            f"the gateway cannot make its socket {path}: {error.strerror or error}",
            hint="set FLEETCTL_HOME to a shorter path",
        ) from error
    finally:
        os.umask(before)
    return sock


def split_address(listen: str) -> tuple[str, int]:
    """`host:port` taken apart. Raises `UsageError`."""
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{listen!r} is no address to listen on", hint="write it as host:port, e.g. 127.0.0.1:8080")
    return host.strip("[]"), int(port)


def address_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Claim:
    """Holds the right to a socket's path for as long as the process lives; a stale socket is removed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = -1

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.let_go()
            raise Conflict(
                f"another gateway already answers on {self._path}",
                hint="use that one, or stop it first; a second one needs another --admin-socket",
            ) from None
        try:
            found = self._path.lstat()
        except FileNotFoundError:
            return self
        if not stat.S_ISSOCK(found.st_mode):
            self.let_go()
            raise Conflict(f"{self._path} exists and is no socket", hint=f"move {self._path} away")
        self._path.unlink()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.let_go()

    def let_go(self) -> None:
        """Also in a process that was forked: the right is the first process's alone, and ends with it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _bound(family: int, address: object, *, shared: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)  # type: ignore[arg-type]
    except OSError:
        sock.close()
        raise
    return sock
