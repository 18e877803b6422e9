"""What is let go when the disk is needed for something else."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One published Artifact."""

    digest: str
    size: int
    used_at: float
    """Unix seconds: when it was last wanted."""


def evicted(entries: Iterable[Entry], keep: frozenset[str], *, excess: int) -> tuple[Entry, ...]:
    """Those to remove so that `excess` bytes come free, least recently used first; never one to keep.

    All that may go, where even that is not enough.
    """
    found: list[Entry] = []
    for entry in sorted(entries, key=lambda entry: (entry.used_at, entry.digest)):
        if excess <= 0:
            break
        if entry.digest not in keep:
            found.append(entry)
            excess -= entry.size
    return tuple(found)
