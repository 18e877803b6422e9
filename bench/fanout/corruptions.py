"""Everything that can be wrong with what a Node is sent, a thousand times over: nothing wrong may ever be published.

Each round is one fetch over real sockets from another Node, or from an origin, with one thing wrong: a proxy between
the two changes bytes, cuts off or swaps chunks; the other Node has another key, or a disk that rots; the origin's file
is cut off or changed, or two files of it were swapped. Where a second, honest Node is there too, the fetch must succeed
all the same, with the right content.
"""

import asyncio
import hashlib
import logging
import random
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fleetctl.agent.chunks.follow import Patience
from fleetctl.agent.chunks.serve import PeerServer
from fleetctl.agent.chunks.store import Store
from fleetctl.agent.chunks.wire import FRAME_BYTES
from fleetctl.agent.origins.origin import Contents, OriginFile
from fleetctl.agent.sources.fetch import Fetch
from fleetctl.errors import AgentFailure
from fleetctl.model.names import InstanceId
from fleetctl.model.nodes import Artifact, Feed, Peer

WEIGHTS = Artifact(kind="weights", name="s3://models/tiny")
KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
CHUNK = 64 * 1024
SIZE = 6 * CHUNK + 1000
PATIENCE = Patience(connect_s=2.0, silent_s=2.0, starved_s=5.0)

Change = Callable[[bytes, random.Random], bytes]
"""Of a whole answer, head and frames."""


@dataclass
class Files:
    """An `Origin` in memory."""

    files: dict[str, bytes]
    promised: dict[str, bytes]
    """What it says that it has."""
    hashed: bool = True

    async def contents(self) -> Contents:
        return Contents(
            revision="r",
            files=tuple(
                OriginFile(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest() if self.hashed else None)
                for path, data in sorted(self.promised.items())
            ),
        )

    async def read(self, file: OriginFile, start: int, length: int) -> bytes:
        return self.files[file.path][start : start + length]

    async def close(self) -> None:
        """Nothing is open."""


def corruptions(count: int) -> int:
    """How many of so many rounds did not end as they should: with the right files, or with none."""
    logging.getLogger("fleetctl").setLevel(logging.ERROR)
    return asyncio.run(_rounds(count))


async def _rounds(count: int) -> int:
    dice = random.Random(7)
    good = {"config.json": b"{}", "model.bin": dice.randbytes(SIZE)}
    wrong = 0
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        root = Path(folder)
        async with _node(root / "honest", KEY) as honest:
            await honest.store.get(Fetch(WEIGHTS), Files(good, good))
            for number in range(count):
                case = _CASES[number % len(_CASES)]
                rescued = number // len(_CASES) % 2 == 1
                wrong += not await case(root / str(number), honest, dice, good, rescued)
    return wrong


@dataclass
class _Node:
    store: Store
    port: int

    def peer(self, port: int = 0) -> Peer:
        return Peer(instance=InstanceId("other"), address=f"127.0.0.1:{port or self.port}")


@asynccontextmanager
async def _node(root: Path, key: bytes) -> AsyncIterator[_Node]:
    store = Store(root, patience=PATIENCE)
    store.key = key
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = PeerServer(listener, store)
    await server.use(key)
    try:
        yield _Node(store, listener.getsockname()[1])
    finally:
        await server.close()


async def _fetched(root: Path, parents: list[Peer], good: dict[str, bytes], *, rescued: bool) -> bool:
    """Whether the outcome is right: the right files where there is a rescuer, nothing at all where there is none."""
    store = Store(root, patience=PATIENCE)
    store.key = KEY
    try:
        await store.get(Fetch(WEIGHTS, Feed(artifact=WEIGHTS, parents=tuple(parents))), None)
    except AgentFailure:
        return not rescued and _published(root) == []
    return rescued and _published(root) == [good]


def _published(root: Path) -> list[dict[str, bytes]]:
    shelf = root / "weights"
    trees = [path for path in shelf.glob("*") if path.is_dir()] if shelf.is_dir() else []
    return [
        {str(file.relative_to(tree)): file.read_bytes() for file in tree.rglob("*") if file.is_file()} for tree in trees
    ]


def _on_the_way(change: Change) -> "Case":
    async def case(root: Path, honest: _Node, dice: random.Random, good: dict[str, bytes], rescued: bool) -> bool:
        async with _proxy(honest.port, lambda data: change(data, dice)) as port:
            parents = [honest.peer(port), honest.peer()] if rescued else [honest.peer(port)]
            return await _fetched(root, parents, good, rescued=rescued)

    return case


async def _other_key(root: Path, honest: _Node, dice: random.Random, good: dict[str, bytes], rescued: bool) -> bool:
    async with _node(root / "stranger", OTHER_KEY) as stranger:
        await stranger.store.get(Fetch(WEIGHTS), Files(good, good))
        parents = [stranger.peer(), honest.peer()] if rescued else [stranger.peer()]
        return await _fetched(root / "own", parents, good, rescued=rescued)


