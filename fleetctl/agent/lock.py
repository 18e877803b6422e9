"""One node agent per machine: a lock held for its life, which also says which process it is."""

import fcntl
import os
from pathlib import Path

import msgspec

from fleetctl.agent.processes import ProcessId, this_process


def take(path: Path) -> int | None:
    """Lock the file and return its descriptor, to be kept open; None: another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def sign(descriptor: int) -> None:
    """Write into the locked file which process we are."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, msgspec.json.encode(this_process()), 0)


def signed(path: Path) -> ProcessId | None:
    """Who signed the file last, running or not; None: nobody, or it is being written."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ProcessId)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
