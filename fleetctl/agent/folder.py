"""The folder of one machine: everything its node agent must not forget, each file replaced as a whole."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from fleetctl.errors import AgentFailure
from fleetctl.model.names import ReplicaId

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""A Replica's identifier names files and containers, so it must be a plain one."""


def plain(name: str) -> bool:
    """Whether the identifier can stand as the name of a file and of a container."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Folder:
    root: Path

    @property
    def lock(self) -> Path:
        """Held by the node agent for its life; says which process it is."""
        return self.root / "agent.lock"

    @property
    def desired(self) -> Path:
        return self.root / "desired.json"

    @property
    def boot(self) -> Path:
        return self.root / "boot.json"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts.json"

    @property
    def images(self) -> Path:
        """Which images we brought here."""
        return self.root / "images.json"

    @property
    def pulled_at_boot(self) -> Path:
        """Names of images that the first boot's script pulled; a line each."""
        return self.root / "pulled"

    @property
    def notice(self) -> Path:
        """Where a notice is rehearsed."""
        return self.root / "notice"

    @property
    def replicas(self) -> Path:
        return self.root / "replicas"

    @property
    def engines(self) -> Path:
        return self.root / "engines"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def cache(self) -> Path:
        """Seen by containers as their user's cache: weights and compiled kernels outlive the container."""
        return self.root / "cache"

    @property
    def working(self) -> Path:
        """Where engines compile; by the key of what they compile for."""
        return self.root / "working"

    @property
    def store(self) -> Path:
        """Artifacts that came in chunks: shared by all engines, written by none."""
        return self.root / "store"

    def replica(self, replica: ReplicaId) -> Path:
        return self.replicas / f"{replica}.json"

    def engine(self, replica: ReplicaId) -> Path:
        return self.engines / f"{replica}.json"

    def log(self, replica: ReplicaId) -> Path:
        return self.logs / f"{replica}.log"

    def make(self) -> None:
        """Make the subfolders that the agent writes to."""
        for folder in (self.replicas, self.engines, self.logs, self.cache):
            folder.mkdir(parents=True, exist_ok=True)

    def recorded_engines(self) -> tuple[ReplicaId, ...]:
        """Every Replica for which an engine was ever asked for and not yet cleared away."""
        return _stems(self.engines)

    def recorded_replicas(self) -> tuple[ReplicaId, ...]:
        return _stems(self.replicas)


def _stems(folder: Path) -> tuple[ReplicaId, ...]:
    if not folder.is_dir():
        return ()
    return tuple(sorted(ReplicaId(path.stem) for path in folder.glob("*.json")))


def write(path: Path, value: object) -> None:
    """Replace the file as a whole: a reader, or a crash at any moment, sees the old one or the new one.

    Its owner alone may read it: a desired state holds the fleet's key and a token.
    """
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)  # left by a crash, it may be there already
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(value))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read(path: Path, kind: type[T]) -> T | None:
    """What was written, or None where nothing was. Raises `AgentFailure` on a damaged file."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise AgentFailure(
            f"{path} is damaged: {error}", hint=f"remove {path} and start the node agent again"
        ) from None
