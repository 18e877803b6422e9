"""Engines' log files: read from the end, and kept from filling the disk."""

import contextlib
import os
from pathlib import Path

LOG_LIMIT_BYTES = 64 * 1024 * 1024
"""A log larger than this is cut to its end: a week of an engine's chatter, and no danger to a disk of weights."""

_KEPT_BYTES = 1024 * 1024
"""What is kept of a log that is cut: more than anyone reads of a failure."""


def tail(path: Path, limit_bytes: int) -> bytes:
    """The last bytes of a file; empty where there is none."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - limit_bytes))
        return file.read(limit_bytes)
    return b""


def bound(folder: Path, *, limit_bytes: int = LOG_LIMIT_BYTES) -> None:
    """Cut every log that has outgrown the limit. Engines append, so they go on writing at the new end."""
    for path in folder.glob("*.log"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > limit_bytes:
                kept = tail(path, _KEPT_BYTES)
                os.truncate(path, 0)
                with path.open("ab") as file:
                    file.write(kept)


def last_lines(text: bytes, *, lines: int, width: int) -> str:
    """The last lines that say anything, each cut to `width` characters, for a message."""
    said = [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]
    return "\n".join(line if len(line) <= width else line[: width - 1] + "…" for line in said[-lines:])
