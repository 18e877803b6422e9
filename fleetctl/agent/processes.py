"""Processes by identity: a pid alone may have been given to somebody else since it was written down."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

import psutil

_CLOCK_SLACK_S = 2.0
"""A process's start is counted from the computer's boot time, which the clock's corrections move by up to a second
or so. A pid that comes back to another process within two seconds of the first one's start does not happen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessId:
    """One process, for all time: its pid and when it was created, in unix seconds."""

    pid: int
    created_at: float


def identify(pid: int) -> ProcessId:
    """The identity of a process that is there now. Raises `psutil.NoSuchProcess`."""
    return ProcessId(pid=pid, created_at=psutil.Process(pid).create_time())


def this_process() -> ProcessId:
    return identify(os.getpid())


def find(wanted: ProcessId | None) -> psutil.Process | None:
    """The process, if it still runs. A zombie has ended."""
    if wanted is None:
        return None
    try:
        process = psutil.Process(wanted.pid)
        if abs(process.create_time() - wanted.created_at) > _CLOCK_SLACK_S or not _runs(process):
            return None
    except psutil.NoSuchProcess:
        return None
    return process


def carriers(marks: tuple[tuple[str, str], ...]) -> list[psutil.Process]:
    """Own processes whose environment holds all the marks, oldest first. Reads every process: some milliseconds."""
    found = []
    mine = os.getuid()
    for process in psutil.process_iter():
        # A process that ends while it is looked at, or that may not be looked at, is not one of ours.
        with contextlib.suppress(psutil.Error):
            if process.uids().real != mine:
                continue
            environment = process.environ()
            if all(environment.get(name) == value for name, value in marks) and _runs(process):
                found.append(process)
    return sorted(found, key=psutil.Process.create_time)


def family(process: psutil.Process) -> list[psutil.Process]:
    """The process and everything it started, at this moment."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


def send(processes: Iterable[psutil.Process], signal: int) -> None:
    """Signal each that still runs; psutil refuses a pid that changed hands."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal)


def still_running(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    running = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if _runs(process):
                running.append(process)
    return running


def listens(process: psutil.Process, port: int) -> bool:
    """Whether the process, or one that it started, has the TCP port. Where that may not be read: yes."""
    try:
        return any(True for _ in _listening(process, port))
    except psutil.AccessDenied:
        return True


def open_to_others(process: psutil.Process, port: int) -> str:
    """The address beyond loopback at which it, or a process that it started, has the TCP port; empty: none is seen."""
    try:
        return next((f"{ip}:{port}" for ip in _listening(process, port) if not ip_address(ip).is_loopback), "")
    except psutil.AccessDenied:
        return ""


def _listening(process: psutil.Process, port: int) -> Iterator[str]:
    """The addresses at which they have it."""
    for member in family(process):
        with contextlib.suppress(psutil.NoSuchProcess):
            for connection in member.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    yield connection.laddr.ip


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
