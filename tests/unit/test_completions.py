"""Completions are generated from the commands' own options, are fresh, and work in the shells themselves."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetctl.cli import lines, options
from fleetctl.cli.commands import PANELS, commands, example
from fleetctl.cli.completion import Shell, script
from fleetctl.cli.dispatch import run
from fleetctl.cli.topics import TOPICS

FOLDER = Path(__file__).parents[2] / "completions"
FLEET = """\
kind: service
name: chat
engine: rehearsal
model: m
gpu: L40S:1
---
kind: service
name: chart
engine: rehearsal
model: m
gpu: L40S:1
pool: shared
---
kind: pool
name: shared
gpu: L40S:1
"""
CONTEXTS = "current: here\ncontexts:\n  here:\n    home: {home}\n  hereafter:\n    home: /nowhere\n"
ENDS_S = 30.0
CASES = [
    ("fleetctl exp", ["explain"]),
    ("fleetctl daemon sta", ["start", "status"]),
    ("fleetctl ps -o j", ["json", "jsonpath"]),
    ("fleetctl -o json ev", ["events"]),
    ("fleetctl ps --inst", ["--instances"]),
    ("fleetctl ps --col", ["--color", "--columns"]),
    ("fleetctl keys create --priority l", ["low"]),
    ("fleetctl completion b", ["bash"]),
    ("fleetctl describe ch", ["chart", "chat"]),
    ("fleetctl describe pool/sh", ["pool/shared"]),
    ("fleetctl events --watch --since 2h cha", ["chart", "chat"]),
    ("fleetctl down chat char", ["chart"]),
    ("fleetctl keys create --service chat", ["chat"]),
    ("fleetctl --context here", ["here", "hereafter"]),
]
"""A line as it is typed, and what its last word may become."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a declared fleet in the current context, and `fleetctl` for shells; nothing runs."""
    made = tmp_path_factory.mktemp("completion")
    (made / "fleet.yaml").write_text(FLEET)
    (made / "config.yaml").write_text(CONTEXTS.format(home=made / "home"))
    command = made / "bin" / "fleetctl"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fleetctl "$@"\n')
    command.chmod(0o755)
    words = [sys.executable, "-m", "fleetctl", "up", "--no-wait", "-f", str(made / "fleet.yaml")]
    subprocess.run(words, env=environment(made), check=True, capture_output=True, timeout=ENDS_S)
    yield made


