"""Listeners of this computer that lead to a machine: to its agent's socket, and to its engines' ports.

A listener outlives the SSH connection behind it: whoever connects while there is none waits until it is made again.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fleetctl.errors import AgentFailure

if TYPE_CHECKING:
    import asyncssh

_CHUNK_BYTES = 64 * 1024
"""Read at a time; an SSH packet holds half of it."""
HOST = "127.0.0.1"

Opened = tuple["asyncssh.SSHReader[bytes]", "asyncssh.SSHWriter[bytes]"]
Open = Callable[[], Awaitable[Opened]]


class _Reads(Protocol):
    async def read(self, n: int, /) -> bytes: ...


class _Writes(Protocol):
    def write(self, data: bytes, /) -> None: ...
    async def drain(self) -> None: ...
    def write_eof(self) -> None: ...
    def close(self) -> None: ...


class Forwards:
    """The forwarded ports of one machine, by the address that its engines have there."""

    def __init__(self, open_port: Callable[[str, int], Awaitable[Opened]]) -> None:
        self._open_port = open_port
        self._servers: dict[str, asyncio.Server] = {}
        self._changing = asyncio.Lock()

    async def keep(self, wanted: Iterable[str]) -> Mapping[str, str]:
        """Forward exactly these `host:port`s; where each is reached from here, as `host:port`."""
        wanted = set(wanted)
        async with self._changing:
            for remote in self._servers.keys() - wanted:
                self._servers.pop(remote).close()
            for remote in wanted - self._servers.keys():
                host, _, port = remote.rpartition(":")
                self._servers[remote] = await asyncio.start_server(self._serve(host, int(port)), HOST, 0)
            return {remote: f"{HOST}:{server.sockets[0].getsockname()[1]}" for remote, server in self._servers.items()}

    def __len__(self) -> int:
        return len(self._servers)

    def close(self) -> None:
        for server in self._servers.values():
            server.close()
        self._servers.clear()

    def _serve(self, host: str, port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await carry(reader, writer, lambda: self._open_port(host, port))

        return serve


async def listen_at(path: Path, open_socket: Open) -> asyncio.Server:
    """A Unix socket of this computer, for its owner alone, that leads to a socket of the machine."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await carry(reader, writer, open_socket)

    server = await asyncio.start_unix_server(serve, str(path))
    path.chmod(0o600)
    return server


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, open_far: Open) -> None:
    """Carry bytes both ways until both ends are done; where the far end cannot be opened, this end is closed."""
    import asyncssh

    try:
        far_reader, far_writer = await open_far()
    except (AgentFailure, asyncssh.Error, OSError):
        writer.transport.abort()  # at once and without a word, as from a machine where nothing listens
        return
    ways = [asyncio.ensure_future(_copy(reader, far_writer)), asyncio.ensure_future(_copy(far_reader, writer))]
    try:
        await asyncio.gather(*ways)
    except (asyncssh.Error, OSError):
        writer.transport.abort()
    except asyncio.CancelledError:
        return  # the process leaves; there is nobody to pass this on to
    finally:
        for way in ways:
            way.cancel()
        for end in (writer, far_writer):
            with contextlib.suppress(asyncssh.Error, OSError, RuntimeError):
                end.close()


async def _copy(source: _Reads, sink: _Writes) -> None:
    while data := await source.read(_CHUNK_BYTES):
        sink.write(data)
        await sink.drain()
    sink.write_eof()
