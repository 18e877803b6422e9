"""The node script by itself: who may not have root, where systemd runs, and who else may have claimed the machine."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ssh_machines import needs_sshd
from wheels import folder_of_wheels

from fleetctl.node import payload

pytestmark = [pytest.mark.slow, needs_sshd]

NOBODY = 65534
SYSTEMCTL = """\
#!/bin/sh
# systemd as far as one unit needs it: runs what ExecStart says, with its environment, and ends it.
unit=/etc/systemd/system/$(for word; do case $word in fleetctl-agent*) echo "${word%.service}";; esac; done).service
echo "$@" >>"$LOG"
main=$(dirname "$LOG")/main.pid
case $1 in
  restart)
    start=$(sed -n 's/^ExecStart=//p' "$unit"); environment=$(sed -n 's/^Environment=//p' "$unit")
    [ ! -e "$main" ] || kill "$(cat "$main")" 2>/dev/null || true
    setsid env $environment $start </dev/null >/dev/null 2>&1 9>&- & echo $! >"$main" ;;
  stop | disable) [ ! -e "$main" ] || kill "$(cat "$main")" 2>/dev/null || true; rm -f "$main" ;;
esac
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="fn-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def unpacked(folder: Path, *, packages: bool = False) -> Path:
    """The script with what it installs, as the tar leaves it."""
    where = folder / "sent"
    where.mkdir(mode=0o755)
    (where / payload.SCRIPT).write_text(payload.script())
    wheel = payload.wheel()
    (where / wheel.name).write_bytes(wheel.data)
    if packages:
        shutil.copytree(folder_of_wheels(), where / payload.PACKAGES)
    return where / payload.SCRIPT


def run(
    script: Path, *words: str, environment: dict[str, str], user: int | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", script, *words],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment},
        user=user,
        group=user,
        extra_groups=[] if user is not None else None,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_without_root_everything_is_below_the_users_home(folder: Path) -> None:
    home = folder / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    script = unpacked(folder)
    environment = {"HOME": str(home), "FLEETCTL_LOGIN": str(NOBODY)}

    claimed = run(script, "claim", "own", "gpu-1", "L4:1", "{}", environment=environment, user=NOBODY)
    again = run(script, "claim", "other", "gpu-9", "L4:1", "{}", environment=environment, user=NOBODY)
    stranger = run(script, "release", "other", "gpu-9", environment=environment, user=NOBODY)
    held = run(script, "claims", environment=environment, user=NOBODY)
    released = run(script, "release", "own", "gpu-1", environment=environment, user=NOBODY)

    assert claimed.returncode == 0, claimed.stderr
    assert "claim=own gpu-1 L4:1\n{}" in claimed.stdout
    assert again.stdout == claimed.stdout, "told who holds it"
    assert (stranger.returncode, held.stdout) == (0, claimed.stdout)
    assert released.returncode == 0, released.stderr
    assert list(home.iterdir()) == []


def test_a_claim_under_another_login_is_seen(folder: Path) -> None:
    """Where root's is in the way of a user's: two controllers that log in differently meet all the same."""
    script = unpacked(folder)
    home = folder / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    text = script.read_text().replace("/opt/fleetctl", f"{folder}/opt")
    script.write_text(text)

    by_root = run(script, "claim", "own", "gpu-1", "L4:1", "{}", environment={"HOME": str(folder)})
    by_user = run(
        script,
        *("claim", "other", "gpu-9", "L4:1", "{}"),
        environment={"HOME": str(home), "FLEETCTL_LOGIN": str(NOBODY)},
        user=NOBODY,
    )

    assert by_root.returncode == 0, by_root.stderr
    assert by_user.returncode != 0
    assert f"claimed already, in {folder}/opt" in by_user.stderr
    assert list(home.iterdir()) == []


def test_where_systemd_runs_the_agent_is_its_unit(folder: Path) -> None:
    """In a mount namespace of its own, with a systemctl that runs the unit as it is written."""
    tools = folder / "tools"
    tools.mkdir()
    (tools / "systemctl").write_text(SYSTEMCTL)
    (tools / "systemctl").chmod(0o755)
    script = unpacked(folder, packages=True)
    wheel = payload.wheel()
    install = [
        *("install", "--build", wheel.build, "--wheel", wheel.name, "--pins", " ".join(payload.pins())),
        *("--instance", "gpu-1", "--packages", payload.PACKAGES),
    ]
    kept = folder / "kept"
    kept.mkdir()
    inside = f"""
        set -e
        mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system
        mount -t tmpfs tmpfs /etc/systemd
        mkdir -p /etc/systemd/system
        sh {script} {subprocess.list2cmdline(install)}
        cp /etc/systemd/system/*.service {kept}/
        sh {script} prepare --cloud aws
        cp /etc/systemd/system/*.service {kept}/late
        curl -sf --unix-socket {folder}/node/agent.sock http://node/v1/status >{kept}/status
        sh {script} claim own gpu-1 L4:1 '{{}}' >/dev/null
        sh {script} release own gpu-1
        ls /etc/systemd/system >{kept}/left
    """
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", inside],
        env={
            "PATH": f"{tools}:{sys.base_prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(folder),
            "FLEETCTL_NODE_HOME": str(folder / "node"),
            "LOG": str(folder / "systemctl.log"),
        },
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    if "unshare" in done.stderr and "not permitted" in done.stderr:
        pytest.skip("needs a mount namespace of its own")

    assert done.returncode == 0, done.stderr
    (unit,) = kept.glob("*.service")
    text = unit.read_text()
    assert "KillMode=process\n" in text, "engines outlive their agent"
    assert "Restart=always\n" in text
    assert f"--folder {folder}/node/machine" in text
    assert "--notices" not in text
    assert "--notices aws" in (kept / "late").read_text(), "the first boot's script was slower than the way over SSH"
    assert '"instance":"gpu-1"' in (kept / "status").read_text()
    assert (kept / "left").read_text() == ""
    assert not (folder / "node").exists()
    asked = (folder / "systemctl.log").read_text()
    assert "enable --quiet fleetctl-agent" in asked
    assert "disable --quiet --now fleetctl-agent" in asked
    if shutil.which("systemd-analyze"):
        exists = text.replace(str(folder / "node"), "/").split("ExecStart=")[0] + "ExecStart=/bin/true\n"
        unit.write_text(exists + "\n[Install]\nWantedBy=multi-user.target\n")
        checked = subprocess.run(
            ["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60, check=False
        )
        assert unit.name not in checked.stderr, checked.stderr
