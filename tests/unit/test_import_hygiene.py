"""What a command imports: a look must not wait for libraries that it does not use."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SDKS = frozenset({"boto3", "botocore", "google.cloud", "azure", "sky", "psycopg", "aiodocker"})
HEAVY = frozenset({"typer", "rich", "pydantic", "yaml", "asyncio", "aiohttp", "textual", "uvloop"}) | SDKS
FOR_A_LOOK = frozenset({"rich", "pydantic", "yaml", "aiohttp", "textual", "uvloop"}) | SDKS
FOR_WORDS = HEAVY | {"dataclasses", "inspect", "msgspec", "typing", "re", "json", "pathlib", "fleetctl.model"}
"""Neither for the version, nor for a name at a Tab."""
FOR_A_QUICK_LOOK = (
    FOR_A_LOOK
    | {"typer", "asyncio", "ssl", "socket", "psutil", "hashlib", "secrets", "shutil", "difflib", "logging", "zlib"}
    | {
        "fleetctl.cli.watching",
        "fleetctl.controller",
        "fleetctl.gateway",
        "fleetctl.providers",
        "fleetctl.node",
        "fleetctl.engines",
    }
)

FEW_OBJECTS = 12_000
"""Twice of what there is when a program begins; a command that lists services makes three times as many as this."""

RUN = """\
import runpy, sys
sys.argv = ["fleetctl", *sys.argv[1:]]
try:
    runpy.run_module("fleetctl", run_name="__main__")
except SystemExit as ended:
    assert not ended.code, ended.code
finally:
    sys.stdout.flush()
    sys.stderr.write("\\n".join(sorted(sys.modules)))
"""

FLEET = """\
kind: service
name: chat
engine: rehearsal
model: rehearsal-8b
gpu: L40S:1
scaling: {min: 0, max: 1}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store with one declared service; nothing runs."""
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "fleet.yaml").write_text(FLEET)
    words = [sys.executable, "-m", "fleetctl", "up", "--no-wait", "-f", str(folder / "fleet.yaml")]
    subprocess.run(words, env=_environment(folder), check=True, capture_output=True, timeout=30)
    yield folder


@pytest.mark.parametrize(
    ("words", "banned"),
    [
        pytest.param(("--help",), HEAVY, id="root help"),
        pytest.param((), HEAVY, id="no words"),
        pytest.param(("--version",), FOR_WORDS, id="version"),
        pytest.param(("help", "output"), FOR_WORDS, id="a topic"),
        pytest.param(("__complete", "describe", "ch"), FOR_WORDS, id="a name at a Tab"),
        pytest.param(("ps", "-o", "json"), FOR_A_QUICK_LOOK, id="ps as json"),
        pytest.param(("-o", "wide", "ps", "-i"), FOR_A_QUICK_LOOK, id="ps, wide"),
        pytest.param(("ps",), FOR_A_QUICK_LOOK, id="ps"),
        pytest.param(("ps", "-ra"), FOR_A_LOOK, id="ps with words that typer reads"),
        pytest.param(("ps", "--help"), FOR_A_LOOK, id="help of a command"),
        pytest.param(("events", "-o", "json"), FOR_A_LOOK, id="events"),
    ],
)
def test_a_command_imports_nothing_that_it_does_not_use(
    home: Path, words: tuple[str, ...], banned: frozenset[str]
) -> None:
    imported = _imported(home, words)

    assert "fleetctl" in imported, "the list of modules was read"
    assert sorted(imported & banned) == []


def test_the_list_would_show_what_is_imported(home: Path) -> None:
    """So that the test above can fail: a command that reads files does import pydantic and yaml."""
    imported = _imported(home, ("validate", "-f", str(home / "fleet.yaml")))

    assert {"typer", "pydantic", "yaml"} <= imported


def test_a_command_ends_without_a_look_for_garbage_in_all_that_it_made(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import gc\ngc.set_debug(gc.DEBUG_STATS)\n{RUN}", "ps", "-o", "json"],
        env=_environment(home),
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )

    looks = re.findall(r"^gc: objects in each generation: (\d+) (\d+) (\d+)$", done.stderr, re.MULTILINE)
    assert looks, "the interpreter told of its looks"
    assert max(sum(map(int, counts)) for counts in looks) < FEW_OBJECTS


def _imported(home: Path, words: tuple[str, ...]) -> set[str]:
    """Every module that was imported, and every package above it."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words],
        env=_environment(home),
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    names = done.stderr.split("\n")
    return {".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 2)}


def _environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLEETCTL_")}
    return {**kept, "FLEETCTL_HOME": str(home / "home")}
