"""Processes of a measurement: where they run, what CPU time and memory their whole tree takes."""

import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

FILES_WANTED = 20_000
"""A gateway that carries 2,000 streams has 4,000 sockets; the largest sample has room above it."""
END_S = 5.0
"""How long a process may take to end when asked, before it is killed."""


class Missing(Exception):
    """Something that is needed for a measurement or a candidate is not installed; says how to install it."""


@dataclass(frozen=True, slots=True)
class Places:
    """Which cores are whose: one for the candidate, the others for the load and the upstream."""

    candidate: frozenset[int]
    others: frozenset[int]


def places() -> Places:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise Missing("one core for the candidate and one for the load are needed; this machine lends only one")
    return Places(frozenset(cores[:1]), frozenset(cores[1:]))


def raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < FILES_WANTED:
        raise Missing(f"{FILES_WANTED} open files are needed, {hard} are allowed: ulimit -n {FILES_WANTED}")


class Tree:
    """A process with all that it has started."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        cores: frozenset[int],
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        talks: bool = False,
    ) -> None:
        """`talks`: its stdin and stdout are pipes to us; else stdout goes to `log`, as stderr always does."""
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else out,
                stderr=out,
                env={**os.environ, **env} if env else None,
                cwd=cwd,
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )

    def pids(self) -> list[int]:
        here = psutil.Process(self.process.pid)
        return [here.pid, *(child.pid for child in here.children(recursive=True))]

    def cpu_s(self) -> float:
        """CPU time of all its processes so far, user and system, in nanosecond steps."""
        total = 0.0
        for pid in self.pids():
            with suppress(OSError):
                total += time.clock_gettime(
                    (~pid << 3) | 2
                )  # the kernel's CPU-time clock of a process: clock_getcpuclockid(3)
        return total

    def rss_bytes(self) -> int:
        return sum(psutil.Process(pid).memory_info().rss for pid in self.pids())

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-600:].strip()

    def end(self) -> None:
        with suppress(psutil.NoSuchProcess):
            family = [psutil.Process(pid) for pid in self.pids()]
            for one in family:
                with suppress(psutil.NoSuchProcess):
                    one.terminate()
            _, stubborn = psutil.wait_procs(family, timeout=END_S)
            for one in stubborn:
                one.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


@dataclass(frozen=True, slots=True)
class Tools:
    load: Path
    upstream: Path


def compiled(folder: Path) -> Tools:
    """Compile the load generator and the upstream there. Raises `Missing` without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise Missing("a C compiler is needed for the load generator: apt-get install gcc libc6-dev")
    here = Path(__file__).parent
    tools = Tools(folder / "load", folder / "upstream")
    for tool in (tools.load, tools.upstream):
        subprocess.run([compiler, "-O2", "-o", tool, here / f"{tool.name}.c", "-lm"], check=True)
    return tools


def scratch() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="fleetctl-bench-")
