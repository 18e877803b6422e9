"""Standard streams that are closed, full or without a reader: one sentence, an exit code, never a traceback."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetctl.__main__ import BROKEN_PIPE
from fleetctl.cli.commands import commands

FLEET = "kind: service\nname: chat\nengine: rehearsal\nmodel: m\ngpu: L40S:1\nscaling: {min: 1, max: 2}\n"
STDIN_CLOSED = "error: standard input is not open for reading: give the command a file, a pipe or a terminal there\n"
STDOUT_CLOSED = "error: standard output is not open for writing: give the command a file, a pipe or a terminal there\n"
STDOUT_FULL = "error: standard output cannot be written to: No space left on device\n"
ENDS_S = 30.0
"""Of commands that take a third of a second on a core of their own."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with one declared service; nothing runs."""
    made = tmp_path_factory.mktemp("fleet")
    (made / "fleet").mkdir()
    (made / "fleet" / "chat.yaml").write_text(FLEET)
    assert shell(made, "up --no-wait").returncode == 0
    yield made


def environment(folder: Path, *, unbuffered: bool) -> dict[str, str]:
    names = ("FLEETCTL_", "PYTHONUNBUFFERED")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    return {**kept, "FLEETCTL_HOME": str(folder / "home"), **({"PYTHONUNBUFFERED": "1"} if unbuffered else {})}


def shell(folder: Path, words: str, *, unbuffered: bool = False) -> subprocess.CompletedProcess[str]:
    """`fleetctl` with these words and redirections, as a shell runs it."""
    return subprocess.run(
        ["bash", "-c", f"exec '{sys.executable}' -m fleetctl {words}"],
        cwd=folder,
        env=environment(folder, unbuffered=unbuffered),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=ENDS_S,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param("decide -s fleet <&-", STDIN_CLOSED, id="decide without input"),
        pytest.param("decide -s fleet </dev/null", "", id="decide with no lines"),
        pytest.param("ps -o json >&-", STDOUT_CLOSED, id="ps closed"),
        pytest.param("ps -o json >/dev/full", STDOUT_FULL, id="ps full"),
        pytest.param("ps -o json >/dev/full # unbuffered", STDOUT_FULL, id="ps full, unbuffered"),
        pytest.param("events -o yaml >/dev/full", STDOUT_FULL, id="yaml full"),
        pytest.param("describe chat >/dev/full", STDOUT_FULL, id="text full"),
        pytest.param("nothing -o json >/dev/full", STDOUT_FULL, id="an error as JSON"),
        pytest.param("--help >&-", STDOUT_CLOSED, id="help closed"),
        pytest.param("--version >/dev/full", STDOUT_FULL, id="version full"),
        pytest.param("<&- >&- 2>&- ps -o json", "", id="all closed"),
    ],
)
def test_a_stream_that_cannot_be_used_is_said_in_one_sentence(folder: Path, words: str, said: str) -> None:
    ended = shell(folder, words, unbuffered="unbuffered" in words)

    assert ended.stderr == said
    assert ended.returncode == (0 if "/dev/null" in words else 1)


@pytest.mark.parametrize("command", [command.name for command in commands()])
def test_every_command_says_so_of_its_help(folder: Path, command: str) -> None:
    ended = shell(folder, f"{command} --help >/dev/full")

    assert (ended.returncode, ended.stderr) == (1, STDOUT_FULL)


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full"])
def test_results_come_though_nobody_can_be_told_anything(folder: Path, where: str) -> None:
    ended = shell(folder, f"ps {where}")

    assert ended.returncode == 0
    assert "chat" in ended.stdout


def test_the_store_is_not_opened_in_place_of_a_closed_stream(folder: Path) -> None:
    """Else what is said would be written into it."""
    shell(folder, "up --no-wait >&- 2>&-")

    ended = shell(folder, "ps -o name")

    assert (ended.returncode, ended.stdout) == (0, "service/chat\n")


@pytest.mark.parametrize("command", ["events", "ps"])
def test_who_watches_ends_soon_after_the_reader_is_gone(folder: Path, command: str) -> None:
    """Without anything to write: nothing happens in this fleet."""
    with subprocess.Popen(
        [sys.executable, "-m", "fleetctl", command, "--watch", "-o", "json"],
        cwd=folder,
        env=environment(folder, unbuffered=False),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        if command == "ps":
            assert process.stdout.readline().startswith('{"type":"ADDED","object":{'), (
                "what is watched is shown at once"
            )
        process.stdout.close()

        code = process.wait(ENDS_S)

        assert (code, process.stderr.read()) == (BROKEN_PIPE, "")
