"""Fetches chunks from another Node, each verified before anybody else sees it."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec

from fleetctl.agent.chunks.hashes import blake3, same
from fleetctl.agent.chunks.layout import Layout, checked
from fleetctl.agent.chunks.serve import KNOW_S
from fleetctl.agent.chunks.staging import ASIDE_BYTES, Staging
from fleetctl.agent.chunks.wire import (
    FRAME_BYTES,
    MAC,
    NONCE,
    Ask,
    Headers,
    Seal,
    Told,
    body_seal,
    runs,
    signed,
)
from fleetctl.errors import AgentFailure
from fleetctl.model.nodes import Peer

CONNECT_S = 3.0
"""Between machines of one zone a connection takes a millisecond; a lost first packet is sent again after one second."""

_REFUSED_PAUSE_S = 0.05
"""A Node that has not got the fleet's key yet refuses connections; it gets it within the same tick."""

SILENT_S = 10.0
"""After so long without a byte, not even a sign of life, a Node looks for another one by itself. The controller, which
sees all of them, is quicker; were each Node as quick as it, all who follow a silent one would run at once."""

STARVED_S = 120.0
"""A Node that lives and has had nothing to give for so long, while no controller has said otherwise."""

AVOID_S = 30.0
"""A Node that failed us is not asked again for this long, and twice as long after each further time: its agent may
have been restarted; or there is a wall between us that the controller does not see."""

STREAMS_MAX = 4
_CHUNKS_PER_STREAM = 500
"""One connection moves some 5 to 10 Gbit/s between cloud machines, so large Artifacts come over several. Each more
makes a chunk take longer from one end of a chain to the other, which is nothing where there are thousands of them."""

_HEAD_MOST_BYTES = 16 * 1024
_MANIFEST_MOST_BYTES = 32 * 1024**2
"""A layout of the most files there may be."""


class PeerFailed(Exception):
    """This Node does not give it: told in a few words. Another one is asked."""


class PeerUnreachable(PeerFailed):
    """Not even a connection."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a silent Node is waited for; the bounds above but in tests."""

    connect_s: float = CONNECT_S
    silent_s: float = SILENT_S
    starved_s: float = STARVED_S
    know_s: float = KNOW_S
    avoid_s: float = AVOID_S


