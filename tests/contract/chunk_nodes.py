"""Nodes that hold Artifacts in chunks, over real sockets in this process, and an origin with levers."""

import asyncio
import hashlib
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fleetctl.agent.chunks.follow import Patience
from fleetctl.agent.chunks.layout import chunk_size
from fleetctl.agent.chunks.serve import PeerServer
from fleetctl.agent.chunks.store import Store
from fleetctl.agent.origins.origin import Contents, OriginFile
from fleetctl.agent.sources.fetch import Fetch
from fleetctl.agent.sources.source import Got
from fleetctl.errors import AgentFailure
from fleetctl.model.names import InstanceId
from fleetctl.model.nodes import Artifact, Feed, Peer

KEY = bytes(range(32))
WEIGHTS = Artifact(kind="weights", name="s3://models/tiny")
QUICK = Patience(connect_s=1.0, silent_s=1.0, starved_s=5.0, know_s=0.5)
BOUND_S = 60.0


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@dataclass
class MemoryOrigin:
    """An `Origin` of files in memory."""

    files: Mapping[str, bytes]
    revision: str = "r1"
    hashed: bool = True
    """Whether it tells each file's sha256."""
    promised: Mapping[str, str] = field(default_factory=dict)
    """A sha256 that is not the file's…"""
    claimed: Mapping[str, int] = field(default_factory=dict)
    """…and a size."""
    reads: list[tuple[str, int, int]] = field(default_factory=list)
    stop_after_bytes: int | None = None
    """From there on it never answers."""
    refuse: str = ""
    """What it says instead of anything."""
    pause_s: float = 0.0
    """Before each answer."""

    @property
    def bytes_read(self) -> int:
        return sum(length for _, _, length in self.reads)

    async def contents(self) -> Contents:
        if self.refuse:
            raise AgentFailure(self.refuse)
        files = []
        for path, data in self.files.items():
            digest = self.promised.get(path) or hashlib.sha256(data).hexdigest()
            size = self.claimed.get(path, len(data))
            files.append(OriginFile(path=path, size=size, sha256=digest if self.hashed else None))
        return Contents(revision=self.revision, files=tuple(files))

    async def read(self, file: OriginFile, start: int, length: int) -> bytes:
        if self.stop_after_bytes is not None and self.bytes_read >= self.stop_after_bytes:
            await asyncio.Event().wait()
        await asyncio.sleep(self.pause_s)
        self.reads.append((file.path, start, length))
        return self.files[file.path][start : start + length]

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class ChunkNode:
    """A store and the server that gives what is in it."""

    name: str
    store: Store
    server: PeerServer
    address: str

    @property
    def peer(self) -> Peer:
        return Peer(instance=InstanceId(self.name), address=self.address)

    def fetch(self, *parents: "ChunkNode | Peer") -> Fetch:
        return Fetch(WEIGHTS, feed(*parents))

    async def get(self, *parents: "ChunkNode | Peer", origin: MemoryOrigin | None = None) -> Got:
        async with asyncio.timeout(BOUND_S):
            return await self.store.get(self.fetch(*parents), origin)


def feed(*parents: ChunkNode | Peer) -> Feed:
    peers = tuple(parent if isinstance(parent, Peer) else parent.peer for parent in parents)
    return Feed(artifact=WEIGHTS, parents=peers)


@asynccontextmanager
async def node(
    folder: Path,
    name: str,
    *,
    key: bytes | None = KEY,
    patience: Patience = QUICK,
    cut: Callable[[int], int] = chunk_size,
) -> AsyncIterator[ChunkNode]:
    store = Store(folder / name, patience=patience, cut=cut)
    store.key = key
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = PeerServer(listener, store)
    await server.use(key)
    try:
        yield ChunkNode(name, store, server, f"127.0.0.1:{listener.getsockname()[1]}")
    finally:
        await server.close()


@asynccontextmanager
async def nodes(
    folder: Path, names: Iterable[str], *, patience: Patience = QUICK, cut: Callable[[int], int] = chunk_size
) -> AsyncIterator[list[ChunkNode]]:
    """Of one fleet."""
    async with asyncio.timeout(BOUND_S), AsyncExitStack() as stack:
        yield [await stack.enter_async_context(node(folder, name, patience=patience, cut=cut)) for name in names]


def files_in(path: str) -> dict[str, bytes]:
    root = Path(path)
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}