def environment(place: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLEETCTL_", "XDG_"))}
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    root = str(Path(__file__).parents[2])
    return {**kept, "FLEETCTL_CONFIG": str(place / "config.yaml"), "PATH": path, "HOME": str(place), "PYTHONPATH": root}


def shell(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed here")
    return found


def test_the_table_of_options_is_fresh() -> None:
    written = Path(options.__file__).read_text(encoding="utf-8")

    assert written == lines.written(lines.lines()), "run: make completions"


@pytest.mark.parametrize(
    ("shell", "file"), [(Shell.BASH, "fleetctl.bash"), (Shell.ZSH, "_fleetctl"), (Shell.FISH, "fleetctl.fish")]
)
def test_committed_completions_are_fresh(shell: Shell, file: str) -> None:
    committed = (FOLDER / file).read_text()

    assert committed == script(shell), "run: make completions"


@pytest.mark.parametrize(("typed", "expected"), CASES)
def test_bash_completes(place: Path, typed: str, expected: list[str]) -> None:
    words = typed.split(" ")
    code = (
        f"source {FOLDER / 'fleetctl.bash'}; COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1};"
        ' _fleetctl; printf "%s\\n" "${COMPREPLY[@]}"'
    )

    answer = subprocess.run(
        [shell("bash"), "-c", code], env=environment(place), capture_output=True, text=True, check=True, timeout=ENDS_S
    )

    assert (sorted(answer.stdout.split()), answer.stderr) == (expected, "")


@pytest.mark.parametrize(("typed", "expected"), CASES)
def test_fish_completes(place: Path, typed: str, expected: list[str]) -> None:
    code = f"source {FOLDER / 'fleetctl.fish'}; complete -C '{typed}'"

    answer = subprocess.run(
        [shell("fish"), "--no-config", "-c", code],
        env=environment(place),
        capture_output=True,
        text=True,
        check=True,
        timeout=ENDS_S,
    )

    assert (sorted(line.partition("\t")[0] for line in answer.stdout.splitlines()), answer.stderr) == (expected, "")


@pytest.mark.parametrize(
    ("typed", "became"),
    [
        ("fleetctl exp", "fleetctl explain "),
        ("fleetctl daemon stat", "fleetctl daemon status "),
        ("fleetctl ps -o ya", "fleetctl ps -o yaml "),
        ("fleetctl ps --inst", "fleetctl ps --instances "),
        ("fleetctl keys create --priority l", "fleetctl keys create --priority low "),
        ("fleetctl describe cha", "fleetctl describe cha"),
        ("fleetctl describe chat", "fleetctl describe chat "),
        ("fleetctl describe pool/s", "fleetctl describe pool/shared "),
        ("fleetctl down chat char", "fleetctl down chat chart "),
    ],
)
def test_zsh_completes(place: Path, typed: str, became: str) -> None:
    """In an interactive one: its completion lives in the line editor alone."""
    begin = (
        f"PS1='READY> '; fpath=({FOLDER} $fpath); autoload -U compinit; compinit -u -D; unsetopt auto_menu prompt_sp;"
        " told() { print -r -- \"<<$BUFFER>>\" }; zle -N told; bindkey '^Xt' told; print begun"
    )
    child, terminal = pty.fork()
    if not child:
        os.execve(shell("zsh"), ["zsh", "-f", "-i"], {**environment(place), "TERM": "dumb"})
    try:
        os.write(terminal, f"{begin}\n".encode())
        until(terminal, "\nbegun\nREADY> ")
        os.write(terminal, f"{typed}\t\x18t".encode())
        told = until(terminal, ">>")
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(terminal)

    assert told.rpartition("<<")[2] == f"{became}>>"


def until(terminal: int, mark: str) -> str:
    """What the terminal shows, up to this mark."""
    seen, deadline = "", time.monotonic() + ENDS_S
    while mark not in seen and time.monotonic() < deadline:
        if select.select([terminal], [], [], 1.0)[0]:
            seen += os.read(terminal, 4096).decode(errors="replace").replace("\r", "")
    assert mark in seen, seen
    return seen[: seen.index(mark) + len(mark)]


@pytest.mark.parametrize(
    "words",
    [("describe", "ch"), ("nothing", "ch"), ("describe",), (), ("ps", "-o", "")],
    ids=" ".join,
)
@pytest.mark.parametrize("spoilt", ["no folder", "no store", "no database", "no table", "a directory"])
def test_completion_is_silent_whatever_is_amiss(tmp_path: Path, words: tuple[str, ...], spoilt: str) -> None:
    home = tmp_path / "home"
    if spoilt != "no folder":
        home.mkdir()
    if spoilt == "no database":
        (home / "fleet.db").write_bytes(b"not a database" * 100)
    if spoilt == "no table":
        (home / "fleet.db").touch()
    if spoilt == "a directory":
        (home / "fleet.db").mkdir()
    before = sorted(tmp_path.rglob("*"))

    ran = subprocess.run(
        [sys.executable, "-m", "fleetctl", "__complete", *words],
        env={**environment(tmp_path), "FLEETCTL_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=ENDS_S,
    )

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert sorted(tmp_path.rglob("*")) == before, "nothing is made"


def test_every_command_file_is_found_with_its_panel_and_summary() -> None:
    folder = FOLDER.parent / "fleetctl" / "cli"
    with_app = {path.stem for path in folder.glob("*.py") if "\napp = typer.Typer(" in path.read_text()}

    found = commands()

    assert {command.module for command in found} == with_app
    assert all(command.panel in PANELS and command.summary for command in found)


@pytest.mark.parametrize("path", options.LINES)
def test_every_command_shows_an_example_of_itself(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = next(one for one in commands() if one.name == path.split()[0])

    code = run([*path.split(), "--help"])

    assert code == 0
    assert f"\nExample: {example(command, path)}\n" in capsys.readouterr().out
    assert f"{example(command, path)} ".startswith(f"fleetctl {path} ")


def test_the_manual_page_has_every_command_and_topic() -> None:
    page = script(Shell.MAN)

    assert all(f".SS fleetctl {path}".replace("-", "\\-") in page for path in options.LINES)
    assert all(text.splitlines()[0].replace("-", "\\-") in page for text in TOPICS.values())


def test_man_takes_the_manual_page(tmp_path: Path) -> None:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is not installed here")
    (tmp_path / "fleetctl.1").write_text(script(Shell.MAN))

    ran = subprocess.run(
        [groff, "-man", "-Tutf8", "-ww", str(tmp_path / "fleetctl.1")], capture_output=True, text=True, check=True
    )

    assert ran.stderr == ""
    assert "fleetctl - a terminal control plane" in ran.stdout
