"""Schedules in the system's own cron, or as timers of the user's systemd: each calls `fleetctl schedule run`."""

import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

from fleetctl.cli.output import say
from fleetctl.cli.session import Session
from fleetctl.cli.units import put_unit, remove_unit, systemctl, systemd_answers, user_folder
from fleetctl.errors import FleetError, NotFound
from fleetctl.host.calendars import cron_times
from fleetctl.host.crontabs import block_of, command_line, with_block
from fleetctl.host.timers import prefix, service_text, timer_name, timer_text
from fleetctl.model.records import dataclass
from fleetctl.views.timetables import Entry
from fleetctl.wiring import log_of

CRONTAB_S = 20.0
"""crontab reads and writes one small file."""
LOCALTIME = Path("/etc/localtime")
"""The zone that cron lives in."""
NO_CRONTAB = ("no crontab for", "no such file", "can't open")
"""What cron, cronie and busybox say of a user who has none yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One line of a crontab, or one unit."""

    name: str
    """Of the Schedule, or of the unit."""
    text: str
    changed: bool


def words_of(name: str) -> list[str]:
    """The command that a line or a timer calls."""
    return [sys.executable, "-m", "fleetctl", "schedule", "run", name]


def environment_of(here: Session) -> Mapping[str, str]:
    """What it needs to find the fleet. It stores what is wanted and calls no other program, so it needs no PATH; a long
    one would make a line longer than the thousand characters that Debian's cron takes."""
    return here.home.environment


def crontab_lines(here: Session, every: Sequence[Entry], log: Path) -> list[tuple[str, str]]:
    """(schedule, line) of each."""
    zone, found = zone_here(), []
    for one in every:
        for times in cron_times(one.schedule.cron, one.schedule.tz, zone, now=time.time()):
            line = command_line(
                times,
                words_of(one.name),
                environment=environment_of(here),
                lock=here.home.root / "schedules.lock",
                log=log,
            )
            found.append((one.name, line))
    return found


def into_crontab(here: Session, every: Sequence[Entry], *, dry_run: bool) -> list[Installed]:
    """Our block of the user's crontab, as it is or would be from now on. No entries: the block is taken away."""
    for program in ("crontab", "flock"):
        if shutil.which(program) is None and not dry_run:
            raise NotFound(
                f"there is no {program} here",
                hint="install cron and util-linux, or: fleetctl schedule install --systemd",
            )
    log = here.home.logs / "schedules.log" if dry_run else log_of(here.home, "schedules")
    lines = crontab_lines(here, every, log)
    if dry_run and shutil.which("crontab") is None:
        return [Installed(name=name, text=line, changed=True) for name, line in lines]
    before = _crontab()
    known = block_of(before, here.home.root)
    after = with_block(before, here.home.root, [line for _, line in lines])
    if not dry_run and after != before:
        _replace_crontab(before, after)
    found = [Installed(name=name, text=line, changed=line not in known) for name, line in lines]
    kept = [line for _, line in lines]
    return found + [Installed(name="removed", text=line, changed=True) for line in known if line not in kept]


def into_systemd(here: Session, every: Sequence[Entry], *, dry_run: bool) -> list[Installed]:
    """The timers of the user's systemd, as they are or would be from now on. No entries: they are taken away."""
    folder, fleet = user_folder(), fleet_tag(here)
    texts: dict[str, str] = {}
    for one in every:
        name = timer_name(fleet, one.name)
        texts[f"{name}.timer"] = timer_text(one.schedule, one.name)
        texts[f"{name}.service"] = service_text(one.name, words_of(one.name), environment_of(here))
    old = sorted(path for path in folder.glob(f"{prefix(fleet)}*") if path.suffix in (".timer", ".service"))
    gone = [path for path in old if path.name not in texts]
    if dry_run:
        changed = {name: not _same(folder / name, text) for name, text in texts.items()}
    else:
        systemd_answers(user=True, instead="fleetctl schedule install --crontab")
        for path in gone:
            if path.suffix == ".timer":
                systemctl("disable", "--now", path.name, user=True, check=False)
                systemctl("clean", "--what=state", path.name, user=True, check=False)  # when it fired last
            remove_unit(path)
        changed = {name: put_unit(folder / name, text) for name, text in texts.items()}
        if gone or any(changed.values()):
            systemctl("daemon-reload", user=True)
        if timers := [name for name in texts if name.endswith(".timer")]:
            systemctl("enable", "--now", *timers, user=True)
            say("they fire while you are logged in; for always: loginctl enable-linger")
    found = [Installed(name=name, text=text, changed=changed[name]) for name, text in texts.items()]
    return found + [Installed(name=path.name, text="removed", changed=True) for path in gone]


def fleet_tag(here: Session) -> str:
    """The fleet in names of units: two fleets of one name have two homes."""
    return f"{here.config.name}-{hashlib.sha256(str(here.home.root).encode()).hexdigest()[:4]}"


def zone_here() -> ZoneInfo:
    """The zone of the system's clock, which cron goes by; UTC where none is set."""
    try:
        with LOCALTIME.open("rb") as file:
            return ZoneInfo.from_file(file, key=str(LOCALTIME))
    except (OSError, ValueError):
        return ZoneInfo("UTC")


def _same(path: Path, text: str) -> bool:
    try:
        return path.read_text() == text
    except OSError:
        return False


def _crontab() -> bytes:
    done = _run("-l")
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.decode(errors="replace").strip()
    if not done.stdout and any(words in said.lower() for words in NO_CRONTAB):
        return b""
    raise FleetError(
        f"the crontab cannot be read, so it was left as it is: {said or f'crontab -l ended with {done.returncode}'}",
        hint="try: crontab -l",
    )


def _replace_crontab(before: bytes, after: bytes) -> None:
    """All of it or nothing: what crontab refuses, or does not keep as it was given, is undone."""
    done = _run("-", given=after) if after else _run("-r")
    if done.returncode == 0 and _crontab() == after:
        return
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if _crontab() != before:
        _run("-", given=before)
    raise FleetError(
        f"crontab did not take it, and has what it had before: {said[0] if said else 'it kept something else'}",
        hint="see what it would be: fleetctl schedule install --crontab --dry-run",
    )


def _run(word: str, *, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    program = shutil.which("crontab")
    if program is None:
        raise NotFound("there is no crontab here", hint="fleetctl schedule install --systemd")
    try:
        return subprocess.run([program, word], input=given, capture_output=True, timeout=CRONTAB_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise FleetError(f"crontab did not answer within {CRONTAB_S:g} s", hint="try: crontab -l") from error
