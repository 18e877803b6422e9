"""How the files of an Artifact are cut into chunks: one stream of all files by path, cut at equal distances."""

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

import msgspec

from fleetctl.agent.chunks.hashes import blake3
from fleetctl.agent.origins.origin import Contents
from fleetctl.errors import AgentFailure

CHUNK_LEAST_BYTES = 64 * 1024
CHUNK_MOST_BYTES = 16 * 1024**2
_CHUNKS = 1000
"""So many chunks make the way along a chain of 16 Nodes 1.5 % longer than to one; fewer than 64 KiB is all overhead,
more than 16 MiB is more to fetch again than a broken connection is worth."""

_PAGE = 4096

FILES_MAX = 100_000
"""Of one Artifact: models have hundreds; a list longer than this is a mistake, or an attack on our memory."""

SIZE_MAX = 1 << 50
"""Bytes of one Artifact: a petabyte is no model."""


CHUNKS_MAX = 1 << 20
"""16 TiB in the largest chunks, more than any model; what is known of each chunk takes some 100 bytes of memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    path: str
    size: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes of one file that a chunk holds."""

    file: int
    """Its place among the layout's files."""
    offset: int
    length: int


@dataclass(frozen=True, kw_only=True)
class Layout:
    """All that is known of an Artifact before its first byte is here."""

    revision: str
    files: tuple[File, ...]
    """By path."""
    chunk_size: int

    @cached_property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @cached_property
    def count(self) -> int:
        """Chunks."""
        return -(-self.size // self.chunk_size)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where each file begins in the stream of all."""
        found, at = [], 0
        for file in self.files:
            found.append(at)
            at += file.size
        return tuple(found)

    @cached_property
    def digest(self) -> bytes:
        """Of files, revision and chunk size: Nodes exchange chunks of equal layouts only."""
        return blake3(msgspec.json.encode((self.revision, self.files, self.chunk_size)))

    def length(self, index: int) -> int:
        """Bytes of a chunk: all are equal but the last."""
        return min(self.chunk_size, self.size - index * self.chunk_size)

    def segments(self, index: int) -> Iterator[Segment]:
        """Where the bytes of a chunk are, in order."""
        at = index * self.chunk_size
        left = self.length(index)
        file = bisect.bisect_right(self.starts, at) - 1
        while left > 0:
            offset = at - self.starts[file]
            length = min(left, self.files[file].size - offset)
            if length > 0:
                yield Segment(file, offset, length)
            at += length
            left -= length
            file += 1

    def chunks_of(self, file: int) -> range:
        """The chunks that hold any byte of a file."""
        size = self.files[file].size
        if size == 0:
            return range(0)
        start = self.starts[file]
        return range(start // self.chunk_size, (start + size - 1) // self.chunk_size + 1)


def manifest_digest(layout: Layout, hashes: Sequence[bytes]) -> str:
    """Names the content: equal trees of files have equal digests, wherever they came from."""
    said = msgspec.json.encode([(file.path, file.size) for file in layout.files])
    return blake3(layout.chunk_size.to_bytes(8, "big") + said + b"".join(hashes)).hex()


def chunk_size(size: int) -> int:
    """One for the whole Artifact of `size` bytes."""
    wanted = -(-size // _CHUNKS)
    return min(max(-(-wanted // _PAGE) * _PAGE, CHUNK_LEAST_BYTES), CHUNK_MOST_BYTES)


def layout_of(name: str, contents: Contents, cut: Callable[[int], int] = chunk_size) -> Layout:
    """What its origin says, checked; `cut` gives bytes of a chunk for bytes of all.

    Raises `AgentFailure` naming the Artifact `name`.
    """
    files = tuple(
        File(path=file.path, size=file.size, sha256=file.sha256)
        for file in sorted(contents.files, key=lambda file: file.path)
    )
    return checked(
        name,
        Layout(revision=contents.revision, files=files, chunk_size=cut(sum(file.size for file in files))),
    )


def checked(name: str, layout: Layout) -> Layout:
    """The layout, if nothing in it could lead outside its folder. Raises `AgentFailure`."""
    paths = [file.path for file in layout.files]
    if not paths:
        raise AgentFailure(f"{name} holds no file", hint="look at model: in the service's file")
    if len(paths) > FILES_MAX or not all(0 <= file.size <= SIZE_MAX for file in layout.files) or layout.size > SIZE_MAX:
        raise AgentFailure(f"{name} is too large to be true: {len(paths)} files of {layout.size} bytes")
    for path in paths:
        if not _plain(path):
            raise AgentFailure(f"{name} holds a file called {path!r}, which no file of a folder may be called")
    if len(set(paths)) != len(paths) or {str(up) for path in paths for up in PurePosixPath(path).parents} & set(paths):
        raise AgentFailure(f"{name} has two files of one path")
    if not CHUNK_LEAST_BYTES <= layout.chunk_size <= CHUNK_MOST_BYTES:
        raise AgentFailure(f"{name} comes in chunks of {layout.chunk_size} bytes, which no fleetctl cuts")
    return layout


def _plain(path: str) -> bool:
    parts = path.split("/")
    return all(part not in ("", ".", "..") and "\0" not in part and len(part.encode()) < 256 for part in parts)
