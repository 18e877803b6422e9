"""A fleet as it is, seen from outside: folders and processes, and not a word from its store."""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from fleetctl.paths import Home

END_LIMIT_S = 20.0
"""For ending what a test left; killed processes are gone within milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What there is at one moment. Processes by pid, zombies left out."""

    machines: frozenset[str]
    """Folders that are Instances."""
    stopped: frozenset[str]
    """Those of them that are stopped."""
    debris: frozenset[str]
    """Other folders: half-made or half-removed machines."""
    agents: Mapping[str, tuple[int, ...]]
    """By machine."""
    engines: Mapping[str, tuple[int, ...]]
    """By Replica."""
    places: Mapping[str, str]
    """Machine of each Replica's engine."""
    halts: tuple[int, ...]
    gateways: tuple[int, ...]
    controllers: tuple[int, ...]
    """Loops: the daemon, and `run`."""

    def engine(self, replica: str) -> int:
        (pid,) = self.engines[replica]
        return pid


def look(home: Home) -> Sight:
    """Look at the folders and at every process of ours on this computer."""
    machines, stopped, debris = set[str](), set[str](), set[str]()
    for folder in home.machines.iterdir() if home.machines.is_dir() else ():
        if not folder.is_dir():
            continue
        if folder.name.startswith(".") or not (folder / "instance.json").exists():
            debris.add(folder.name)
            continue
        machines.add(folder.name)
        if (folder / "stopped").exists():
            stopped.add(folder.name)
    agents: dict[str, tuple[int, ...]] = {}
    engines: dict[str, tuple[int, ...]] = {}
    places: dict[str, str] = {}
    halts: list[int] = []
    gateways: list[int] = []
    controllers: list[int] = []
    for process in _ours(home):
        words, environment = process.words, process.environment
        if "fleetctl.agent" in words:
            if "--halt" in words:
                halts.append(process.pid)
            else:
                name = words[words.index("--instance") + 1]
                agents[name] = (*agents.get(name, ()), process.pid)
        elif "fleetctl.gateway" in words:
            gateways.append(process.pid)
        elif words[1:4] == ["-m", "fleetctl", "run"]:
            controllers.append(process.pid)
        elif "FLEETCTL_REPLICA" in environment:
            name = environment["FLEETCTL_REPLICA"]
            engines[name] = (*engines.get(name, ()), process.pid)
            places[name] = Path(environment["FLEETCTL_MACHINE"]).name
    return Sight(
        machines=frozenset(machines),
        stopped=frozenset(stopped),
        debris=frozenset(debris),
        agents=agents,
        engines=engines,
        places=places,
        halts=tuple(halts),
        gateways=tuple(gateways),
        controllers=tuple(controllers),
    )


def end_everything(home: Home) -> list[str]:
    """Kill by pid whatever still runs for the home; the command lines of what did."""
    found: dict[int, str] = {}
    deadline = time.monotonic() + END_LIMIT_S
    while left := list(_ours(home)):
        for process in left:
            found[process.pid] = " ".join(process.words)
            with contextlib.suppress(psutil.NoSuchProcess):
                process.handle.kill()
        if time.monotonic() > deadline:
            raise AssertionError(f"they do not end: {found}")
        psutil.wait_procs([process.handle for process in left], timeout=1.0)
    return list(found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    handle: psutil.Process
    pid: int
    words: list[str]
    environment: Mapping[str, str]


def _ours(home: Home) -> Iterator[_Process]:
    """Processes that name the home in their command line or in the marks of their environment."""
    root = str(home.root)
    for pid in psutil.pids():
        # One that ends while it is looked at, or belongs to somebody else, is none of ours.
        with contextlib.suppress(psutil.Error, OSError):
            # A fifth of the time that psutil takes for every process of a busy computer; tests look hundreds of times.
            place = Path("/proc", str(pid))
            if not any(os.fsencode(root) in (place / file).read_bytes() for file in ("cmdline", "environ")):
                continue
            handle = psutil.Process(pid)
            if handle.pid == os.getpid() or handle.uids().real != os.getuid():
                continue
            if handle.status() == psutil.STATUS_ZOMBIE:
                continue
            words, environment = handle.cmdline(), handle.environ()
            marks = (*words, environment.get("FLEETCTL_MACHINE", ""), environment.get("FLEETCTL_HOME", ""))
            if any(mark == root or mark.startswith(f"{root}/") for mark in marks):
                yield _Process(handle=handle, pid=handle.pid, words=words, environment=environment)
