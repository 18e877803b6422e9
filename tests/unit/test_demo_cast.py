"""The recorder of the demo, on commands that end in no time, and the recording that is kept."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from docs_pages import ROOT

RECORD = ROOT / "docs/demo/record.py"
KEPT = ROOT / "docs/demo/demo.cast"
KEPT_BYTES_MAX = 300_000


def recorded(folder: Path, *words: str, code: int = 0, options: tuple[str, ...] = ()) -> tuple[dict[str, object], str]:
    """The header, and all that was shown."""
    file = folder / "made.cast"
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "7"}
    done = subprocess.run(
        [sys.executable, str(RECORD), *options, str(file), "--", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return read(file)


def read(file: Path) -> tuple[dict[str, object], str]:
    """An asciicast of version 2, each line checked."""
    first, *rest = file.read_text(encoding="utf-8").rstrip("\n").split("\n")
    header, events = json.loads(first), [json.loads(line) for line in rest]
    assert header["version"] == 2
    assert all(kind == "o" and isinstance(text, str) and text for _, kind, text in events)
    times = [at for at, _, _ in events]
    assert times == sorted(times)
    assert all(later - at <= 3.001 for at, later in zip([0.0, *times], times, strict=False))
    return header, "".join(text for _, _, text in events)


def test_a_command_sees_a_terminal_of_that_size_and_is_recorded_whole(tmp_path: Path) -> None:
    code = "import os, sys; print(sys.stdout.isatty(), *os.get_terminal_size(), 'é', os.environ.get('NO_COLOR'))"

    header, shown = recorded(tmp_path, sys.executable, "-c", code, options=("--width", "90", "--height", "30"))

    assert (header["width"], header["height"]) == (90, 30)
    assert shown == "True 90 30 é None\r\n"


def test_its_exit_code_goes_through(tmp_path: Path) -> None:
    _, shown = recorded(tmp_path, "sh", "-c", "echo lost; exit 4", code=4)

    assert shown == "lost\r\n"


@pytest.mark.parametrize(
    ("code", "ends"),
    [
        ("import time; print('on', flush=True); time.sleep(60)", -2),
        ("print('x' * 70000, flush=True)\nwhile True: print('x' * 70000, flush=True)", -2),
    ],
    ids=["one that hangs", "one that floods"],
)
def test_it_is_bounded(tmp_path: Path, code: str, ends: int) -> None:
    prepared = f"import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)\n{code}"
    began = time.monotonic()

    _, shown = recorded(tmp_path, sys.executable, "-c", prepared, code=256 + ends, options=("--limit", "1"))

    assert shown
    assert len(shown) < 64 << 20
    assert time.monotonic() - began < 20


def test_the_recording_that_is_kept_is_the_demos() -> None:
    header, shown = read(KEPT)

    assert header["title"] == "fleetctl demo"
    assert KEPT.stat().st_size < KEPT_BYTES_MAX
    assert "Cold starts, stage by stage" in shown
    assert "0 failed" in shown
    assert "/home/" not in shown
    assert "/tmp/" not in shown
