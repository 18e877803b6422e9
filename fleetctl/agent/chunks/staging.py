"""An Artifact on its way to this Node: files of their full size, and a journal of which chunks are in them.

The journal has one hash for each chunk, written after the chunk itself, so that whatever it names is there when the
process is killed at any moment. After a machine's crash the disk may have kept the journal and lost the chunk: then
every chunk is read again and compared.
"""

import asyncio
import errno
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from fleetctl.agent.chunks.hashes import HASH_BYTES, MISSING, blake3, same
from fleetctl.agent.chunks.layout import CHUNKS_MAX, Layout, manifest_digest
from fleetctl.agent.disk import FULL, amount, cleared
from fleetctl.agent.folder import read, write
from fleetctl.agent.threads import to_its_end
from fleetctl.errors import AgentFailure

ASIDE_BYTES = 1024**2
"""Chunks of this size and more are hashed and written in a thread; smaller ones take less time than the way there."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_FILE_MODE = 0o644
_OPEN_FILES_MAX = 64
"""Descriptors kept open while chunks are written; a layout of more files opens them anew."""


class _Begun(msgspec.Struct, frozen=True, kw_only=True):
    """What a staging folder is for."""

    layout: Layout
    boot: str
    """Of the machine, when it was begun: since then no power was lost."""


class Staging:
    """Open for one fetch; `close` when done. What is in it outlives the process."""

    def __init__(self, name: str, root: Path, layout: Layout) -> None:
        self.name = name
        self.root = root
        self.tree = root / "files"
        self.layout = layout
        self.arrived: list[int] = []
        self._hashes: list[bytes] = [MISSING] * layout.count
        self._missing = layout.count
        self._journal = -1
        self._files: dict[int, int] = {}
        self._turn = threading.Lock()
        """Threads share the few descriptors."""
        self._news = asyncio.Event()
        self._failed = False

    @classmethod
    async def open(cls, name: str, root: Path, layout: Layout) -> "Staging":
        """Take up what an earlier attempt at the same layout left, or begin anew. Raises `AgentFailure`."""
        if layout.count > CHUNKS_MAX:
            raise AgentFailure(f"{name} is too large to be true: {layout.count} chunks")
        staging = cls(name, root, layout)
        with staging.disk():
            try:
                await to_its_end(asyncio.to_thread(staging._open))
            except BaseException:
                staging.close()
                raise
        return staging

    @property
    def news(self) -> asyncio.Event:
        return self._news

    @property
    def failed(self) -> bool:
        return self._failed

    @property
    def missing_count(self) -> int:
        return self._missing

    @property
    def bytes_here(self) -> int:
        here = (self.layout.length(index) for index, held in enumerate(self._hashes) if held != MISSING)
        return sum(here)

    def missing(self) -> list[int]:
        """Chunks that are not here, in order."""
        return [index for index, held in enumerate(self._hashes) if held == MISSING]

    def hash_of(self, index: int) -> bytes | None:
        held = self._hashes[index]
        return None if held == MISSING else held

    @property
    def hashes(self) -> tuple[bytes, ...]:
        return tuple(self._hashes)

    @property
    def digest(self) -> str:
        """Of the manifest, once all is here."""
        return manifest_digest(self.layout, self._hashes)

    async def put(self, index: int, data: bytes | bytearray | memoryview, digest: bytes) -> bool:
        """Keep a chunk that was verified to have this digest; false: it was here already. Raises `AgentFailure`."""
        if self._hashes[index] != MISSING:
            return False
        with self.disk():
            if len(data) < ASIDE_BYTES:
                self._write(index, data, digest)
            else:
                await asyncio.to_thread(self._write, index, data, digest)
        if self._hashes[index] != MISSING:
            return False
        self._hashes[index] = digest
        self._missing -= 1
        self.arrived.append(index)
        self._tell()
        return True

    def forget(self, indexes: range) -> None:
        """Chunks that turned out wrong are missing again."""
        for index in indexes:
            if self._hashes[index] != MISSING:
                os.pwrite(self._journal, MISSING, index * HASH_BYTES)
                self._hashes[index] = MISSING
                self._missing += 1

    def fail(self) -> None:
        """No more will come: whoever waits here looks elsewhere."""
        self._failed = True
        self._tell()

    def close(self) -> None:
        """Let go of its files; they stay."""
        self.fail()
        with self._turn:
            for descriptor in (*self._files.values(), self._journal):
                if descriptor >= 0:
                    os.close(descriptor)
            self._files.clear()
            self._journal = -1

    def remove(self) -> None:
        """Give its place on the disk back."""
        self.close()
        cleared(self.root)

    @contextmanager
    def disk(self) -> Iterator[None]:
        """A full or broken disk, as one sentence; a full one is given its space back."""
        try:
            yield
        except OSError as error:
            if error.errno in FULL:
                self.remove()
                raise no_space(self.name, self.layout.size, self.root.parent) from None
            raise AgentFailure(f"{self.name} cannot be written to {self.root}: {error.strerror}") from None

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _open(self) -> None:
        boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
        begun = _begun(self.root / "begun.json")
        again = begun is not None and begun.layout == self.layout and self._sizes_fit()
        if not again:
            self._begin()
        self._journal = os.open(self.root / "journal", os.O_RDWR | os.O_CREAT, 0o600)
        if again:
            self._take_up(compare=begun is None or begun.boot != boot)
        if begun is None or not again or begun.boot != boot:
            write(self.root / "begun.json", _Begun(layout=self.layout, boot=boot))

    def _begin(self) -> None:
        cleared(self.root)
        self.tree.mkdir(parents=True)
        for file in self.layout.files:
            path = self.tree / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as made:
                if file.size:
                    os.posix_fallocate(made.fileno(), 0, file.size)

    def _sizes_fit(self) -> bool:
        for file in self.layout.files:
            path = self.tree / file.path
            if not path.is_file() or path.stat().st_size != file.size:
                return False
            path.chmod(_FILE_MODE)  # a crash may have come while it was published
        return True

    def _take_up(self, *, compare: bool) -> None:
        kept = os.pread(self._journal, self.layout.count * HASH_BYTES, 0)
        for index in range(len(kept) // HASH_BYTES):
            held = kept[index * HASH_BYTES : (index + 1) * HASH_BYTES]
            if held != MISSING and (not compare or same(blake3(self.read(index)), held)):
                self._hashes[index] = held
                self._missing -= 1

    def read(self, index: int) -> bytes:
        """The chunk as it is in the files now."""
        with self._turn:
            return b"".join(
                os.pread(self._file(segment.file), segment.length, segment.offset)
                for segment in self.layout.segments(index)
            )

    def _write(self, index: int, data: bytes | bytearray | memoryview, digest: bytes) -> None:
        view = memoryview(data)
        with self._turn:
            if self._journal < 0:  # given up while this thread was on its way: nobody would close what is opened now
                raise OSError(errno.EBADF, "it is not fetched any more")
            for segment in self.layout.segments(index):
                _write_all(self._file(segment.file), view[: segment.length], segment.offset)
                view = view[segment.length :]
            os.pwrite(self._journal, digest, index * HASH_BYTES)

    def _file(self, number: int) -> int:
        descriptor = self._files.get(number)
        if descriptor is None:
            while len(self._files) >= _OPEN_FILES_MAX:
                os.close(self._files.pop(next(iter(self._files))))
            descriptor = self._files[number] = os.open(self.tree / self.layout.files[number].path, os.O_RDWR)
        return descriptor


def no_space(name: str, size: int, folder: Path) -> AgentFailure:
    """One sentence for a disk that is full."""
    free = shutil.disk_usage(folder).free if folder.exists() else 0
    return AgentFailure(
        f"the disk of {folder} has no room for {name}: {amount(size)} needed, {amount(free)} free",
        hint="free space on this node, or give the pool's instances a larger disk",
    )


def _begun(path: Path) -> _Begun | None:
    try:
        return read(path, _Begun)
    except AgentFailure:
        return None  # of another version, or cut off by a crash: begun anew


def _write_all(descriptor: int, view: memoryview, offset: int) -> None:
    while len(view):
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written