async def _rotten_disk(root: Path, honest: _Node, dice: random.Random, good: dict[str, bytes], rescued: bool) -> bool:
    async with _node(root / "rotten", KEY) as rotten:
        got = await rotten.store.get(Fetch(WEIGHTS), Files(good, good))
        file = Path(got.path) / "model.bin"
        file.chmod(0o644)
        data = bytearray(file.read_bytes())
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        file.write_bytes(data)
        parents = [rotten.peer(), honest.peer()] if rescued else [rotten.peer()]
        return await _fetched(root / "own", parents, good, rescued=rescued)


async def _bad_origin(root: Path, honest: _Node, dice: random.Random, good: dict[str, bytes], rescued: bool) -> bool:
    """A changed file, where its sha256 is promised; a safetensors file that was cut off or swapped, where none is."""
    match dice.randrange(3):
        case 0:
            data = bytearray(good["model.bin"])
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
            origin = Files({**good, "model.bin": bytes(data)}, good)
        case 1:
            whole = _safetensors({"a": dice.randbytes(CHUNK + 5)})
            cut = {"model.safetensors": whole[: -dice.randrange(1, CHUNK)]}
            origin = Files(cut, cut, hashed=False)
        case _:
            one, two = (_safetensors({name: dice.randbytes(CHUNK)}) for name in ("a", "b"))
            index = b'{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}'
            swapped = {"1.safetensors": two, "2.safetensors": one, "model.safetensors.index.json": index}
            origin = Files(swapped, swapped, hashed=False)
    store = Store(root, patience=PATIENCE)
    try:
        await store.get(Fetch(WEIGHTS), origin)
    except AgentFailure:
        return _published(root) == []
    return False


def _safetensors(tensors: dict[str, bytes]) -> bytes:
    at, parts = 0, []
    for name, data in tensors.items():
        parts.append(f'"{name}": {{"dtype": "U8", "shape": [{len(data)}], "data_offsets": [{at}, {at + len(data)}]}}')
        at += len(data)
    header = ("{" + ", ".join(parts) + "}").encode()
    return struct.pack("<Q", len(header)) + header + b"".join(tensors.values())


def _frames(answer: bytes) -> tuple[bytes, list[bytes]]:
    """The head of an answer, and its frames with their content."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    found = []
    while len(rest) >= FRAME_BYTES:
        end = FRAME_BYTES + int.from_bytes(rest[5:9], "big")
        found.append(rest[:end])
        rest = rest[end:]
    return head + b"\r\n\r\n", found


def _flip_anywhere(answer: bytes, dice: random.Random) -> bytes:
    head, frames = _frames(answer)
    data = bytearray(b"".join(frames))
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return head + bytes(data)


def _flip_frame_head(answer: bytes, dice: random.Random) -> bytes:
    head, frames = _frames(answer)
    chosen = dice.randrange(len(frames))
    data = bytearray(frames[chosen])
    data[dice.randrange(FRAME_BYTES)] ^= 1 << dice.randrange(8)
    frames[chosen] = bytes(data)
    return head + b"".join(frames)


def _cut(answer: bytes, dice: random.Random) -> bytes:
    head, frames = _frames(answer)
    data = b"".join(frames)
    return head + data[: dice.randrange(len(data))]


def _swap_contents(answer: bytes, dice: random.Random) -> bytes:
    """The right heads over each other's contents."""
    head, frames = _frames(answer)
    one, two = dice.sample(range(len(frames) - 1), 2)  # all but the last are of equal length
    contents = frames[one][FRAME_BYTES:], frames[two][FRAME_BYTES:]
    frames[one] = frames[one][:FRAME_BYTES] + contents[1]
    frames[two] = frames[two][:FRAME_BYTES] + contents[0]
    return head + b"".join(frames)


def _swap_indexes(answer: bytes, dice: random.Random) -> bytes:
    """Whole chunks that say they were another one."""
    head, frames = _frames(answer)
    one, two = dice.sample(range(len(frames) - 1), 2)
    indexes = frames[one][1:5], frames[two][1:5]
    frames[one] = frames[one][:1] + indexes[1] + frames[one][5:]
    frames[two] = frames[two][:1] + indexes[0] + frames[two][5:]
    return head + b"".join(frames)


def _repeat(answer: bytes, dice: random.Random) -> bytes:
    head, frames = _frames(answer)
    chosen = dice.randrange(len(frames) - 1)
    frames[chosen + 1] = frames[chosen]
    return head + b"".join(frames)


@asynccontextmanager
async def _proxy(port: int, change: Callable[[bytes], bytes]) -> AsyncIterator[int]:
    """Passes questions on, and answers of chunks only after changing them."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            there, back = await asyncio.open_connection("127.0.0.1", port)
            back.write(head + body)
            answer = await there.read()
            back.close()
            writer.write(change(answer) if head.startswith(b"POST") else answer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


Case = Callable[[Path, _Node, random.Random, dict[str, bytes], bool], Awaitable[bool]]

_CASES = (
    _on_the_way(_flip_anywhere),
    _on_the_way(_flip_frame_head),
    _on_the_way(_cut),
    _on_the_way(_swap_contents),
    _on_the_way(_swap_indexes),
    _on_the_way(_repeat),
    _other_key,
    _rotten_disk,
    _bad_origin,
    _on_the_way(_flip_anywhere),
)
