"""The running controller as other processes see it: what it says of itself on its socket, and its log."""

import http.client
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from fleetctl.host.control_groups import RunningUnit, unit_in
from fleetctl.host.health import Health as Health
from fleetctl.host.rotation import older
from fleetctl.paths import Home, socket_path

ANSWER_S = 2.0
"""A controller answers between two steps of a tick; one that takes longer has other troubles, and that is told."""
LINES_MAX = 100_000
HEALTH_BYTES_MAX = 64 * 1024
_CHUNK_BYTES = 64 * 1024


def daemon_socket(home: Home) -> Path:
    """Where the controller's `/metrics` and `/healthz` are, whatever the fleet's file says."""
    return socket_path(home.root / "daemon.sock")


def daemon_log(home: Home) -> Path:
    """What `fleetctl daemon start` has the controller write into."""
    return home.logs / "daemon.log"


def unit_of_process(pid: int) -> RunningUnit | None:
    """The unit of systemd that the controller runs as; None: it was started otherwise, or that cannot be told."""
    try:
        return unit_in(Path(f"/proc/{pid}/cgroup").read_text())
    except OSError:
        return None


def health_of(path: Path) -> Health | None:
    """What the controller behind that socket says of itself; None: it does not answer as we know it."""
    import msgspec

    connection = _Connection(path)
    try:
        connection.request("GET", "/healthz")
        return msgspec.json.decode(connection.getresponse().read(HEALTH_BYTES_MAX), type=Health)
    except (OSError, http.client.HTTPException, msgspec.MsgspecError):
        return None
    finally:
        connection.close()


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def last_lines(log: Path, count: int) -> list[str]:
    """The last lines of a log, of the one before it too where this one is young. Raises `OSError`."""
    found = _tail(log, count)
    before = older(log)
    if len(found) < count and before.exists():
        found = [*_tail(before, count - len(found)), *found]
    return found


def followed(log: Path) -> Iterator[str]:
    """What is written from now on, as it comes, for ever; empty where nothing came. When the log is begun anew, it
    goes on there from the first line. Raises `OSError`."""
    opened = log.open("rb")
    opened.seek(0, os.SEEK_END)
    try:
        while True:
            text = opened.read(_CHUNK_BYTES).decode(errors="replace")
            yield text
            if not text and _replaced(log, opened.fileno()):
                opened.close()
                opened = log.open("rb")
    finally:
        opened.close()


def _tail(log: Path, count: int) -> list[str]:
    if count <= 0:
        return []
    with log.open("rb") as opened:
        end = opened.seek(0, os.SEEK_END)
        found = b""
        while end > 0 and found.count(b"\n") <= count:
            step = min(_CHUNK_BYTES, end)
            end -= step
            opened.seek(end)
            found = opened.read(step) + found
    return found.decode(errors="replace").splitlines()[-count:]


def _replaced(log: Path, descriptor: int) -> bool:
    try:
        return not os.path.samestat(log.stat(), os.fstat(descriptor))
    except OSError:
        return False
