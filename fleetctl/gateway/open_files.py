"""How many clients a process can serve, by the files that it may open."""

import logging
import resource

from fleetctl.errors import UsageError
from fleetctl.gateway.limits import OPEN_FILES_RESERVED, OPEN_FILES_WANTED

_log = logging.getLogger("fleetctl.gateway")


def connections_within(wanted: int | None, processes: int = 1) -> int:
    """The clients that each of `processes` serves at once; `wanted` is for all together, None: as many as can be.

    Each client may need one more file for its replica. Raises the limit of open files as far as the user may; what is
    inherited by processes that are started. Raises `UsageError` where the files are not enough for what is wanted.
    """
    files = _raise_limit()
    possible = max(16, (files - OPEN_FILES_RESERVED) // 2)
    if wanted is not None:
        each = -(-wanted // processes)
        if each > possible:
            raise UsageError(
                f"{wanted} connections need {2 * each + OPEN_FILES_RESERVED} open files in each process,"
                f" and the limit is {files}",
                hint=f"raise it with: ulimit -n {2 * each + OPEN_FILES_RESERVED}"
                f" (systemd: LimitNOFILE=), or allow at most {possible * processes} connections",
            )
        return each
    if files < OPEN_FILES_WANTED:
        _log.warning(
            "only %d files may be open, so at most %d clients are served at once; raise it with: ulimit -n %d",
            files,
            possible * processes,
            OPEN_FILES_WANTED,
        )
    return possible


def _raise_limit() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as error:  # macOS: the hard limit is larger than the kernel's own
            _log.warning("the limit of open files stays at %d: %s", soft, error)
    return 2**20 if soft == resource.RLIM_INFINITY else soft
