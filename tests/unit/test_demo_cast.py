"""The recorder of the demo, on commands that end in no time, and the recording that is kept."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from types import ModuleType

import pytest
from docs_pages import ROOT

RECORD = ROOT / "docs/demo/record.py"
KEPT = ROOT / "docs/demo/demo.cast"
KEPT_BYTES_MAX = 300_000


def recorder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("record", RECORD)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def screen(text: str) -> list[str]:
    """The lines that a terminal shows in the end, of the few controls that a view that redraws itself uses."""
    lines, row = [""], 0
    for word in re.findall(r"\x1b\[1A|\x1b\[2K|\r|\n|[^\x1b\r\n]+", text):
        match word:
            case "\x1b[1A":
                row -= 1
            case "\x1b[2K":
                lines[row] = ""
            case "\r":
                pass
            case "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            case _:
                lines[row] += word
    while not lines[-1]:
        lines.pop()
    return lines


def view(seed: int) -> list[tuple[float, str]]:
    """What rich writes for a view that is drawn four times a second, in between lines that last."""
    random, pieces, height, at = Random(seed), [(0.0, "starting")], 1, 0.0
    for number in range(80):
        at += 0.25
        lasting = [f"event {number}"] if random.random() < 0.15 else []
        drawn = [f"frame {number} line {line}" for line in range(random.randint(1, 5))]
        wipe = "\r\x1b[2K" + "\x1b[1A\x1b[2K" * (height - 1)
        text = wipe + "\r\n".join([*lasting, *drawn])
        cut = random.randrange(len(text))  # a terminal is read in pieces of any size
        pieces += [(at, text[:cut]), (at, text[cut:])] if cut else [(at, text)]
        height = len(drawn)
    return [*pieces, (at + 0.1, "\r\nthe end\r\n")]


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


@pytest.mark.parametrize("seed", range(20))
def test_frames_are_left_out_and_nothing_that_lasts(seed: int) -> None:
    whole = view(seed)

    kept = recorder().thinned(whole)

    before, after = "".join(text for _, text in whole), "".join(text for _, text in kept)
    assert screen(after) == screen(before)
    assert re.findall(r"event \d+", after) == re.findall(r"event \d+", before)
    assert len(kept) < 40
    assert [at for at, _ in kept] == sorted(at for at, _ in kept)


def test_a_plain_output_is_left_as_it_is() -> None:
    pieces = [(0.0, "one\r\n"), (0.1, "two\r\n")]

    assert recorder().thinned(pieces) == pieces


def test_the_recording_that_is_kept_is_the_demos() -> None:
    header, shown = read(KEPT)

    assert header["title"] == "fleetctl demo"
    assert KEPT.stat().st_size < KEPT_BYTES_MAX
    assert "Cold starts, stage by stage" in shown
    assert "0 failed" in shown
    assert "/home/" not in shown
    assert "/tmp/" not in shown
