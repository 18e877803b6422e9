"""Completions are generated from the table of commands, and what is committed is fresh."""

import subprocess
from pathlib import Path

import pytest

from fleetctl.cli.commands import PANELS, commands
from fleetctl.cli.completion import Shell, script

FOLDER = Path(__file__).parents[2] / "completions"


@pytest.mark.parametrize(
    ("shell", "file"), [(Shell.BASH, "fleetctl.bash"), (Shell.ZSH, "_fleetctl"), (Shell.FISH, "fleetctl.fish")]
)
def test_committed_completions_are_fresh(shell: Shell, file: str) -> None:
    committed = (FOLDER / file).read_text()

    assert committed == script(shell), "run: make completions"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fleetctl", "exp"], ["explain"]),
        (["fleetctl", "ps", "-o", "j"], ["json"]),
        (["fleetctl", "daemon", "sta"], ["start", "status"]),
    ],
)
def test_bash_completes(words: list[str], expected: list[str]) -> None:
    line = " ".join(words)
    shell = (
        f"source {FOLDER / 'fleetctl.bash'}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1};"
        ' _fleetctl; echo "${COMPREPLY[@]}"'
    )

    answer = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)

    assert answer.stdout.split() == expected


def test_every_command_file_is_found_with_its_panel_and_summary() -> None:
    folder = FOLDER.parent / "fleetctl" / "cli"
    with_app = {path.stem for path in folder.glob("*.py") if "\napp = typer.Typer(" in path.read_text()}

    found = commands()

    assert {command.module for command in found} == with_app
    assert all(command.panel in PANELS and command.summary for command in found)
