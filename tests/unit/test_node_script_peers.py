"""At which port the node script lets a machine's agent give Artifacts to others."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetctl.model.nodes import PEER_PORT
from fleetctl.node import payload
from fleetctl.node.launches import first_boot

AGENT = f"""\
#!/bin/sh
# An agent as far as the script looks at it: notes how it was started, and its socket is there.
echo "$@" >"$ASKED"
exec {sys.executable} -c 'import socket, sys
socket.socket(socket.AF_UNIX).bind(sys.argv[1 + sys.argv.index("--socket")])' "$@"
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """One of a short name: a socket's path has 100 characters at most."""
    with tempfile.TemporaryDirectory(prefix="fp-") as made:
        yield Path(made)


def started_with(folder: Path, root: Path, *words: str, claim: str = "", **environment: str) -> str:
    """The `--peers` of the agent that an installation starts, everything else of which is there already."""
    pins = "a==1"
    number = subprocess.run(["cksum"], input=pins, capture_output=True, text=True, check=True).stdout.split()[0]
    python = root / "envs" / number / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(AGENT)
    python.chmod(0o755)
    (root / "envs" / number / ".ready").touch()
    (root / "builds" / "1-b").mkdir(parents=True)
    (root / ".fleetctl-node").touch()
    if claim:
        (root / "claim").write_text(claim)
    script = folder / payload.SCRIPT
    script.write_text(payload.script().replace("/opt/fleetctl", str(root)))
    subprocess.run(
        ["sh", script, "install", "--build", "1-b", "--wheel", "w", "--pins", pins, *words],
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(root.parent),
            "FLEETCTL_LOGIN": "0",
            "ASKED": str(folder / "asked"),
            **environment,
        },
        check=True,
        capture_output=True,
        timeout=60,
    )
    found = re.search(r"--peers (\S+)", (folder / "asked").read_text())
    assert found is not None
    return found[1]


RENTED = ("--instance", "gpu-e1-1")


def test_a_rented_machine_has_the_port_that_its_cloud_opens(folder: Path) -> None:
    assert started_with(folder, folder / ".fleetctl", *RENTED) == f"auto:{PEER_PORT}"


def test_a_machine_of_ones_own_has_any_port(folder: Path) -> None:
    assert started_with(folder, folder / ".fleetctl", "--own", claim="f gpu-1 L4:1\n{}\n") == "auto"


def test_several_on_one_machine_have_any_port(folder: Path) -> None:
    root = folder / "one"

    assert started_with(folder, root, *RENTED, FLEETCTL_NODE_HOME=str(root)) == "auto"


def test_who_says_otherwise_is_heard(folder: Path) -> None:
    assert started_with(folder, folder / ".fleetctl", *RENTED, FLEETCTL_PEERS="off") == "off"


def test_the_first_boot_and_the_way_over_ssh_name_the_port() -> None:
    for text in (payload.script(), first_boot(())):
        assert f"auto:{PEER_PORT}" in text
        assert "@peer_port@" not in text
