"""What is said between commands and the tunnels' process: JSON over its Unix socket."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fleetctl.model.names import ReplicaId
from fleetctl.model.nodes import NodeDesired
from fleetctl.node.keys import ssh_folder
from fleetctl.paths import Home, socket_path

STATUS, APPLY, LOGS, RUN, HEALTH, SHUTDOWN = "/status", "/apply", "/logs", "/run", "/health", "/shutdown"

BODY_LIMIT_BYTES = 16 * 1024 * 1024
"""As an agent's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One question about one machine; what the question does not use stays as it is."""

    address: str
    desired: NodeDesired | None = None
    replica: ReplicaId = ReplicaId("")
    tail_bytes: int = 0
    words: Sequence[str] = ()
    timeout_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    error: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    pid: int
    build: str
    """Of fleetctl's node part: the process of an older release is replaced."""
    machines: int


def tunnels_socket(home: Home) -> Path:
    return socket_path(ssh_folder(home) / "tunnels.sock")
