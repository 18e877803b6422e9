"""The controller's own process: what systemd hears of it, over a real socket, and a log that does not grow for ever."""

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetctl.host.notify import STATUS_CHARS_MAX, from_environment
from fleetctl.host.rotation import Rotation, older

WRITER = """
import os, sys
from pathlib import Path
from fleetctl.host.rotation import Rotation
rotation = Rotation(Path(sys.argv[1]), most_bytes=100)
for number in range(30):
    os.write(1, b"out %02d\\n" % number)
    os.write(2, b"err %02d\\n" % number)
    rotation.check()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for a Unix socket's path."""
    with tempfile.TemporaryDirectory(prefix="fn-") as made:
        yield Path(made)


def heard(listener: socket.socket, times: int) -> list[str]:
    listener.settimeout(5.0)
    return [listener.recv(4096).decode() for _ in range(times)]


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_ready_beats_and_the_end(folder: Path, abstract: bool) -> None:
    address = f"@{folder}" if abstract else str(folder / "notify")
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1", "PATH": "/bin"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + address[1:] if abstract else address)
        spoken = from_environment(environment)

        spoken.ready("1 service,\n2/2 replicas ready")
        spoken.beat("x" * 1000)
        spoken.stopping()
        spoken.close()

        assert heard(listener, 3) == [
            "READY=1\nSTATUS=1 service, 2/2 replicas ready",
            f"WATCHDOG=1\nSTATUS={'x' * STATUS_CHARS_MAX}",
            "STOPPING=1",
        ]
    assert environment == {"PATH": "/bin"}, "what this process starts must not speak for it"


def test_without_systemd_nothing_is_told(folder: Path) -> None:
    for environment in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": f"{folder}/gone"}):
        spoken = from_environment(dict(environment))
        spoken.ready("up")
        spoken.beat("up")
        spoken.close()
        spoken.beat("closed")


def test_a_log_is_begun_anew_with_one_older_beside_it(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    with log.open("ab") as sink:
        subprocess.run([sys.executable, "-c", WRITER, str(log)], stdout=sink, stderr=sink, check=True)

    assert log.stat().st_size < 200
    assert older(log).stat().st_size < 200
    kept = older(log).read_text() + log.read_text()
    lines = kept.split("\n")[:-1]
    assert lines == [f"{name} {number:02}" for number in range(30) for name in ("out", "err")][-len(lines) :]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["daemon.log", "daemon.log.1"]


def test_a_log_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    log.write_bytes(b"x" * 1000)

    assert not Rotation(log, most_bytes=10).check()
    assert not Rotation(tmp_path / "none", most_bytes=10).check()
    assert [path.name for path in tmp_path.iterdir()] == ["daemon.log"]
