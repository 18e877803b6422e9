"""`--watch` in real processes: on a terminal in place, into a pipe one line for each change."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

FLEET = "kind: service\nname: {name}\nengine: rehearsal\nmodel: m\ngpu: L40S:1\nscaling: {{min: 0, max: 2}}\n"
ENDS_S = 30.0


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A fleet with one declared service; nothing runs."""
    declare(tmp_path, "chat")
    yield tmp_path


def declare(folder: Path, name: str) -> None:
    (folder / f"{name}.yaml").write_text(FLEET.format(name=name))
    words = [sys.executable, "-m", "fleetctl", "up", "--no-wait", "-f", str(folder / f"{name}.yaml")]
    subprocess.run(words, env=environment(folder), check=True, capture_output=True, timeout=ENDS_S)


def environment(folder: Path) -> dict[str, str]:
    dropped = ("FLEETCTL_", "COLUMNS", "LINES")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "FLEETCTL_HOME": str(folder / "home"), "TERM": "xterm"}


@pytest.mark.parametrize("form", [(), ("-o", "json")], ids=["as a table", "as JSON"])
def test_a_pipe_gets_a_line_for_each_row_that_changed(folder: Path, form: tuple[str, ...]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "fleetctl", "ps", "--watch", "--interval", "0.2s", *form],
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        declare(folder, "mail")
        second = json.loads(process.stdout.readline())
        process.terminate()

    assert (first["type"], first["object"]["name"]) == ("ADDED", "chat")
    assert (second["type"], second["object"]["name"]) == ("ADDED", "mail"), "the row that stayed as it was is not told"


def test_a_pipe_of_csv_begins_with_one_header(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "fleetctl", "ps", "-w", "--interval", "0.2s", "-o", "csv", "--columns", "type,name"],
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        declare(folder, "mail")
        lines.append(process.stdout.readline())
        process.terminate()

    assert lines == ["type,name\n", "ADDED,chat\n", "ADDED,mail\n"]


def test_a_terminal_is_drawn_over_without_being_cleared(folder: Path) -> None:
    child, terminal = pty.fork()
    if not child:
        os.execve(
            sys.executable,
            [sys.executable, "-m", "fleetctl", "ps", "--watch", "--interval", "0.2s"],
            environment(folder),
        )
    try:
        seen = until(terminal, b"\x1b[J", 3)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(terminal)

    begun, first, second, *_ = seen.split(b"\x1b[J")
    assert begun == b"\x1b[H", "it is cleared once, before anything is drawn"
    for drawn in (first, second):
        assert drawn.startswith(b"\x1b[HSERVICE")
        assert all(line.endswith(b"\x1b[K") for line in drawn.split(b"\r\n")[:-1]), "what was longer is cleared"
        assert b"\x1b[2J" not in drawn


def until(terminal: int, mark: bytes, times: int) -> bytes:
    """What the terminal shows, up to this mark for so many times."""
    seen, deadline = b"", time.monotonic() + ENDS_S
    while seen.count(mark) < times and time.monotonic() < deadline:
        if select.select([terminal], [], [], 1.0)[0]:
            seen += os.read(terminal, 4096)
    assert seen.count(mark) >= times, seen
    return seen
