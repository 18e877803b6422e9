"""Weights read into the page cache while other things are still under way, so that an engine finds them in memory."""

import asyncio
import os
from pathlib import Path

import psutil

_PIECE_BYTES = 64 * 1024**2
"""Asked for at once: long enough that a disk reads in one go, short enough to be broken off."""

MEMORY_SHARE = 0.5
"""Of the memory that is free: what does not fit into it would only drive out what was read before."""


async def read_ahead(place: Path) -> int:
    """Ask the kernel for the files of a folder, or for a file, the largest last. Returns the bytes asked for.

    What is in memory already costs nothing. Files that cannot be read are left out: the engine will say so.
    """
    left = int(psutil.virtual_memory().available * MEMORY_SHARE)
    asked = 0
    try:
        files = await asyncio.to_thread(_files, place)
    except OSError:
        return 0
    for path, size in files:
        if size > left:
            break
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            for start in range(0, size, _PIECE_BYTES):
                await asyncio.to_thread(_wanted, descriptor, start)
        finally:
            os.close(descriptor)
        left -= size
        asked += size
    return asked


def _files(place: Path) -> list[tuple[Path, int]]:
    found = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    return sorted(((path, path.stat().st_size) for path in found), key=lambda one: (one[1], one[0]))


def _wanted(descriptor: int, start: int) -> None:
    os.posix_fadvise(descriptor, start, _PIECE_BYTES, os.POSIX_FADV_WILLNEED)
