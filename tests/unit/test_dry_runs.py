"""`--dry-run`: every command that changes something has it, says what it would do, and leaves everything as it was."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetctl.cli.options import LINES

FLEET = """\
kind: service
name: chat
engine: rehearsal
model: m
gpu: L40S:1
scaling: {min: 1, max: 3}
---
kind: service
name: mail
engine: rehearsal
model: m
gpu: L40S:1
pool: shared
---
kind: pool
name: shared
gpu: L40S:1
"""
LOOKS = frozenset(
    {
        *("catalog ls", "coldstart", "config view", "cost forecast", "cost now", "cost report", "describe", "diff"),
        *("completion", "context ls", "context show", "daemon logs", "daemon status", "decide", "doctor", "events"),
        *("explain", "get", "image script", "keys ls", "logs", "offers", "plan", "policy ls", "policy show"),
        *("policy test", "pool ls", "provider ls", "provider permissions", "ps", "replica ls", "rollout history"),
        *("rollout status", "schedule ls", "schedule next", "schema", "simulate", "standby ls", "top", "validate"),
        *("version", "wait"),
    }
)
"""Commands that change nothing by themselves."""
EXCEPTIONS = {
    "demo": "it runs in a folder of its own, which is gone afterwards",
    "exec": "what it runs is another program's, and no fleet's",
    "gateway": "it has --check, which looks at everything and serves nothing",
    "port-forward": "it carries bytes until it is stopped, and leaves nothing",
    "rebuild": "it writes down what providers list, and starts and stops nothing",
    "run": "it is the loop itself; what a tick would do is in `plan` and `explain`",
    "ssh": "what it runs is another program's, and no fleet's",
}
"""Commands that change something and have none, each with why."""


def paths() -> list[str]:
    """Every command that does something: a group alone does not."""
    return [path for path in LINES if not any(other.startswith(f"{path} ") for other in LINES)]


def has_dry_run(path: str) -> bool:
    return any("--dry-run" in names.split() for names, *_ in LINES[path][1])


@pytest.mark.parametrize("path", paths())
def test_every_command_looks_or_has_a_dry_run_or_a_reason(path: str) -> None:
    assert [path in LOOKS, path in EXCEPTIONS, has_dry_run(path)].count(True) == 1


def test_the_lists_name_no_command_that_is_gone() -> None:
    assert LOOKS | EXCEPTIONS.keys() <= set(paths())
    assert all(EXCEPTIONS.values())


Type = Callable[..., tuple[int, str, str]]


@pytest.fixture
def declared(typed: Type, tmp_path: Path) -> Type:
    """The same, in a fleet with two services, a key, a context and a schedule; nothing runs."""
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet" / "all.yaml").write_text(FLEET)
    for words in (
        ("up", "--no-wait"),
        ("keys", "create", "--name", "notebook"),
        ("context", "add", "prod", "--home", str(tmp_path / "prod")),
        ("schedule", "add", "chat", "--cron", "0 8 * * *", "--for", "10h", "--min", "1"),
        ("config", "set", "log", "warning"),
        ("pool", "cordon", "shared"),
    ):
        assert typed(*words)[0] == 0, words
    return typed


CHANGES = [
    ("apply",),
    ("config", "set", "output", "json"),
    ("config", "unset", "log"),
    ("context", "add", "other", "--home", "other"),
    ("context", "rm", "prod"),
    ("context", "use", "prod"),
    ("daemon", "start"),
    ("deploy", "chat", "--model", "other"),
    ("down", "chat"),
    ("down", "--all"),
    ("gc", "--delete", "--now"),
    ("init", "elsewhere"),
    ("keys", "create", "--expires", "90d"),
    ("keys", "revoke", "notebook"),
    ("pause", "chat"),
    ("pool", "cordon", "chat"),
    ("pool", "drain", "shared"),
    ("pool", "uncordon", "shared"),
    ("provider", "setup", "sky"),
    ("resume", "chat"),
    ("rollout", "pause", "chat"),
    ("rollout", "resume", "chat"),
    ("scale", "chat=2"),
    ("schedule", "add", "chat", "--cron", "0 9 * * *", "--for", "1h", "--min", "3"),
    ("schedule", "rm", "chat", "1"),
    ("schedule", "run", "chat/1", "--now"),
    ("standby", "promote", "chat"),
    ("standby", "set", "chat", "--steps", "2"),
    ("teardown",),
    ("undo",),
    ("up",),
]


@pytest.mark.parametrize("words", CHANGES, ids=" ".join)
@pytest.mark.parametrize("form", ["table", "json"])
def test_a_dry_run_says_so_and_changes_nothing(
    declared: Type, tmp_path: Path, words: tuple[str, ...], form: str
) -> None:
    before = everything(tmp_path)

    code, out, err = declared(*words, "--dry-run", "-o", form)

    assert code == 0, err
    assert err.endswith("dry run: nothing was changed\n")
    assert out or form == "table"
    assert everything(tmp_path) == before


@pytest.mark.parametrize("words", [("daemon", "start"), ("keys", "create"), ("gc",)], ids=" ".join)
def test_a_dry_run_of_what_makes_a_fleet_makes_none(typed: Type, tmp_path: Path, words: tuple[str, ...]) -> None:
    code, _, err = typed(*words, "--dry-run")

    assert (code, err.splitlines()[-1]) == (0, "dry run: nothing was changed")
    assert list(tmp_path.iterdir()) == []


def test_what_would_be_imported_is_not_written(typed: Type, tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text(
        "name: chat\nresources: {accelerators: 'L40S:1'}\nservice: {readiness_probe: /health, replicas: 2}\n"
        "run: vllm serve Qwen/Qwen3-8B --max-num-seqs 32\n"
    )

    code, out, err = typed("import", "sky", "task.yaml", "--to", "fleet", "--dry-run")

    assert (code, out) == (0, "fleet/chat.yaml\n")
    assert err.endswith("dry run: nothing was changed\n")
    assert not (tmp_path / "fleet").exists()


def everything(folder: Path) -> dict[str, object]:
    """Every file, and every row of the store: its file changes with being looked at."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("fleet.db"):
            found[str(path.relative_to(folder))] = path.read_bytes()
    database = sqlite3.connect(folder / "home" / "fleet.db")
    try:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            found[f"table {name}"] = sorted(map(repr, database.execute(f"SELECT * FROM {name}")))
    finally:
        database.close()
    return found
