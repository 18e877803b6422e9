"""A tree of compiled files copied out of an engine's hands, and back into them."""

import errno
import fnmatch
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fleetctl.agent.folder import write
from fleetctl.errors import AgentFailure

INDEX = "fleetctl-cache.json"
"""Beside the engine's folders: what there is, so that a tree that lacks something is found out."""

SIZE_MOST_BYTES = 16 * 1024**3
"""Compiled code and kernels of the largest models have a few GB. More is something else in the wrong folder, and takes
longer to carry than to compile."""

_ASIDE = ("*.lock", "lock", "*.tmp", "tmp.*", "*.pid", ".nfs*")
"""Locks say who compiles here now, and some by merely being there: another engine would wait for ever. Half-written
files are nothing to keep."""

_FOLDER_MODE = 0o777
_PIECE = 1 << 20


class Moving(Exception):
    """The engine still writes to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    path: str
    size: int
    mode: int
    mtime_ns: int
    """Build tools compare times of what they made from what."""
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    files: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look at a tree; two that are equal with time between them are of one that rests."""

    files: int = 0
    size: int = 0
    newest_ns: int = 0


def seen(root: Path) -> Seen:
    """What an engine has compiled so far."""
    files = size = newest = 0
    for _, _, found in _walked(root):
        files += 1
        size += found.st_size
        newest = max(newest, found.st_mtime_ns)
    return Seen(files=files, size=size, newest_ns=newest)


def save(root: Path, goal: Path) -> int:
    """Copy the tree to `goal` with its index. Returns bytes. Raises `Moving`, `AgentFailure`, `OSError`."""
    shutil.rmtree(goal, ignore_errors=True)
    goal.mkdir(parents=True)
    entries, total = [], 0
    for path, folder, found in _walked(root):
        total += found.st_size
        if total > SIZE_MOST_BYTES:
            raise AgentFailure(
                f"an engine's cache has more than {SIZE_MOST_BYTES >> 30} GiB and is not kept",
                hint="look whether something else lies in its cache folder",
            )
        target = goal / path
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = _taken(path, folder, found, target)
        entries.append(
            Entry(
                path=path,
                size=found.st_size,
                mode=stat.S_IMODE(found.st_mode),
                mtime_ns=found.st_mtime_ns,
                hash=digest,
            )
        )
    if not entries:
        raise Moving("there is nothing yet")
    entries.sort(key=lambda entry: entry.path)
    write(goal / INDEX, Index(files=tuple(entries)))
    return total


def restore(tree: Path, goal: Path) -> int:
    """Copy a saved tree to `goal`, which holds all of it or is as it was before. Returns bytes.

    Raises `AgentFailure` where something is missing, or is not what was saved; `OSError`.
    """
    try:
        index = msgspec.json.decode((tree / INDEX).read_bytes(), type=Index)
    except (OSError, msgspec.DecodeError) as error:
        raise AgentFailure(f"the saved engine cache {tree.name} is damaged: {error}") from None
    coming = goal.with_name(f".{goal.name}.coming")
    shutil.rmtree(coming, ignore_errors=True)
    coming.mkdir(parents=True)
    try:
        for entry in index.files:
            _put(tree, coming, entry)
        for folder, _, _ in os.walk(coming):
            Path(folder).chmod(_FOLDER_MODE)
        shutil.rmtree(goal, ignore_errors=True)
        coming.rename(goal)
    finally:
        shutil.rmtree(coming, ignore_errors=True)
    return sum(entry.size for entry in index.files)


def _walked(root: Path) -> Iterator[tuple[str, int, os.stat_result]]:
    """Each plain file: its path, the descriptor of its folder, and what it is. No link is followed: whoever writes here
    is not trusted with what else lies on the machine."""
    for folder, inside, names, descriptor in os.fwalk(root, follow_symlinks=False):
        inside[:] = sorted(name for name in inside if not _aside(name))
        for name in sorted(names):
            if _aside(name):
                continue
            try:
                found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(found.st_mode):
                yield (Path(folder) / name).relative_to(root).as_posix(), descriptor, found


def _aside(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in _ASIDE)


def _taken(path: str, folder: int, found: os.stat_result, target: Path) -> str:
    """Copy one file as it was seen. Returns the hash of its bytes. Raises `Moving`."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        source = os.open(path.rpartition("/")[2], flags, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            raise Moving(path) from None
        raise
    with os.fdopen(source, "rb") as opened, target.open("wb") as copy:
        digest = hashlib.blake2b(digest_size=32)
        while piece := opened.read(_PIECE):
            digest.update(piece)
            copy.write(piece)
        after = os.fstat(opened.fileno())
        if (after.st_size, after.st_mtime_ns) != (found.st_size, found.st_mtime_ns) or copy.tell() != found.st_size:
            raise Moving(path)
    return digest.hexdigest()


def _put(tree: Path, goal: Path, entry: Entry) -> None:
    target = goal / entry.path
    if ".." in Path(entry.path).parts or not target.is_relative_to(goal):
        raise AgentFailure(f"the saved engine cache {tree.name} holds a file called {entry.path!r}")
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.blake2b(digest_size=32)
    try:
        with (tree / entry.path).open("rb") as opened, target.open("wb") as copy:
            while piece := opened.read(_PIECE):
                digest.update(piece)
                copy.write(piece)
    except FileNotFoundError:
        raise AgentFailure(f"the saved engine cache {tree.name} lacks {entry.path}") from None
    if digest.hexdigest() != entry.hash:
        raise AgentFailure(f"the saved engine cache {tree.name} is damaged: {entry.path} is not what was saved")
    target.chmod((entry.mode & 0o777) | 0o666)
    os.utime(target, ns=(entry.mtime_ns, entry.mtime_ns))
