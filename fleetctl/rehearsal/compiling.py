"""What an engine compiles at its first start and finds at the next, as files in a folder: all of it, or none counts."""

import asyncio
import fcntl
import hashlib
import json
import os
from pathlib import Path

FOLDER_ENV = "REHEARSAL_CACHE_DIR"
"""Where it is kept; not set: nothing is."""
_FILES = 8
"""Engines write many small files while they compile, one after the other."""
_DONE = "done.json"


async def compiled(model: str, *, seconds: float, size: int) -> bool:
    """Have the code for the model: found, which takes no time, or compiled. Whether it was found."""
    kept = os.environ.get(FOLDER_ENV)
    if not kept:
        await asyncio.sleep(seconds)
        return False
    folder = Path(kept) / hashlib.sha256(model.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "compiling.lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)  # another engine may be at it: it is waited for
        if await asyncio.to_thread(_whole, folder):
            return True
        hashes = {}
        for number in range(_FILES):
            await asyncio.sleep(seconds / _FILES)
            data = hashlib.shake_256(f"{model} {number}".encode()).digest(max(1, size // _FILES))
            name = f"kernel-{number}.bin"
            (folder / name).write_bytes(data)
            hashes[name] = hashlib.sha256(data).hexdigest()
        (folder / _DONE).write_text(json.dumps(hashes))
    return False


def _whole(folder: Path) -> bool:
    """Whether every file is there as it was written."""
    try:
        hashes = json.loads((folder / _DONE).read_text())
        return all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == value for name, value in hashes.items())
    except (OSError, ValueError):
        return False
