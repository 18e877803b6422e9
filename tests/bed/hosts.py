"""A Debian of its own on this machine, with systemd and cron, in namespaces: no Docker, no machine, no way out."""

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from bed.debian import bootstrap, suite
from bed.needs import program
from bed.network import BedError
from bed.places import cache

PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd"),
    *("cron", "procps", "tzdata", "python3"),
)
"""`python3` for the libraries that any Python of this machine needs."""
PROGRAMS = ("mmdebstrap", "unshare", "nsenter", "setpriv", "pivot_root", "mount", "ip")
UP_S = 60.0
"""systemd has started all of its units after 3 s on busy cores."""
COMMAND_S = 180.0
ENDS_S = 20.0
"""From SIGKILL until the last process of a namespace is gone."""
_SCRIPT = Path(__file__).with_name("host.sh")
_CHECKOUT = Path(__file__).parents[2]
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BEGIN = 'echo 0 >"$1/cgroup.procs" && shift && exec unshare --cgroup sh "$@"'
"""In its group before the namespace of groups is made: that group is the root that systemd sees."""


@functools.cache
def lacking() -> str:
    """Why no host can be made here; empty: it can, if its packages can be had."""
    if os.getuid() != 0:
        return "a host with systemd needs root"
    if missing := [name for name in PROGRAMS if program(name) is None]:
        return f"a host with systemd needs {', '.join(missing)}: apt-get install mmdebstrap util-linux iproute2"
    top = _groups()
    if top is None:
        return "a host with systemd needs control groups of version 2, mounted"
    try:
        _group(top, "probe").rmdir()
    except OSError as error:
        return f"a host with systemd needs a control group of its own: {top}: {error.strerror}"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "true"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return f"a host with systemd needs namespaces: {tried.stderr.strip()}" if tried.returncode else ""


