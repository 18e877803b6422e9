"""A disk that is full or broken as one sentence, and sentences that name their Node."""

import contextlib
import errno
import os
import re
import shutil
from pathlib import Path

from fleetctl.errors import AgentFailure
from fleetctl.model.names import InstanceId

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def disk_failure(what: str, error: OSError, folder: Path) -> AgentFailure:
    """Why `what` could not be kept in the folder, and what to do."""
    if error.errno in FULL:
        free = shutil.disk_usage(folder).free if folder.exists() else 0
        return AgentFailure(
            f"the disk of {folder} is full, so {what} cannot be kept there: {amount(free)} free",
            hint="free space on this node, or give the pool's instances a larger disk",
        )
    where = f" ({error.filename})" if error.filename else ""
    return AgentFailure(
        f"{what} cannot be kept in {folder}: {error.strerror or type(error).__name__}{where}",
        hint="look at that disk and who may write there, on this node",
    )


def named(instance: InstanceId, said: str) -> str:
    """The sentence with the Node that it speaks of."""
    there = re.search(rf"(?<![\w/.-]){re.escape(instance)}(?![\w/-])", said)  # not as a part of a path or a name
    return said if there else f"{instance}: {said}"


def cleared(folder: Path) -> None:
    """Remove a folder, whoever may write to what is in it: what is published nobody may. What resists stays."""
    for inside, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):
            Path(inside).chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)


def amount(count: int) -> str:
    """Bytes as a disk's are told: `12.3 GB`, or `12.3 MB` of what is small."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
