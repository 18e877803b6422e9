"""`fleetctl provider`: the command as a process, with an installer of ours on its PATH instead of the network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from sky_world import World

from fleetctl.spec.fleet import FleetConfig

UV = """\
#!/bin/sh
echo "$@" >> "$(dirname "$0")/asked"
if [ "$1" = venv ]; then mkdir -p "$4/bin" && cp {python} "$4/bin/python"; fi
if [ "$1" = pip ] && [ -e "$(dirname "$0")/offline" ]; then echo "no route to the index"; exit 2; fi
if [ "$1" = pip ]; then mkdir -p "$(dirname "$4")/../lib/python3.11/site-packages/sky"
  touch "$(dirname "$4")/../lib/python3.11/site-packages/sky/__init__.py"; fi
"""


@pytest.fixture
def uv(sky: World, tmp_path: Path) -> Path:
    """A folder with an installer that makes the stand-in the environment's Python."""
    folder = tmp_path / "installer"
    folder.mkdir()
    (folder / "uv").write_text(UV.format(python=sky.python))
    (folder / "uv").chmod(0o700)
    return folder


def fleetctl(home: Path, *words: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLEETCTL_")}
    kept |= {"FLEETCTL_HOME": str(home), "PATH": f"{path}:/usr/bin:/bin" if path else "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, "-m", "fleetctl", "provider", *words],
        env=kept,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_setup_says_what_it_installs_and_does_nothing_unasked(tmp_path: Path, uv: Path) -> None:
    done = fleetctl(tmp_path / "home", "setup", "sky", "--with", "lambda,runpod", path=uv)

    assert done.returncode == 3
    for words in ("skypilot[lambda,runpod]==0.14.1", "460 MB", "96 packages", str(tmp_path / "home/sky/venv")):
        assert words in done.stderr
    assert not (uv / "asked").exists()


def test_setup_makes_the_environment_and_ls_shows_it(tmp_path: Path, uv: Path) -> None:
    home = tmp_path / "home"
    before = json.loads(fleetctl(home, "ls", "-o", "json").stdout)["items"]

    done = fleetctl(home, "setup", "sky", "--yes", path=uv)
    again = fleetctl(home, "setup", "sky", "--with", "lambda", "--yes", "-o", "json", path=uv)
    after = json.loads(fleetctl(home, "ls", "-o", "json").stdout)["items"]

    assert (done.returncode, again.returncode) == (0, 0), done.stderr + again.stderr
    assert "SkyPilot 0.14.1" in done.stderr, "it was tried"
    assert done.stdout == ""
    assert json.loads(again.stdout)["installed"] == "skypilot[lambda]==0.14.1"
    assert [words.split()[0] for words in (uv / "asked").read_text().splitlines()] == ["venv", "pip", "pip"]
    assert [row["environment"] for row in before if row["name"] == "sky"] == ["missing"]
    assert [row["environment"] for row in after if row["name"] == "sky"] == ["ready"]


def test_setup_that_fails_says_so_and_can_be_repeated(tmp_path: Path, uv: Path) -> None:
    (uv / "offline").touch()
    failed = fleetctl(tmp_path / "home", "setup", "sky", "--yes", path=uv)
    (uv / "offline").unlink()
    mended = fleetctl(tmp_path / "home", "setup", "sky", "--yes", path=uv)

    assert failed.returncode == 1
    assert "no route to the index" in failed.stderr
    assert "exit code 2 of:" in failed.stderr
    assert mended.returncode == 0


@pytest.mark.parametrize(
    ("name", "options", "key"),
    [
        ("aws", {"regions": ["us-east-1"]}, "Statement"),
        ("gcp", {"project": "p", "regions": ["us-central1"]}, "includedPermissions"),
        ("azure", {"subscription": "00000000-0000-0000-0000-000000000001", "regions": ["eastus"]}, "Actions"),
    ],
)
def test_permissions_are_a_document_for_the_clouds_own_tools(
    tmp_path: Path, name: str, options: dict[str, object], key: str
) -> None:
    (tmp_path / "fleet.json").write_bytes(msgspec.json.encode(FleetConfig(providers={name: options})))

    done = fleetctl(tmp_path, "permissions", name)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[key]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("permissions", "sky"), "sky has no document of permissions"),
        (("permissions", "nowhere"), "no provider is called 'nowhere'"),
        (("setup", "aws"), "aws needs no environment of its own"),
        (("setup", "sky", "--with", "lamda"), "has no extra called 'lamda'"),
    ],
)
def test_what_there_is_not_is_told(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    done = fleetctl(tmp_path, *words)

    assert done.returncode == 2
    assert told in done.stderr
    assert "hint: " in done.stderr
