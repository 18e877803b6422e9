"""Errors, in the form that the results would have had: for wrong words, wrong names, no fleet and no controller."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetctl.cli.commands import commands
from fleetctl.cli.options import LINES

FLEET = "kind: service\nname: chat\nengine: rehearsal\nmodel: m\ngpu: L40S:1\n"
Type = Callable[..., tuple[int, str, str]]


@pytest.fixture
def declared(typed: Type, tmp_path: Path) -> Type:
    """The same, in a fleet of one service; nothing runs."""
    (tmp_path / "fleet.yaml").write_text(FLEET)
    assert typed("up", "--no-wait", "-f", "fleet.yaml")[0] == 0
    return typed


@pytest.mark.parametrize("path", [path for path in LINES if not any(one.startswith(f"{path} ") for one in LINES)])
def test_a_wrong_option_of_any_command_is_an_error_for_programs(typed: Type, path: str) -> None:
    code, out, err = typed(*path.split(), "--bogus", "-o", "json")

    assert (code, err) == (2, "")
    assert json.loads(out) == {
        "error": {
            "code": "usage",
            "message": "no such option: --bogus",
            "hint": f"fleetctl {path} --help",
            "retryable": False,
        }
    }


@pytest.mark.parametrize(
    ("line", "code", "name"),
    [
        ("describe chta", 4, "not_found"),
        ("explain chta", 4, "not_found"),
        ("logs chta", 4, "not_found"),
        ("scale chat", 2, "usage"),
        ("scale chta=2", 4, "not_found"),
        ("scale chat=9999", 2, "usage"),
        ("get servcies", 2, "usage"),
        ("get services chta", 4, "not_found"),
        ("pool drain chta", 4, "not_found"),
        ("keys revoke nobody", 4, "not_found"),
        ("schedule rm chat 7", 4, "not_found"),
        ("rollback chat", 7, "conflict"),
        ("daemon status", 4, "not_found"),
        ("daemon stop", 4, "not_found"),
        ("ps -l =", 2, "usage"),
        ("ps --interval soon", 2, "usage"),
        ("config set outptu json", 2, "usage"),
        ("context use nowhere", 4, "not_found"),
        ("completion zhs", 2, "usage"),
        ("policy show knativ", 4, "not_found"),
        ("replica rm chat", 2, "usage"),
        ("upp", 2, "usage"),
    ],
)
def test_what_goes_wrong_is_one_document_with_a_hint(declared: Type, line: str, code: int, name: str) -> None:
    found, out, err = declared(*line.split(), "-o", "json")

    error = json.loads(out)["error"]
    assert (found, error["code"], err) == (code, name, "")
    assert error["message"]
    assert "\n" not in error["message"]
    assert error["hint"]
    for words in said_commands(error["hint"]):
        assert words[0] in {one.name for one in commands()}, error["hint"]


@pytest.mark.parametrize("group", sorted({path.split()[0] for path in LINES if " " in path} - {"cost"}))
def test_a_group_alone_is_an_error_for_programs(group: str) -> None:
    """All but `cost`, which alone is `cost now`. In a process of its own: whether help is boxed is settled when typer
    is first imported."""
    ran = subprocess.run(
        [sys.executable, "-m", "fleetctl", group, "-o", "json"], capture_output=True, text=True, timeout=60, check=False
    )

    error = json.loads(ran.stdout)["error"]
    assert (ran.returncode, error["code"], ran.stderr) == (2, "usage", "")
    assert all(path.partition(" ")[2] in error["message"] for path in LINES if path.startswith(f"{group} "))


@pytest.mark.parametrize("line", ["explain", "keys revoke", "get", "completion", "offers"])
def test_what_is_missing_is_told_with_a_line_that_has_it(typed: Type, line: str) -> None:
    code, out, _ = typed(*line.split(), "-o", "json")

    error = json.loads(out)["error"]
    assert (code, error["message"].partition(" ")[0]) == (2, "missing")
    assert error["hint"].startswith(f"as in: fleetctl {line} ")
    assert error["hint"].endswith(f"; all that it takes: fleetctl {line} --help")


@pytest.mark.parametrize("line", ["ps", "events", "explain chat", "scale chat=1", "pool ls", "down chat", "cost now"])
def test_without_a_fleet_each_says_how_to_begin(typed: Type, line: str) -> None:
    code, out, err = typed(*line.split(), "-o", "json")

    error = json.loads(out)["error"]
    assert (code, error["code"], error["hint"], err) == (4, "not_found", "fleetctl init, then: fleetctl up", "")


def test_a_name_is_taken_as_lists_print_it(declared: Type) -> None:
    (name,) = declared("ps", "-o", "name")[1].splitlines()

    assert name == "service/chat"
    for words in (("explain",), ("pause",), ("resume",), ("rollout", "history"), ("schedule", "ls")):
        code, _, err = declared(*words, name)
        assert (code, "there is no" in err) in ((0, False), (4, False)), (words, err)
    assert declared("scale", f"{name}=1", "-y")[0] == 0


def said_commands(hint: str) -> list[list[str]]:
    """The words behind each `fleetctl` of a hint."""
    return [shlex.split(part.partition(";")[0]) for part in hint.split("fleetctl ")[1:]]
