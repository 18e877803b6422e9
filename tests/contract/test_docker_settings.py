"""The first boot's script and Docker's own settings: it adds what is lacking, and restarts nothing."""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from image_nodes import docker, docker_daemon

from fleetctl.node import payload
from fleetctl.node.launches import first_boot

MIRRORS = ("http://127.0.0.1:5001", "https://mirror.example:5000")

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("docker") is None, reason="needs root and docker (apt-get install docker.io)"
)


def prepare(folder: Path, *words: str, pid: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "FLEETCTL_NODE_HOME": str(folder / "node"),
        "FLEETCTL_DOCKER_SETTINGS": str(folder / "etc" / "daemon.json"),
        "FLEETCTL_DOCKER_PID": str(pid or folder / "no.pid"),
    }
    script = payload.standalone(("prepare", *words))
    return subprocess.run(["sh"], input=script, env=environment, check=True, timeout=60, text=True, capture_output=True)


@pytest.mark.parametrize(
    ("before", "mirrors", "after"),
    [
        (None, (), {"max-concurrent-downloads": 10, "live-restore": True}),
        (
            None,
            MIRRORS,
            {"max-concurrent-downloads": 10, "live-restore": True, "registry-mirrors": list(MIRRORS)},
        ),
        (
            {"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}, "max-concurrent-downloads": 4},
            (),
            {
                "max-concurrent-downloads": 4,
                "runtimes": {"nvidia": {"path": "nvidia-container-runtime"}},
                "live-restore": True,
            },
        ),
        (
            {"live-restore": False, "registry-mirrors": ["https://theirs.example/", f"{MIRRORS[1]}/"]},
            MIRRORS,
            {
                "max-concurrent-downloads": 10,
                "live-restore": False,
                "registry-mirrors": [MIRRORS[0], "https://theirs.example/", f"{MIRRORS[1]}/"],
            },
        ),
    ],
    ids=["none", "mirrors", "a user's own stay", "mirrors are added before theirs"],
)
def test_what_is_lacking_is_added(
    tmp_path: Path, before: dict[str, object] | None, mirrors: Sequence[str], after: dict[str, object]
) -> None:
    settings = tmp_path / "etc" / "daemon.json"
    if before is not None:
        settings.parent.mkdir()
        settings.write_text(json.dumps(before))

    prepare(tmp_path, "--mirrors", " ".join(mirrors))
    once = settings.stat()
    prepare(tmp_path, "--mirrors", " ".join(mirrors))

    assert json.loads(settings.read_text()) == after
    assert settings.stat().st_ino == once.st_ino, "nothing is lacking the second time"


def test_settings_that_cannot_be_read_are_left_alone(tmp_path: Path) -> None:
    settings = tmp_path / "etc" / "daemon.json"
    settings.parent.mkdir()
    settings.write_text("{not json")

    ran = prepare(tmp_path)

    assert settings.read_text() == "{not json"
    assert "is left as it is" in ran.stderr


@pytest.mark.docker
@pytest.mark.slow
def test_a_daemon_that_runs_takes_them_up_without_a_restart(tmp_path: Path) -> None:
    settings, pid = tmp_path / "etc" / "daemon.json", tmp_path / "pid"
    settings.parent.mkdir()
    settings.write_text('{"debug": false}')
    with docker_daemon("--bridge=none", "--iptables=false", "--config-file", str(settings), pid=pid) as host:
        before = pid.read_text()

        prepare(tmp_path, "--mirrors", MIRRORS[0], pid=pid)
        told, asked = "", "{{.LiveRestoreEnabled}} {{.RegistryConfig.Mirrors}}"
        for _ in range(200):
            told = docker(host, "info", "--format", asked).stdout.decode()
            if told.startswith("true"):
                break
        after = pid.read_text()

    assert told == f"true [{MIRRORS[0]}/]\n"
    assert before == after


def test_mirrors_travel_with_the_launch() -> None:
    text = first_boot((), mirrors=MIRRORS)

    assert f"--mirrors '{' '.join(MIRRORS)}'" in text
    assert "--mirrors" not in first_boot(()).splitlines()[-1]