class Follower:
    """Asks one Node for one Artifact. Raises `PeerFailed`."""

    def __init__(self, peer: Peer, name: str, key: bytes, artifact: str, patience: Patience) -> None:
        self._peer = peer
        self._path = f"/v1/artifacts/{name}"
        self._key = key
        self._artifact = artifact
        self._patience = patience

    async def layout(self) -> Layout:
        """As the other Node has it."""
        path = f"{self._path}/manifest"
        headers = signed(self._key, "GET", path, b"", time.time())
        async with self._asked("GET", path, headers, b"") as (wire, answered):
            said = await wire.body(_MANIFEST_MOST_BYTES, self._patience.silent_s)
        try:
            seal = bytes.fromhex(answered.get(MAC, ""))
        except ValueError:
            seal = b""
        if not same(seal, bytes.fromhex(body_seal(self._key, headers[NONCE], said))):
            raise PeerFailed("its manifest is not signed with the fleet's key")
        try:
            return checked(self._artifact, msgspec.json.decode(said, type=Told).layout)
        except msgspec.DecodeError:
            raise PeerFailed("its manifest cannot be read") from None
        except AgentFailure as failure:
            raise PeerFailed(failure.message) from None

    async def fetch(self, staging: Staging, arrived: Callable[[int, bool], None]) -> None:
        """Everything that is missing. `arrived` hears of bytes over the wire, and whether they count."""
        missing = staging.missing()
        count = min(max(staging.layout.count // _CHUNKS_PER_STREAM, 1), STREAMS_MAX)
        try:
            async with asyncio.TaskGroup() as streams:
                for number in range(count):
                    wanted = missing[number::count]
                    if wanted:
                        streams.create_task(self._stream(staging, wanted, arrived))
        except* (PeerFailed, AgentFailure) as failures:
            raise _first(failures) from None

    async def _stream(self, staging: Staging, wanted: list[int], arrived: Callable[[int, bool], None]) -> None:
        layout = staging.layout
        path = f"{self._path}/chunks"
        body = msgspec.json.encode(Ask(layout=layout.digest.hex(), wanted=runs(wanted)))
        headers = signed(self._key, "POST", path, body, time.time())
        seal = Seal(self._key, headers[NONCE], layout)
        pending = set(wanted)
        buffer = bytearray(layout.chunk_size)
        silent_s = self._patience.silent_s
        fed_at = time.monotonic()
        async with self._asked("POST", path, headers, body) as (wire, _):
            head = memoryview(bytearray(FRAME_BYTES))
            while pending:
                await wire.read_into(head, silent_s)
                frame = seal.open(head)
                if frame is None:
                    raise PeerFailed("an answer is not signed with the fleet's key")
                if frame.kind == "over":
                    raise PeerFailed("it has given up on it")
                if frame.kind == "alive":
                    if time.monotonic() - fed_at > self._patience.starved_s:
                        raise PeerFailed(f"it has had nothing to give for {self._patience.starved_s:g} s")
                    continue
                if frame.index not in pending or frame.length != layout.length(frame.index):
                    raise PeerFailed(f"it sent chunk {frame.index}, which was not asked for")
                content = memoryview(buffer)[: frame.length]
                await wire.read_into(content, silent_s)
                if not same(await _hashed(content), frame.digest):
                    raise PeerFailed(f"chunk {frame.index} is damaged")
                pending.discard(frame.index)
                arrived(frame.length, await staging.put(frame.index, content, frame.digest))
                fed_at = time.monotonic()

    @asynccontextmanager
    async def _asked(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> AsyncIterator[tuple["_Wire", Headers]]:
        """One question, and its answer up to its headers."""
        host, _, port = self._peer.address.rpartition(":")
        host = host.strip("[]")
        wire = await _Wire.open(host, int(port) if port.isdigit() else 0, self._patience.connect_s)
        try:
            lines = [f"{method} {path} HTTP/1.0", f"Host: {host}", f"Content-Length: {len(body)}"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            await wire.send("\r\n".join((*lines, "", "")).encode() + body, self._patience.silent_s)
            status, answered = await wire.head(self._patience.silent_s + self._patience.know_s)
            if status != 200:
                said = await wire.body(_HEAD_MOST_BYTES, self._patience.silent_s)
                raise PeerFailed(f"it answered {status}: {said.decode(errors='replace')[:200]}")
            yield wire, answered
        finally:
            wire.close()


async def _hashed(content: memoryview) -> bytes:
    return blake3(content) if len(content) < ASIDE_BYTES else await asyncio.to_thread(blake3, content)


def _first(failures: BaseExceptionGroup[PeerFailed | AgentFailure]) -> PeerFailed | AgentFailure:
    """One that says most: a failure of this Node's own before one of the other's."""
    found: list[PeerFailed | AgentFailure] = []
    left: list[BaseException] = [failures]
    while left:
        one = left.pop()
        if isinstance(one, BaseExceptionGroup):
            left.extend(one.exceptions)
        elif isinstance(one, PeerFailed | AgentFailure):
            found.append(one)
    return next((one for one in found if isinstance(one, AgentFailure)), found[0])


async def _connected(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
    except BaseException:
        sock.close()
        raise
    return sock


class _Wire:
    """A connection whose bytes go straight to where they are wanted."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._rest = b""
        """Came with the headers and is not of them."""

    @classmethod
    async def open(cls, host: str, port: int, connect_s: float) -> "_Wire":
        refused: OSError | None = None
        try:
            async with asyncio.timeout(connect_s):
                while True:
                    try:
                        return cls(await _connected(host, port))
                    except ConnectionRefusedError as error:
                        refused = error
                        await asyncio.sleep(_REFUSED_PAUSE_S)
        except TimeoutError:
            why = f": {refused.strerror}" if refused is not None else ""
            raise PeerUnreachable(f"it did not answer within {connect_s:g} s{why}") from None
        except (OSError, OverflowError) as error:
            raise PeerUnreachable(f"it cannot be reached: {error}") from None

    async def send(self, data: bytes, limit_s: float) -> None:
        with _trouble():
            async with asyncio.timeout(limit_s):
                await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def head(self, limit_s: float) -> tuple[int, Headers]:
        """Status and headers of the answer."""
        loop = asyncio.get_running_loop()
        text = b""
        with _trouble():
            async with asyncio.timeout(limit_s):
                while (end := text.find(b"\r\n\r\n")) < 0:
                    more = await loop.sock_recv(self._socket, 4096)
                    if not more or len(text) > _HEAD_MOST_BYTES:
                        raise PeerFailed("it closed the connection")
                    text += more
        self._rest = text[end + 4 :]
        first, *lines = text[:end].decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) < 2 or not words[1].isdigit():
            raise PeerFailed("what answers there is no node agent")
        pairs = (line.partition(":") for line in lines)
        return int(words[1]), Headers((name.strip(), value.strip()) for name, _, value in pairs)

    async def body(self, most: int, limit_s: float) -> bytes:
        """All that comes until the other side closes."""
        loop = asyncio.get_running_loop()
        found = bytearray(self._rest)
        with _trouble():
            async with asyncio.timeout(limit_s):
                while more := await loop.sock_recv(self._socket, 65536):
                    found += more
                    if len(found) > most:
                        raise PeerFailed("its answer has no end")
        return bytes(found)

    async def read_into(self, view: memoryview, silent_s: float) -> None:
        """Fill the view; each piece may take `silent_s`."""
        if self._rest:
            taken = min(len(self._rest), len(view))
            view[:taken] = self._rest[:taken]
            self._rest = self._rest[taken:]
            view = view[taken:]
        loop = asyncio.get_running_loop()
        while len(view):
            with _trouble():
                async with asyncio.timeout(silent_s):
                    count = await loop.sock_recv_into(self._socket, view)
            if not count:
                raise PeerFailed("it closed the connection")
            view = view[count:]

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def _trouble() -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise PeerFailed("it fell silent") from None
    except OSError as error:
        raise PeerFailed(f"the connection broke: {error.strerror or error}") from None
