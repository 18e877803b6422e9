"""A disk that is full or broken as one sentence, and sentences that name their Node."""

import errno
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
            f"the disk of {folder} is full, so {what} cannot be kept there: {free / 1e6:.1f} MB free",
            hint="free space on this node, or give the pool's instances a larger disk",
        )
    where = f" ({error.filename})" if error.filename else ""
    return AgentFailure(
        f"{what} cannot be kept in {folder}: {error.strerror or type(error).__name__}{where}",
        hint="look at that disk and who may write there, on this node",
    )


def named(instance: InstanceId, said: str) -> str:
    """The sentence with the Node that it speaks of."""
    return said if instance in said else f"{instance}: {said}"
