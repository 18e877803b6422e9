"""A log that this process writes as its standard output or error: bounded, with one older file beside it."""

import os
from pathlib import Path

LOG_BYTES_MAX = 10 * 1024 * 1024
"""Weeks of a quiet fleet, an hour of one in trouble; with the older file twice that at most."""
_STREAMS = (1, 2)


class Rotation:
    """Begins the file anew when it is full. Does nothing where the streams go elsewhere."""

    def __init__(self, path: Path, *, most_bytes: int = LOG_BYTES_MAX) -> None:
        self._path = path
        self._most_bytes = most_bytes

    def check(self) -> bool:
        """Whether the log was full and has been begun anew. One that cannot be moved is written on."""
        try:
            there = self._path.stat()
            if there.st_size < self._most_bytes:
                return False
            ours = [one for one in _STREAMS if os.path.samestat(os.fstat(one), there)]
            if not ours:
                return False
            self._path.replace(older(self._path))
            fresh = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError:
            return False
        for one in ours:
            os.dup2(fresh, one)
        os.close(fresh)
        return True


def older(path: Path) -> Path:
    """Where the log before this one lies."""
    return path.with_name(f"{path.name}.1")
