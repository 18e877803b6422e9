"""Our block in a crontab: put in, put in again, taken out, and every other byte as it was."""

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.errors import Conflict
from fleetctl.host.crontabs import begins, block_of, command_line, ends, with_block

HOME = Path("/var/lib/fleet one")
OTHER = Path("/var/lib/fleet two")
LINES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")))
THEIRS = st.binary(max_size=200).map(lambda text: text if not text or text.endswith(b"\n") else text + b"\n")


@given(before=THEIRS, first=LINES, second=LINES)
def test_all_else_stays_byte_for_byte(before: bytes, first: list[str], second: list[str]) -> None:
    once = with_block(before, HOME, first)
    again = with_block(once, HOME, second)

    assert with_block(again, HOME, ()) == before
    assert list(block_of(again, HOME)) == second
    assert with_block(again, HOME, second) == again


def test_a_block_stays_where_it_is_and_other_fleets_keep_theirs() -> None:
    crontab = b"MAILTO=me\n1 1 * * * backup\n"
    both = with_block(with_block(crontab, HOME, ["a"]), OTHER, ["b"])
    edited = both + b"2 2 * * * after\n"

    again = with_block(edited, HOME, ["c"])

    assert block_of(again, HOME) == ("c",)
    assert block_of(again, OTHER) == ("b",)
    assert again.index(b"c\n") < again.index(b"b\n") < again.index(b"2 2 * * * after\n")


def test_a_last_line_without_its_end_gets_one() -> None:
    assert with_block(b"1 1 * * * x", HOME, ["a"]).startswith(b"1 1 * * * x\n# >>>")


@pytest.mark.parametrize(
    "crontab",
    [
        begins(HOME) + b"\n1 1 * * * x\n",
        b"1 1 * * * x\n" + ends(HOME) + b"\n",
        begins(HOME) + b"\n" + begins(HOME) + b"\n" + ends(HOME) + b"\n",
        (begins(HOME) + b"\n" + ends(HOME) + b"\n") * 2,
    ],
    ids=["no end", "no beginning", "two beginnings", "twice"],
)
def test_torn_marks_are_left_alone(crontab: bytes) -> None:
    with pytest.raises(Conflict, match="do not fit together; nothing was changed"):
        with_block(crontab, HOME, ["a"])


def test_a_line_is_one_command_for_the_shell_and_a_percent_sign_is_none_for_cron() -> None:
    line = command_line(
        "0 8 * * 1-5",
        ["python3", "-m", "fleetctl", "schedule", "run", "chat/1"],
        environment={"FLEETCTL_HOME": "/home/a b/100%"},
        lock=Path("/home/a b/lock"),
        log=Path("/home/a b/log"),
    )

    assert line.startswith("0 8 * * 1-5 flock -w ")
    assert r"100\%" in line
    assert shlex.split(line.replace(r"\%", "%"))[9:] == [
        "env", "FLEETCTL_HOME=/home/a b/100%", "python3", "-m", "fleetctl", "schedule", "run",
        "chat/1", ">>", "/home/a b/log", "2>&1",
    ]  # fmt: skip
