"""The Python of the README and of docs/ runs as it stands, on a fleet that is up, and strict mypy takes it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs_pages import ROOT, blocks
from ports import free_port

PAGES = sorted({block.page for block in blocks("python")})
COMMAND_S = 90.0
"""The slowest is `up`: a rehearsed machine boots and an engine starts, which takes ten seconds on a free computer."""


def script(page: Path) -> str:
    """All Python of a page, in order: later blocks go on from earlier ones, as a reader does."""
    return "\n".join(block.text for block in blocks("python") if block.page == page)


def run(words: list[str], folder: Path, *, code: int = 0) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FLEETCTL_")}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**environment, "FLEETCTL_HOME": str(folder / "home")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    assert done.returncode == code, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a reader is who has followed the README: the files of `init`, the fleet up, a week's traffic at hand."""
    made = tmp_path_factory.mktemp("f")
    run(["-m", "fleetctl", "init"], made)
    port = free_port()
    settings = made / "fleet/fleet.yaml"
    settings.write_text(settings.read_text().replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
    chat = made / "fleet/chat.yaml"
    quick = re.sub(r"boot: \d+s, image: \d+s, weights: \d+s", "boot: 0s, image: 0s, weights: 0s", chat.read_text())
    chat.write_text(quick)
    rows = "".join(f"{at},200,100\n" for at in (*range(0, 600, 20), *(600 + step / 4 for step in range(200))))
    (made / "week.csv").write_text(f"arrival_s,input_tokens,output_tokens\n{rows}")
    try:
        run(["-m", "fleetctl", "up", "--yes"], made)
        yield made
    finally:
        run(["-m", "fleetctl", "down", "--all"], made)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_it_runs(page: Path, folder: Path) -> None:
    file = folder / "example.py"
    file.write_text(script(page))

    said = run([str(file)], folder)

    assert "chat" in said
    if page.name == "library.md":
        assert "chat ready 1/1" in said
        assert "because" in said
        assert "auto" in said
        assert "knative" in said


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_strict_mypy_takes_it(page: Path, tmp_path: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text(script(page))

    run(_mypy(file), ROOT)


@pytest.mark.slow
def test_mypy_finds_what_is_wrong_in_a_script(tmp_path: Path) -> None:
    """So that the test above can fail: the names are typed, and not Any."""
    file = tmp_path / "wrong.py"
    file.write_text(
        "import fleetctl\n"
        "brain = fleetctl.Brain(fleetctl.load_fleet('fleet'), polcy='knative')\n"
        "for row in fleetctl.Client().services():\n"
        "    row.nmae\n"
        "decision: int = brain.decide(1.0, {})[0]\n"
    )

    said = run(_mypy(file), ROOT, code=1)

    assert 'Unexpected keyword argument "polcy"' in said
    assert '"ServiceRow" has no attribute "nmae"' in said
    assert 'variable has type "int"' in said


def _mypy(file: Path) -> list[str]:
    """As a user would, whose script is strict and who reads of his own script only. The project's cache spares time."""
    return ["-m", "mypy", "--strict", "--follow-imports=silent", "--config-file", "pyproject.toml", str(file)]
