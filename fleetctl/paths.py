"""Where fleetctl keeps its files on this machine."""

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fleetctl.errors import Conflict

_SOCKET_PATH_MAX = 100
"""A Unix socket's path may have 107 bytes on Linux and 103 on macOS; a longer one goes to a short folder instead."""


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of one fleet: `FLEETCTL_HOME`, or `fleetctl` in the XDG state folder."""

    root: Path

    @property
    def store(self) -> Path:
        return self.root / "fleet.db"

    @property
    def config(self) -> Path:
        """The settings of `kind: fleet`, as `up` last read them."""
        return self.root / "fleet.json"

    @property
    def machines(self) -> Path:
        """Instances of the local Provider; outlives the store."""
        return self.root / "machines"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def gateway_socket(self) -> Path:
        return socket_path(self.root / "gateway.sock")


def home() -> Home:
    """The Home that the environment names. Nothing is created."""
    override = os.environ.get("FLEETCTL_HOME")
    if override:
        return Home(Path(override).absolute())
    state = os.environ.get("XDG_STATE_HOME")
    base = Path(state) if state else Path.home() / ".local" / "state"
    return Home(base.absolute() / "fleetctl")


def socket_path(wanted: Path) -> Path:
    """`wanted`, or, where that is too long for a Unix socket, a path of the same meaning in a private short folder."""
    if len(os.fsencode(wanted)) <= _SOCKET_PATH_MAX:
        return wanted
    folder = Path(tempfile.gettempdir()) / f"fleetctl-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
        raise Conflict(
            f"{folder} is not a private folder of yours, so no socket can be put there",
            hint=f"remove {folder}, or set FLEETCTL_HOME to a shorter path",
        )
    digest = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:20]
    return folder / f"{digest}.sock"
