"""Which beds there are: each has one of ten numbers, which its addresses and all its names carry.

A number is held by a lock for as long as its owner lives, so that what a crashed owner left is known for what it is and
is removed before the number is used again. A bed that is kept for a person has a mark instead, until it is taken down.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bed.places import RUN, cache

SLOTS = 10
ENDS_S = 20.0
"""From SIGKILL until the last process of a namespace is gone: containers' mounts take a moment."""


class Slot:
    """One number, and everything that is called by it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = f"fb{number}"
        self.folder = RUN / str(number)
        """Sockets, logs, states."""
        self.disk = cache() / "machines" / self.name
        """Machines' own file systems."""
        self.kept = RUN / f"{number}.kept"
        self._lock = RUN / f"{number}.lock"
        self._held: int | None = None

    def address(self, host: int) -> str:
        return f"10.99.{self.number}.{host}"

    @property
    def network(self) -> str:
        return f"10.99.{self.number}.0/24"

    def take(self) -> bool:
        """Whether it is ours now. Of a bed that is kept, or whose owner lives, it is not."""
        RUN.mkdir(parents=True, exist_ok=True)
        held = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(held)
            return False
        if self.kept.exists():
            os.close(held)
            return False
        self._held = held
        return True

    def release(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def clear(self) -> None:
        """End and remove all that carries its number, by namespace and pid; nothing else is looked at."""
        spaces = namespaces(self.name)
        deadline = time.monotonic() + ENDS_S
        while pids := [pid for space in spaces for pid in pids_in(space)]:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise RuntimeError(f"processes {pids} of the test bed {self.name} do not end")
            time.sleep(0.05)
        for space in spaces:
            # The veth pairs of a namespace go with it.
            subprocess.run(["ip", "netns", "delete", space], check=False, capture_output=True)
        subprocess.run(["ip", "link", "delete", f"{self.name}c"], check=False, capture_output=True)
        for folder in (self.disk, self.folder):
            _removed(folder)
        for top in Path("/sys/fs/cgroup").glob(f"*/{self.name}-*"):
            for group in sorted((one for one in top.rglob("*") if one.is_dir()), reverse=True):
                with contextlib.suppress(OSError):
                    group.rmdir()
            with contextlib.suppress(OSError):
                top.rmdir()
        self.kept.unlink(missing_ok=True)


def _removed(folder: Path) -> None:
    """Also just after its mounts' last namespace ended, which the kernel finishes in its own time."""
    deadline = time.monotonic() + ENDS_S
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            if time.monotonic() > deadline:
                shutil.rmtree(folder)
            time.sleep(0.1)


@contextlib.contextmanager
def slot() -> Iterator[Slot]:
    """A free number for as long as the block runs, with what others left under it removed."""
    _sweep()
    mine = _first_free()
    try:
        mine.clear()
        yield mine
    finally:
        try:
            if not mine.kept.exists():
                mine.clear()
        finally:
            mine.release()


def _first_free() -> Slot:
    for number in range(SLOTS):
        one = Slot(number)
        if one.take():
            return one
    raise RuntimeError(f"all {SLOTS} test beds of this machine are in use: make test-bed-down")


def _sweep() -> None:
    """What crashed owners left, of every number."""
    for number in range(SLOTS):
        one = Slot(number)
        if (one.folder.exists() or namespaces(one.name)) and one.take():
            try:
                one.clear()
            finally:
                one.release()


def namespaces(name: str) -> list[str]:
    """The network namespaces of a bed."""
    folder = Path("/run/netns")
    return sorted(one.name for one in folder.iterdir() if one.name.startswith(f"{name}-")) if folder.is_dir() else []


def pids_in(space: str) -> list[int]:
    """Who is in a network namespace."""
    listed = subprocess.run(["ip", "netns", "pids", space], check=False, capture_output=True, text=True)
    return [int(word) for word in listed.stdout.split()]
