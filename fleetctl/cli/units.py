"""Unit files of systemd on this machine: written whole or not at all, what others wrote is kept aside."""

import os
import shutil
import subprocess
import time
from pathlib import Path

from fleetctl.cli.output import say
from fleetctl.errors import FleetError, NotFound
from fleetctl.host.unit_files import is_ours

SYSTEM_FOLDER = Path("/etc/systemd/system")
SYSTEMCTL_S = 60.0
"""`enable --now` waits until a unit of Type=notify is ready; the first tick may wait for a store."""


def user_folder() -> Path:
    """Where the user's own systemd looks for units."""
    config = os.environ.get("XDG_CONFIG_HOME")
    return (Path(config) if config else Path.home() / ".config") / "systemd" / "user"


def put_unit(path: Path, text: str) -> bool:
    """Write a unit; whether that changed anything. One that somebody else wrote or changed is kept aside, and that is
    said."""
    try:
        before = path.read_text(errors="replace") if path.exists() else None
        if before == text:
            return False
        if before is not None and not is_ours(before):
            _keep_aside(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.tmp")
        draft.write_text(text)
        draft.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    return True


def remove_unit(path: Path) -> bool:
    """Take a unit away; whether it was there. One that somebody changed by hand is kept aside, and that is said."""
    try:
        if not path.exists():
            return False
        if is_ours(path.read_text(errors="replace")):
            path.unlink()
        else:
            _keep_aside(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    return True


def systemd_answers(*, user: bool, instead: str) -> None:
    """Raises `NotFound`, with what to run `instead`, unless a systemd takes units here. Nothing is written before."""
    whose = "no systemd of yours" if user else "no systemd"
    if shutil.which("systemctl") is None:
        raise NotFound(f"there is no systemctl here, so {whose} takes units", hint=instead)
    if not systemctl("show", "--property=Version", user=user, check=False):
        raise NotFound(f"{whose} answers here, so nothing was written", hint=instead)


def systemctl(*words: str, user: bool, check: bool = True) -> bool:
    """Run systemctl; whether it succeeded. Raises `NotFound` where there is none, `FleetError` with what it said."""
    program = shutil.which("systemctl")
    if program is None:
        raise NotFound("there is no systemctl here", hint="fleetctl daemon start")
    command = [program, *(["--user"] if user else []), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SYSTEMCTL_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise FleetError(
            f"`{' '.join(command[1:])}` did not end within {SYSTEMCTL_S:g} s", hint="look at: systemctl status"
        ) from error
    if done.returncode and check:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise FleetError(
            f"the units are written, but systemctl {' '.join(words)} failed: {said[-1] if said else done.returncode}",
            hint=f"when systemd runs here: systemctl {'--user ' if user else ''}daemon-reload, then the same again",
        )
    return done.returncode == 0


def _keep_aside(path: Path) -> None:
    stamp = time.strftime("%Y%m%dT%H%M%S")
    kept = path.with_name(f"{path.name}.before-{stamp}")
    number = 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{path.name}.before-{stamp}-{number}")
    path.rename(kept)
    say(f"{path.name} was changed by hand; what it was is kept as {kept}")


def _unwritable(path: Path, error: OSError) -> FleetError:
    return FleetError(
        f"{path}: cannot be written: {error.strerror}",
        hint=f"look at: ls -ld {path.parent}; units of the system need root, those of your own: --user",
    )
