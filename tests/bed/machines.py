"""Machines of a bed: each is a host on the bridge with its own processes, mounts and disk, an sshd and a dockerd."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bed.network import BedError, Link, begin, run
from bed.slots import ENDS_S, Slot, pids_in

UP_S = 30.0
"""For three machines that come up at once on two busy cores; it takes 2.3 s on idle ones."""
SSH_PORT = 22
_SCRIPT = Path(__file__).with_name("machine.sh")
_PATH = f"{sys.base_prefix}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The interpreter that runs the tests is the machines' Python, so that wheels packed from here fit there."""


class Machine:
    """One machine. Its disk stays when it dies or is stopped, until `wipe`."""

    def __init__(self, name: str, slot: Slot, link: Link) -> None:
        self.name = name
        self.link = link
        self.address = link.address
        self._slot = slot
        self._folder = slot.disk / name
        self.share = self._folder / "share"
        self._keys: list[str] = []
        self._trusted = ""
        self.wipe()

    def wipe(self) -> None:
        """A new disk, and a new host key with it; as of an instance that was terminated and rented again."""
        assert self.first_process() is None, f"{self.name} runs"
        shutil.rmtree(self._folder, ignore_errors=True)
        for part in ("upper", "work", "root", "docker", "share"):
            (self._folder / part).mkdir(parents=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", str(self.share / "host_key"))
        self.lets_in()
        (self.share / "trusted.pem").write_text(self._trusted)

    def trusts(self, certificate: Path) -> None:
        """Whatever is run over SSH there takes servers with this certificate for what they say, and no others."""
        self._trusted = certificate.read_text()
        (self.share / "trusted.pem").write_text(self._trusted)

    def lets_in(self, *keys: str) -> None:
        """Whoever has one of these public keys may log in as root, besides those let in before."""
        self._keys.extend(key for key in keys if key not in self._keys)
        path = self.share / "authorized_keys"
        path.write_text("".join(f"{key}\n" for key in self._keys))
        path.chmod(0o600)

    def start(self) -> None:
        """Switch it on; `wait` until it answers."""
        assert self.first_process() is None, f"{self.name} runs already"
        words: tuple[str, ...] = (
            "unshare",
            "--mount",
            "--uts",
            "--ipc",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            str(_SCRIPT),
        )
        words += (str(self._folder), self.link.space, self._slot.network, _PATH)
        begin(*words, space=self.link.space, log=self.share / "console.log")

    def wait(self) -> None:
        """Return when sshd and dockerd answer. Raises `BedError` with their last words."""
        deadline = time.monotonic() + UP_S
        while not (listens(self.address, SSH_PORT) and self._docker_answers()):
            if time.monotonic() > deadline:
                raise BedError(f"{self.name} did not come up within {UP_S:g} s: {self.said()}")
            time.sleep(0.1)

    def die(self) -> None:
        """As by a power cut: its first process is killed, and all others with it. The disk stays."""
        first = self.first_process()
        if first is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(first, signal.SIGKILL)
        deadline = time.monotonic() + ENDS_S
        while left := pids_in(self.link.space):
            if time.monotonic() > deadline:
                raise BedError(f"processes {left} of {self.name} do not end")
            time.sleep(0.02)

    def restart(self) -> None:
        self.die()
        self.start()
        self.wait()

    def first_process(self) -> int | None:
        """The pid, here, of its pid 1; None: it is off."""
        for pid in pids_in(self.link.space):
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("NSpid:") and line.split()[2:] and line.split()[-1] == "1":
                        return pid
        return None

    def inside(self, *words: str, check: bool = True) -> str:
        """A command's output, run in the machine past its network."""
        first = self.first_process()
        if first is None:
            raise BedError(f"{self.name} is off")
        enter = ("nsenter", "-t", str(first), "-m", "-u", "-i", "-n", "-p", "-r", "-w")
        done = subprocess.run([*enter, *words], capture_output=True, text=True, timeout=60, check=False)
        if check and done.returncode != 0:
            raise BedError(f"{self.name}: {' '.join(words)}: {done.stderr.strip() or done.returncode}")
        return done.stdout

    def docker(self, *words: str) -> str:
        return self.inside("docker", *words)

    def containers(self) -> Sequence[str]:
        """Names of its containers, ended ones too."""
        return self.docker("ps", "--all", "--format", "{{.Names}}").split()

    def programs(self, word: str = "") -> Sequence[str]:
        """Command lines that run there, outside of containers, with this word in them."""
        return [
            line for line in self.inside("ps", "-eo", "args=").splitlines() if word in line and "ps -eo" not in line
        ]

    def said(self) -> str:
        """The ends of its logs, for people."""
        ends = []
        for log in ("console.log", "dockerd.log", "sshd.log"):
            with contextlib.suppress(OSError):
                ends.append(f"{log}: {(self.share / log).read_text()[-800:]}")
        return "\n".join(ends)

    def _docker_answers(self) -> bool:
        try:
            return bool(self.inside("docker", "version", "--format", "{{.Server.Version}}", check=False).strip())
        except BedError:
            return False


def listens(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((address, port)) == 0