def system() -> Path:
    """The file system that each host begins with, made once and cached. Raises `Unavailable`."""
    folder = cache() / "hosts"
    folder.mkdir(exist_ok=True)
    made = folder / f"{suite()}-{hashlib.sha256(' '.join(PACKAGES).encode()).hexdigest()[:8]}"
    with (cache() / "hosts.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            draft = made.with_name(f"draft-{os.getpid()}")
            bootstrap(PACKAGES, draft)
            draft.rename(made)
    return made


class Host:
    """One host that runs, with the checkout and this Python at the same paths, read-only."""

    def __init__(self, folder: Path, group: Path) -> None:
        self._folder = folder
        self._group = group
        self.bin = str(Path(sys.executable).parent)
        """Where `fleetctl` is."""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, begins_with: Path) -> None:
        """Return when systemd has started its units. Raises `BedError` with its last words."""
        for part in ("upper", "work", "root"):
            (self._folder / part).mkdir()
        paths = [str(path) for path in (Path(sys.base_prefix), _CHECKOUT, Path(sys.prefix)) if path != Path("/usr")]
        words = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--uts", "--ipc", "--pid", "--net"]
        words += ["--fork", "--kill-child", "sh", "-c", _BEGIN, "begin", str(self._group), str(_SCRIPT)]
        with (self._folder / "console.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*words, str(self._folder), str(begins_with), *paths],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + UP_S
        while self._state() not in ("running", "degraded"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self._folder / "console.log").read_text(errors="replace")[-1000:]
                raise BedError(f"the host did not come up within {UP_S:g} s: {said}")
            time.sleep(0.1)

    def end(self) -> None:
        """As by a power cut; nothing of it is left."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(ENDS_S)
        deadline = time.monotonic() + ENDS_S
        while not _removed(self._group):
            if time.monotonic() > deadline:
                raise BedError(f"processes of the host do not end: {self._group}")
            time.sleep(0.05)
        shutil.rmtree(self._folder)

    def user(self, name: str) -> None:
        """A user who may log in, and whose own systemd runs from now on."""
        self.run("useradd", "--create-home", "--shell", "/bin/bash", name)
        self.run("loginctl", "enable-linger", name)

    def run(
        self,
        *words: str,
        user: str | None = None,
        check: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        """A command that systemd runs, with our Python first in its PATH, in the home of root or of a user, as a unit
        of that one's own systemd. What it leaves running runs on."""
        given = {"PATH": f"{self.bin}:{_PATH}", "TERM": "dumb", "COLUMNS": "100", **(environment or {})}
        whose = ["-p", "WorkingDirectory=/root", "-E", "HOME=/root"]
        if user is not None:
            whose = ["--user", "-M", f"{user}@.host", "-p", f"WorkingDirectory=/home/{user}"]
        ours = [word for name, value in given.items() for word in ("-E", f"{name}={value}")]
        how = ["--quiet", "--wait", "--pipe", "--collect", "-p", "KillMode=process"]
        # systemd itself would look for a program in its own PATH, `env` looks in ours.
        return self._entered("systemd-run", *how, *whose, *ours, "env", *words, check=check)

    def write(self, path: str, text: str, *, user: str | None = None) -> None:
        """A file of root's or a user's, its folders made."""
        whose = ("setpriv", "--reuid", user, "--regid", user, "--clear-groups") if user else ()
        self._entered(*whose, "sh", "-c", 'mkdir -p "${1%/*}" && cat >"$1"', "sh", path, check=True, given=text)

    def entered(self, *words: str, mounts_of: int | None = None) -> "subprocess.CompletedProcess[str]":
        """A command of root's past systemd, or with the mounts of one of its processes (a pid there)."""
        inner = () if mounts_of is None else ("nsenter", "-t", str(mounts_of), "--mount")
        return self._entered(*inner, *words, check=False)

    def _entered(self, *words: str, check: bool, given: str = "") -> "subprocess.CompletedProcess[str]":
        first = self._first_process()
        if first is None:
            raise BedError("the host is off")
        enter = ["nsenter", "-t", str(first), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]
        done = subprocess.run(
            [*enter, "env", "-i", f"PATH={_PATH}", "LC_ALL=C.UTF-8", *words],
            input=given,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        if check and done.returncode != 0:
            raise BedError(f"{' '.join(words)}: {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def _state(self) -> str:
        return "" if self._first_process() is None else self.entered("systemctl", "is-system-running").stdout.strip()

    def _first_process(self) -> int | None:
        """The pid, here, of its pid 1."""
        with contextlib.suppress(OSError):
            for pid in (self._group / "init.scope" / "cgroup.procs").read_text().split():
                return int(pid)
        return None


@contextlib.contextmanager
def host() -> Iterator[Host]:
    """A host for as long as the block runs, one of a process. Raises `Unavailable` where its packages cannot be had."""
    begins_with = system()
    top, disks = _groups(), cache() / "machines"
    assert top is not None
    for left in top.glob("fleetctl-host-*"):
        if _ownerless(left):
            _removed(left)
    for left in disks.glob("host-*"):
        if _ownerless(left):
            shutil.rmtree(left, ignore_errors=True)
    folder = disks / f"host-{os.getpid()}"
    folder.mkdir(parents=True)
    made = Host(folder, _group(top, "host"))
    try:
        made.start(begins_with)
        yield made
    finally:
        made.end()


def _ownerless(left: Path) -> bool:
    """Whether the process that made it was killed, and the host with it."""
    return not Path("/proc", left.name.rpartition("-")[2]).exists()


def _groups() -> Path | None:
    """Where control groups of version 2 are mounted."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    return None


def _group(top: Path, what: str) -> Path:
    made = top / f"fleetctl-{what}-{os.getpid()}"
    made.mkdir()
    return made


def _removed(group: Path) -> bool:
    """Whether a group and those in it are gone; one with processes stays."""
    with contextlib.suppress(OSError):
        for one in sorted((one for one in group.rglob("*") if one.is_dir()), reverse=True):
            one.rmdir()
        group.rmdir()
    return not group.exists()
