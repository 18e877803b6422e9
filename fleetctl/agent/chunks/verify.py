"""Whole files proved right before anything may use them: by their digest, and by what safetensors say of themselves."""

import asyncio
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from fleetctl.agent.chunks.staging import Staging
from fleetctl.errors import AgentFailure

_THREADS = 4
"""Files hashed at once: one thread does some 0.7 to 2 GB/s of sha256, and files come one after the other."""

_BLOCK_BYTES = 1024**2
_HEADER_MOST_BYTES = 100_000_000
"""Of a safetensors file, by its own format."""

_INDEX_MOST_BYTES = 64 * 1024**2


class Checks:
    """Hashes files while they come, so that the end waits for the last file's tail only."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._queue = iter([n for n, file in enumerate(staging.layout.files) if file.sha256 is not None])
        self._tasks = [asyncio.ensure_future(self._run()) for _ in range(_THREADS)]

    async def finish(self) -> None:
        """Return when all that is here was found right. Raises `AgentFailure`; what is wrong is missing again."""
        await asyncio.gather(*self._tasks)
        await asyncio.to_thread(check_safetensors, self._staging.name, _files(self._staging))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self) -> None:
        for number in self._queue:
            await self._check(number)

    async def _check(self, number: int) -> None:
        staging = self._staging
        file = staging.layout.files[number]
        hasher = hashlib.sha256()
        at = 0
        for index in staging.layout.chunks_of(number):
            while staging.hash_of(index) is None:
                await staging.news.wait()
                if staging.failed:
                    raise AgentFailure(f"{staging.name} is not fetched any more")
            end = min((index + 1) * staging.layout.chunk_size - staging.layout.starts[number], file.size)
            await asyncio.to_thread(_feed, hasher, staging.tree / file.path, at, end)
            at = end
        if hasher.hexdigest() != file.sha256:
            staging.forget(staging.layout.chunks_of(number))
            raise AgentFailure(
                f"{file.path} of {staging.name} is not what its origin promised: its sha256 is "
                f"{hasher.hexdigest()[:12]}…, not {(file.sha256 or '')[:12]}…",
                hint="it is fetched again; if it stays so, the origin's copy is damaged",
            )


def check_safetensors(name: str, files: Mapping[str, Path]) -> None:
    """Every `*.safetensors` file is whole, and holds the tensors that its index says. Raises `AgentFailure`."""
    tensors: dict[str, frozenset[str]] = {}
    for path, place in files.items():
        if path.endswith(".safetensors"):
            tensors[path] = _tensors(name, path, place)
    for path, place in files.items():
        if path.endswith(".safetensors.index.json"):
            _check_index(name, path, place, tensors)


class _Tensor(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class _Index(msgspec.Struct, frozen=True):
    weight_map: dict[str, str] = {}


def _tensors(name: str, path: str, place: Path) -> frozenset[str]:
    """The names of a file's tensors."""
    size = place.stat().st_size
    with place.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(_HEADER_MOST_BYTES, size - 8):
            raise _damaged(name, path, f"its header of {length} bytes does not fit into {size} bytes")
        text = file.read(length)
    try:
        raw = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        raw.pop("__metadata__", None)
        header = {key: msgspec.json.decode(value, type=_Tensor) for key, value in raw.items()}
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _damaged(name, path, "its header is not one of tensors") from None
    at = 0
    for begin, end in sorted(tensor.data_offsets for tensor in header.values()):
        if begin != at or end < begin:
            raise _damaged(name, path, f"its tensors leave a hole at byte {at}")
        at = end
    if at != size - 8 - length:
        raise _damaged(name, path, f"its tensors take {at} bytes, and it holds {size - 8 - length}")
    return frozenset(header)


def _check_index(name: str, path: str, place: Path, tensors: Mapping[str, frozenset[str]]) -> None:
    if place.stat().st_size > _INDEX_MOST_BYTES:
        raise _damaged(name, path, "it is too long for an index")
    try:
        index = msgspec.json.decode(place.read_bytes(), type=_Index)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _damaged(name, path, "it is no index of tensors") from None
    folder = path.rpartition("/")[0]
    for tensor, file in index.weight_map.items():
        held = tensors.get(f"{folder}/{file}" if folder else file)
        if held is not None and tensor not in held:  # a file that was left out on purpose is not missed
            raise _damaged(name, file, f"it lacks tensor {tensor}, which {path} says is in it: files were swapped")


def _damaged(name: str, path: str, why: str) -> AgentFailure:
    return AgentFailure(
        f"{path} of {name} is damaged: {why}", hint="look at the file at its origin, or pin another revision"
    )


def _files(staging: Staging) -> dict[str, Path]:
    return {file.path: staging.tree / file.path for file in staging.layout.files}


def _feed(hasher: "hashlib._Hash", path: Path, start: int, end: int) -> None:
    for block in _blocks(path, start, end):
        hasher.update(block)


def _blocks(path: Path, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while start < end:
            block = os.pread(file.fileno(), min(_BLOCK_BYTES, end - start), start)
            if not block:
                return
            start += len(block)
            yield block
