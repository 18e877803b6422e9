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

from fleetctl.model.decisions import Event
from fleetctl.store import open_store

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


def test_events_into_a_pipe_are_told_as_every_other_list_is(folder: Path) -> None:
    append(folder, "the first")
    with watched(folder, "events", "chat", "--watch", "--interval", "0.2s") as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        append(folder, "the second")
        second = json.loads(process.stdout.readline())
        process.terminate()

    assert (first["type"], first["object"]["message"]) == ("ADDED", "the first")
    assert (second["type"], second["object"]["message"]) == ("ADDED", "the second"), "and the first not again"


@pytest.mark.parametrize(
    ("form", "lines"),
    [
        (("-o", "name"), ["service/chat\n", "service/chat\n"]),
        (("-o", "csv", "--columns", "type,message"), ["type,message\n", "ADDED,the first\n", "ADDED,the second\n"]),
    ],
    ids=["names", "csv"],
)
def test_each_form_of_a_list_that_only_grows(folder: Path, form: tuple[str, ...], lines: list[str]) -> None:
    append(folder, "the first")
    with watched(folder, "get", "events", "-w", "--interval", "0.2s", *form) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in lines[:-1]]
        append(folder, "the second")
        seen.append(process.stdout.readline())
        process.terminate()

    assert seen == lines


def test_events_on_a_terminal_go_on_below_the_last(folder: Path) -> None:
    append(folder, "the first")
    child, terminal = pty.fork()
    if not child:
        words = [sys.executable, "-m", "fleetctl", "events", "--watch", "--interval", "0.2s"]
        os.execve(sys.executable, words, environment(folder))
    try:
        seen = until(terminal, b"the first", 1)
        append(folder, "the second")
        seen += until(terminal, b"the second", 1)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(terminal)

    assert seen.count(b"the first") == 1
    assert b"\x1b[H" not in seen, "nothing is drawn over: what has happened stays to be read"


def test_a_watched_rollout_is_told_as_changes_and_ends_with_it(folder: Path) -> None:
    with watched(folder, "rollout", "status", "chat", "--watch", "--interval", "0.2s") as process:
        out, _ = process.communicate(timeout=ENDS_S)

    (line,) = out.splitlines()
    told = json.loads(line)
    assert (told["type"], told["object"]["service"], told["object"]["rollout"]) == ("ADDED", "chat", None)
    assert process.returncode == 0


def append(folder: Path, message: str) -> None:
    """An event, as a controller that runs beside stores one."""
    store = open_store(str(folder / "home" / "fleet.db"))
    try:
        store.add_events([Event(at=time.time(), kind="scale", subject="service/chat", message=message)])
    finally:
        store.close()


def watched(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "fleetctl", *words],
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
