"""Where an engine keeps what it compiles while it runs: one folder for each key, shared by all engines of that key."""

import re
import shutil
from collections.abc import Collection
from pathlib import Path

from fleetctl.agent.folder import Folder
from fleetctl.model.nodes import CacheFolder, EngineCache

_MODE = 0o777
"""Whoever an image's user is; nobody else comes through the machine's folder."""

KEPT_BYTES = 8 * 1024**3
"""Of what no engine uses and what was never saved: an engine that failed while it compiled goes on from there when it
is tried again. More is let go, the longest unused first."""


def working_folder(folder: Folder, key: str) -> Path:
    return folder.working / key


def part(one: CacheFolder) -> str:
    """What one of an engine's folders is called in the working folder."""
    return one.env or re.sub(r"[^A-Za-z0-9]+", "_", one.path).strip("_") or "home"


def made_parts(folder: Folder, cache: EngineCache) -> list[tuple[CacheFolder, Path]]:
    """Each of an engine's folders with where it is on this Node; made where it is not there."""
    found = []
    for one in cache.folders:
        place = working_folder(folder, cache.artifact.name) / part(one)
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(_MODE)
        found.append((one, place))
    return found


def marked(folder: Folder, key: str) -> bool:
    """Whether the working folder holds all that is saved under its key."""
    return _mark(folder, key).exists() and working_folder(folder, key).is_dir()


def mark(folder: Folder, key: str) -> None:
    _mark(folder, key).touch()


def key_of(place: Path) -> str:
    """What a folder beside the working folders, or one of them, belongs to."""
    return place.name.lstrip(".").partition(".")[0]


def removable(folder: Folder, used: Collection[str]) -> list[Path]:
    """What no engine uses: what is saved besides or was broken off, and of the rest the oldest beyond a bound."""
    found, left = [], []
    for place in sorted(folder.working.glob("*")):
        if key_of(place) in used or not place.is_dir():
            continue
        if place.name.startswith(".") or marked(folder, place.name):
            found.append(place)
        else:
            left.append(place)
    total = 0
    for place in sorted(left, key=lambda one: one.stat().st_mtime, reverse=True):
        total += sum(file.lstat().st_size for file in place.rglob("*") if not file.is_symlink() and file.is_file())
        if total > KEPT_BYTES:
            found.append(place)
    return found


def clear(folder: Folder, place: Path) -> None:
    _mark(folder, place.name).unlink(missing_ok=True)
    shutil.rmtree(place, ignore_errors=True)


def _mark(folder: Folder, key: str) -> Path:
    return folder.working / f"{key}.saved"
