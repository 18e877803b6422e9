"""Images that we brought to this machine: what is known of each, and which go when the disk is needed."""

import logging
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from fleetctl.agent.chunks.lru import Entry, evicted
from fleetctl.agent.disk import disk_failure
from fleetctl.agent.folder import Folder, read, write
from fleetctl.errors import AgentFailure

log = logging.getLogger(__name__)

LIMIT_SHARE = 0.25
"""Of Docker's disk, for images that we brought. Weights may take 70 % of it (`chunks/store.py`); the machine's own
system needs the rest. On 200 GB that is two serving images of 20 to 25 GB."""

FREE_SHARE = 0.05
"""Of the disk that stays free: below it engines' logs and caches begin to fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One image of ours."""

    name: str
    """By which it was wanted."""
    id: str
    """Docker's own: `sha256:…` of its configuration."""
    size: int
    """Bytes unpacked; layers that images share count for each."""
    used_at: float
    """Unix seconds: when it was last wanted."""
    references: tuple[str, ...] = ()
    """Names that we gave it here; without them Docker lets it go."""
    digest: str = ""


class KeptImages:
    """The record of them, on disk."""

    def __init__(self, folder: Folder, *, limit_bytes: int | None = None) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._kept: dict[str, Kept] | None = None

    def get(self, name: str) -> Kept | None:
        return self._all().get(name)

    def ours(self, image: str) -> bool:
        """Whether we brought the image of this identifier, by whatever name."""
        return any(kept.id == image for kept in self._all().values())

    def put(self, kept: Kept) -> None:
        self._all()[kept.name] = kept
        self._write()

    def forget(self, name: str) -> None:
        if self._all().pop(name, None) is not None:
            self._write()

    def touch(self, names: Iterable[str]) -> None:
        """They are wanted now."""
        found = [self._all()[name] for name in names if name in self._all()]
        for kept in found:
            self._all()[kept.name] = replace(kept, used_at=time.time())
        if found:
            self._write()

    def to_let_go(self, wanted: frozenset[str], used: frozenset[str], disk: Path | None) -> tuple[Kept, ...]:
        """Those that must leave: least recently used first, none that is wanted, by name, or used, by identifier.

        `disk`: where Docker keeps its images; None: it cannot be seen from here.
        """
        everything = self._all().values()
        ids = {kept.id: kept for kept in sorted(everything, key=lambda kept: kept.used_at)}
        excess = 0
        if disk is not None:
            seen = shutil.disk_usage(disk)
            limit = int(seen.total * LIMIT_SHARE) if self._limit_bytes is None else self._limit_bytes
            held = sum(kept.size for kept in ids.values())
            excess = max(held - limit, int(seen.total * FREE_SHARE) - seen.free)
        elif self._limit_bytes is not None:
            excess = sum(kept.size for kept in ids.values()) - self._limit_bytes
        stays = frozenset(kept.id for kept in everything if kept.name in wanted) | used
        entries = [Entry(digest=kept.id, size=kept.size, used_at=kept.used_at) for kept in ids.values()]
        leaving = {entry.digest for entry in evicted(entries, stays, excess=excess)}
        return tuple(kept for kept in everything if kept.id in leaving)

    def unwanted(self, wanted: frozenset[str], used: frozenset[str]) -> tuple[Kept, ...]:
        """All that could go."""
        stays = {kept.id for kept in self._all().values() if kept.name in wanted} | used
        return tuple(kept for kept in self._all().values() if kept.id not in stays)

    def begun_at_boot(self) -> tuple[str, ...]:
        """Names that the first boot's script pulled, and that are not in the record yet."""
        try:
            lines = self._folder.pulled_at_boot.read_text().split()
        except OSError:
            return ()
        return tuple(name for name in dict.fromkeys(lines) if name not in self._all())

    def _all(self) -> dict[str, Kept]:
        if self._kept is None:
            try:
                found = read(self._folder.images, tuple[Kept, ...]) or ()
            except AgentFailure as failure:
                # Whatever it named stays on the machine, as if somebody else had brought it.
                log.warning("%s; the images it named are left alone", failure.message)
                found = ()
            self._kept = {kept.name: kept for kept in found}
        return self._kept

    def _write(self) -> None:
        try:
            write(self._folder.images, tuple(self._all().values()))
        except OSError as error:  # they are here, and known in this life of the agent
            log.warning("%s", disk_failure("the list of images", error, self._folder.root).message)
