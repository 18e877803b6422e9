"""Fetches chunks from an Artifact's origin, many ranges at once."""

import asyncio
from collections.abc import Callable, Iterator

from fleetctl.agent.chunks.hashes import blake3
from fleetctl.agent.chunks.staging import ASIDE_BYTES, Staging
from fleetctl.agent.origins.origin import Origin, OriginFile
from fleetctl.errors import AgentFailure

RANGES_MAX = 32
"""Object stores give one request some 50 to 100 MB/s, so a fast link needs 16 to 32."""
RANGES_LEAST = 2
_CHUNKS_PER_RANGE = 64
"""The first chunk comes when its whole round comes: a round is no more than 1/64 of all, for whoever follows."""
_MEMORY_BYTES = 256 * 1024**2
"""Of chunks on their way."""


def ranges(count: int, chunk_size: int) -> int:
    """How many are asked for at once, of `count` chunks."""
    wanted = min(max(count // _CHUNKS_PER_RANGE, RANGES_LEAST), RANGES_MAX)
    return min(wanted, max(_MEMORY_BYTES // chunk_size, RANGES_LEAST))


async def fetch(
    origin: Origin, files: tuple[OriginFile, ...], staging: Staging, arrived: Callable[[int, bool], None]
) -> None:
    """Everything that is missing; `files` in the layout's order. Raises `AgentFailure`."""
    left = iter(staging.missing())
    count = ranges(staging.layout.count, staging.layout.chunk_size)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(_some(origin, files, staging, left, arrived))
    except* AgentFailure as failures:
        first: BaseException = failures
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None


async def _some(
    origin: Origin,
    files: tuple[OriginFile, ...],
    staging: Staging,
    left: Iterator[int],
    arrived: Callable[[int, bool], None],
) -> None:
    for index in left:
        parts = []
        for segment in staging.layout.segments(index):
            part = await origin.read(files[segment.file], segment.offset, segment.length)
            if len(part) != segment.length:
                raise AgentFailure(
                    f"{files[segment.file].path} of {staging.name} is cut off at its origin: {len(part)} of "
                    f"{segment.length} bytes came",
                    hint="look at the file at its origin, or pin another revision",
                )
            parts.append(part)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        digest = blake3(data) if len(data) < ASIDE_BYTES else await asyncio.to_thread(blake3, data)
        arrived(len(data), await staging.put(index, data, digest))
