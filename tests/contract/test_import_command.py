"""`fleetctl import` as a user runs it: printed or written, and what it made is taken by `fleetctl validate`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

THEIRS = """
name: chat
resources: {accelerators: "L40S:1", disk_size: 100}
service: {readiness_probe: /health, replicas: 2}
run: vllm serve Qwen/Qwen3-8B --max-num-seqs 32
"""


def run(folder: Path, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fleetctl", *words],
        cwd=folder,
        env={**os.environ, "FLEETCTL_HOME": str(folder / "home")},
        input=stdin if stdin is not None else "",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "task.yaml").write_text(THEIRS)
    return tmp_path


def test_what_is_written_is_valid(folder: Path) -> None:
    done = run(folder, "import", "sky", "task.yaml", "--to", "fleet")
    checked = run(folder, "validate", "-o", "json")
    again = run(folder, "import", "sky", "task.yaml", "--to", "fleet")

    assert (done.returncode, done.stdout) == (0, "fleet/chat.yaml\n")
    assert "next: fleetctl validate fleet/chat.yaml" in done.stderr
    (service,) = json.loads(checked.stdout)["items"]
    assert (service["name"], service["concurrency"], service["scaling"]["replicas"]) == ("chat", 32, 2)
    assert (again.returncode, (folder / "fleet" / "chat.yaml").read_text().count("kind: service")) == (7, 1)


def test_what_is_printed_is_the_file_and_nothing_else(folder: Path) -> None:
    printed = run(folder, "import", "sky", "-", stdin=THEIRS)
    told = json.loads(run(folder, "import", "sky", "task.yaml", "-o", "json").stdout)
    (folder / "fleet").mkdir()
    (folder / "fleet" / "one.yaml").write_text(printed.stdout)

    assert printed.stdout.startswith("# Imported from sky")
    assert "#   resources.disk_size: " in printed.stdout
    assert run(folder, "validate").returncode == 0
    assert told["document"]["engine"] == "vllm"
    assert [one["field"] for one in told["left"]] == ["resources.disk_size"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("import", "skyy", "task.yaml"), 2, "did you mean sky?"),
        (("import", "dstack", "task.yaml"), 2, "fleetctl import sky task.yaml"),
        (("import", "sky", "nothing.yaml"), 4, "cannot be read"),
    ],
)
def test_mistakes_are_told(folder: Path, words: tuple[str, ...], code: int, said: str) -> None:
    done = run(folder, *words)

    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
