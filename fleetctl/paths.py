"""Where fleetctl keeps its files on this machine."""

import os
from pathlib import Path

from fleetctl.errors import Conflict
from fleetctl.model.records import dataclass

_SOCKET_PATH_MAX = 100
"""A Unix socket's path may have 107 bytes on Linux and 103 on macOS; a longer one goes to a short folder instead."""


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of one fleet: `FLEETCTL_HOME`, or `fleetctl` in the XDG state folder."""

    root: Path
    context: str = ""
    """The context that names it; empty: the environment does, or nothing."""
    store_url: str | None = None
    """Of the context; wins over the fleet's own settings."""
    read_only: bool = False
    """Its context is only looked at."""
    typed: bool = False
    """What spends or destroys there is confirmed by typing the context's name."""

    @property
    def environment(self) -> dict[str, str]:
        """What leads a process of our own to this Home, whatever its context is called meanwhile."""
        return {"FLEETCTL_HOME": str(self.root), **({"FLEETCTL_STORE": self.store_url} if self.store_url else {})}

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


def home_named() -> Home | None:
    """The Home that FLEETCTL_HOME names, which wins over every context; FLEETCTL_STORE is its store's address."""
    override = os.environ.get("FLEETCTL_HOME")
    return Home(root=Path(override).absolute(), store_url=os.environ.get("FLEETCTL_STORE")) if override else None


def usual_home() -> Home:
    """The Home where nothing names one: `fleetctl` in the XDG state folder. Nothing is created."""
    state = os.environ.get("XDG_STATE_HOME")
    base = Path(state) if state else Path.home() / ".local" / "state"
    return Home(root=base.absolute() / "fleetctl")


def config_file() -> Path:
    """The user's own file, with contexts and settings: FLEETCTL_CONFIG; `config.yaml` in FLEETCTL_HOME, which replaces
    every other folder; or `fleetctl/config.yaml` in the XDG config folder."""
    override = os.environ.get("FLEETCTL_CONFIG")
    if override:
        return Path(override).absolute()
    if root := os.environ.get("FLEETCTL_HOME"):
        return Path(root).absolute() / "config.yaml"
    folder = os.environ.get("XDG_CONFIG_HOME")
    base = Path(folder) if folder else Path.home() / ".config"
    return base.absolute() / "fleetctl" / "config.yaml"


def socket_path(wanted: Path) -> Path:
    """`wanted`, or, where that is too long for a Unix socket, a path of the same meaning in a private short folder."""
    if len(os.fsencode(wanted)) <= _SOCKET_PATH_MAX:
        return wanted
    # Late: a path that long is rare, and what it takes costs as much as the interpreter's start.
    import hashlib
    import stat
    import tempfile

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
