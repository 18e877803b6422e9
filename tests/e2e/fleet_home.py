"""A fleet of a test's own: a folder, `fleetctl` run in it as a user would, and nothing left when the test ends."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
from ports import free_port

Value = TypeVar("Value")

COMMAND_S = 120.0
"""No command of these tests takes a tenth of that on two cores of its own; on busy ones it may."""
ENDS_S = 20.0
"""From a signal to the end of a process of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One command that ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def error(self) -> dict[str, Any]:
        """The error of a command that was asked for JSON."""
        body = self.json()
        assert set(body) == {"error"}, body
        error = body["error"]
        assert isinstance(error, dict)
        return error


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One command that goes on, its output in files."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def said(self) -> str:
        return self.err.read_text()

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self, *, within_s: float = COMMAND_S) -> Ran:
        """Wait until it has ended by itself."""
        code = self.process.wait(within_s)
        return Ran(code=code, out=self.out.read_text(), err=self.err.read_text())


class FleetHome:
    """A folder with the fleet's files in `files/` and its state in `home/`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / "files"
        self.root = folder / "home"
        self.port = free_port()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FLEETCTL_")},
            "FLEETCTL_HOME": str(self.root),
            "TMPDIR": str(folder),
            "COLUMNS": "100",
        }
        self._children: list[subprocess.Popen[bytes]] = []
        self.files.mkdir()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def write(self, name: str, text: str) -> Path:
        path = self.files / name
        path.write_text(text)
        return path

    def run(
        self,
        *words: str | Path,
        code: int | None = 0,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
        within_s: float = COMMAND_S,
    ) -> Ran:
        """Run `fleetctl` with these words to its end; the exit code must be `code` (None: any). Never a traceback."""
        done = subprocess.run(
            [*before, sys.executable, "-m", "fleetctl", *map(str, words)],
            cwd=cwd or self.files,
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
        ran = Ran(code=done.returncode, out=done.stdout, err=done.stderr)
        told = f"fleetctl {' '.join(map(str, words))} ended with {ran.code}\n{ran.out}\n{ran.err}"
        assert "Traceback" not in ran.err, told
        assert code is None or ran.code == code, told
        return ran

    def start(self, *words: str | Path, cwd: Path | None = None) -> Running:
        """Begin a command that goes on."""
        number = len(self._children)
        out, err = self.folder / f"out-{number}", self.folder / f"err-{number}"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "fleetctl", *map(str, words)],
                cwd=cwd or self.files,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self._children.append(process)
        return Running(process=process, out=out, err=err)

    def processes(self) -> list[psutil.Process]:
        """Every process of this fleet, whoever started it: all carry this test's folder in their environment."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                mine = process.environ().get("FLEETCTL_HOME") == str(self.root)
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def clear(self) -> None:
        """End all of it and remove the folder."""
        self.clear_processes()
        shutil.rmtree(self.folder, ignore_errors=True)

    def clear_processes(self) -> None:
        """End every process of this fleet, by pid."""
        for _ in range(3):  # what a process started while it was looked for is found the second time
            left = self.processes()
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(left, timeout=ENDS_S)
            if not left:
                break
        for child in self._children:
            child.wait(ENDS_S)


@contextmanager
def fleet_home() -> Iterator[FleetHome]:
    """A FleetHome in a folder short enough for Unix sockets; cleared at the end, come what may."""
    made = FleetHome(Path(tempfile.mkdtemp(prefix="fe-")))
    try:
        yield made
    finally:
        made.clear()


def until(what: str, look: Callable[[], Value | None], *, within_s: float, every_s: float = 0.1) -> Value:
    """The first answer of `look` that is neither None nor False; fails with `what` when there is none in time."""
    deadline = time.monotonic() + within_s
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        assert time.monotonic() < deadline, f"{what}: not within {within_s:g} s"
        time.sleep(every_s)


def answers(url: str) -> bool:
    """Whether something listens there."""
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


# the fleet's files, as short as they can be


def fleet_text(port: int, *, machines: int = 2, gpus: int = 4, boot: str = "100ms", store: Path | None = None) -> str:
    """`kind: fleet` and one pool, `box`, of machines that boot in no time."""
    kept = f"store: {store}\n" if store is not None else ""
    return f"""\
kind: fleet
name: e2e
gateway: {{listen: 127.0.0.1:{port}, auth: none}}
period: 300ms
{kept}---
kind: pool
name: box
gpu: L40S:{gpus}
provider: local
max: {machines}
standby: none
price_per_hour: 2
local: {{boot: {boot}}}
"""


def service_text(
    name: str,
    *,
    engine: str = "rehearsal",
    args: str = "",
    least: int = 1,
    most: int = 2,
    idle: str = "2s",
    startup: str = "20s",
    drain: str = "20s",
) -> str:
    """One service in the pool `box`."""
    given = f"args: {args}\n" if args else ""
    to_zero = f", idle: {idle}" if least == 0 else ""
    return f"""\
kind: service
name: {name}
engine: {engine}
model: rehearsal-8b
gpu: L40S:1
concurrency: 2
pool: box
startup_timeout: {startup}
drain_timeout: {drain}
scaling:
  {{policy: target_concurrency, min: {least}, max: {most}, window: 1s, panic_window: 500ms,
    scale_down_delay: 1s{to_zero}}}
{given}"""
