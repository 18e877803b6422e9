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
SYSTEMCTL_S = 150.0
"""`enable --now` waits until the first tick has ended, `disable --now` until the last: longer than the unit allows."""
USERS_RUN = Path("/run/user")
"""Where each user's own systemd has its socket, when it runs."""
_NO_REASON = ("Created symlink", "Removed ", "See ")
"""How lines of systemctl begin that tell no reason."""


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
        raise NotFound(f"{whose} answers here, so nothing was written", hint=_reached(instead) if user else instead)


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
        lines = (done.stderr or done.stdout).strip().splitlines()
        said = [line for line in lines if line and not line.startswith(_NO_REASON)]
        raise FleetError(
            f"the units are written, but systemctl {' '.join(words)} failed: {said[0] if said else done.returncode}",
            hint=f"see why: journalctl {'--user ' if user else ''}-e -n 30; then the same again",
        )
    return done.returncode == 0


def _reached(instead: str) -> str:
    """What to run where a user's systemd runs and is not found, as in a shell of `su` or `sudo -u`."""
    folder = USERS_RUN / str(os.geteuid())
    if "XDG_RUNTIME_DIR" in os.environ or not (folder / "systemd").is_dir():
        return instead
    return f"export XDG_RUNTIME_DIR={folder}, and the same again: it runs, and this shell knows not where; or {instead}"


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
