"""What every origin of an Artifact offers: a list of files, and any range of bytes of each."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginFile:
    """One file of an Artifact, as its origin describes it."""

    path: str
    """Relative, with `/`; never absolute, never with `..`."""
    size: int
    sha256: str | None = None
    """Hex, where the origin tells it."""
    version: str = ""
    """What changes when its content does (an ETag, a generation), where the origin tells one: a range read of another
    version is an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """All of an Artifact, pinned."""

    revision: str
    """The commit, or a digest of the paths, sizes and versions: the same revision has the same bytes."""
    files: tuple[OriginFile, ...]
    """By path."""


class Origin(Protocol):
    """One Artifact at its origin. Raises `errors.AgentFailure`, which names the Artifact and what to do."""

    async def contents(self) -> Contents: ...

    async def read(self, file: OriginFile, start: int, length: int) -> bytes:
        """Exactly `length` bytes from `start`. May be called many times at once."""

    async def close(self) -> None: ...
