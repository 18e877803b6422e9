"""Machines reached over SSH: real sshds on 127.0.0.1, each with keys, a home and a folder for fleetctl of its own."""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from ports import free_port

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
BOUND_S = 60.0

needs_sshd = pytest.mark.skipif(
    not (Path(SSHD).exists() and os.getuid() == 0 and shutil.which("ssh-keygen")),
    reason="needs root and OpenSSH's sshd: apt-get install openssh-server",
)


class SshMachine:
    """One machine. Its sshd runs in the foreground of a session of its own; nothing listens beyond 127.0.0.1."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.home = folder / "home"
        self.root = folder / "node"
        self.user = getpass.getuser()
        self.port = free_port()
        self.environment: dict[str, str] = {}
        self._sshd: subprocess.Popen[bytes] | None = None
        self.home.mkdir(parents=True)
        self.new_host_key()
        (folder / "authorized_keys").touch()

    @property
    def address(self) -> str:
        return f"ssh://{self.user}@127.0.0.1:{self.port}"

    def lets_in(self, *keys: str) -> None:
        """Nobody but who has one of these keys."""
        (self.folder / "authorized_keys").write_text("".join(f"{key}\n" for key in keys))

    def new_host_key(self) -> None:
        """As of a machine that was made anew."""
        key = self.folder / "host_key"
        for file in (key, key.with_suffix(".pub")):
            file.unlink(missing_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, timeout=BOUND_S)

    def start(self) -> None:
        Path("/run/sshd").mkdir(exist_ok=True)
        set_env = {
            "HOME": str(self.home),
            "FLEETCTL_NODE_HOME": str(self.root),
            # The interpreter that runs the tests is the machine's Python.
            "PATH": f"{sys.base_prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "DOCKER_HOST": f"unix://{self.folder}/no-docker.sock",
            **self.environment,
        }
        config = self.folder / "sshd_config"
        config.write_text(
            f"ListenAddress 127.0.0.1:{self.port}\n"
            f"HostKey {self.folder}/host_key\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\n"
            f"PidFile none\n"
            "StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PermitRootLogin prohibit-password\nPrintMotd no\nLogLevel VERBOSE\n"
            f"SetEnv {' '.join(f'{name}={value}' for name, value in set_env.items())}\n"
        )
        self._sshd = subprocess.Popen(
            [SSHD, "-D", "-f", config, "-E", self.folder / "sshd.log"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + BOUND_S
        while not _listens(self.port):
            assert self._sshd.poll() is None, (self.folder / "sshd.log").read_text()
            assert time.monotonic() < deadline, f"sshd of {self.name} does not listen"
            time.sleep(0.02)

    def cut(self) -> int:
        """Break every connection that is open; how many there were. The sshd goes on."""
        assert self._sshd is not None
        sessions = psutil.Process(self._sshd.pid).children(recursive=True)
        for one in sessions:
            with contextlib.suppress(psutil.Error):
                one.kill()
        psutil.wait_procs(sessions, timeout=BOUND_S)
        return len(sessions)

    def off(self) -> None:
        """As with the network cable out: nothing answers, and what runs there runs on."""
        if self._sshd is not None:
            sshd, self._sshd = self._sshd, None
            sessions = psutil.Process(sshd.pid).children(recursive=True)
            sshd.kill()
            sshd.wait(BOUND_S)
            for one in sessions:
                with contextlib.suppress(psutil.Error):
                    one.kill()

    def processes(self, word: str = "") -> list[psutil.Process]:
        """What of fleetctl's runs there."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                    line = process.cmdline()
                    here = str(self.root)
                    mine = any(here in part for part in line) or here in process.environ().get("FLEETCTL_MACHINE", "")
                    if mine and any(word in part for part in line):
                        found.append(process)
        return found

    def agents(self) -> list[psutil.Process]:
        return [one for one in self.processes("fleetctl.agent") if "--halt" not in one.cmdline()]

    def clear(self) -> None:
        self.off()
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)


@contextmanager
def ssh_machines(count: int) -> Iterator[tuple[SshMachine, ...]]:
    """So many machines, up; gone at the end, with all that ran there."""
    folder = Path(tempfile.mkdtemp(prefix="fs-"))
    made = tuple(SshMachine(f"m{number}", folder / f"m{number}") for number in range(1, count + 1))
    try:
        for machine in made:
            machine.start()
        yield made
    finally:
        for machine in made:
            machine.clear()
        shutil.rmtree(folder, ignore_errors=True)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
