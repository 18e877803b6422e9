"""A crontab with lines of ours in a block of its own; all other lines stay as they are, byte for byte."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from fleetctl.errors import Conflict

LOCK_WAIT_S = 50
"""Lines of one minute take turns; one that still waits when the next minute comes has nothing new to say."""


def begins(root: Path) -> bytes:
    """The first line of the block of the fleet in that home: one crontab may have the lines of several."""
    return b"# >>> fleetctl schedules of " + _told(root) + b" >>>"


def ends(root: Path) -> bytes:
    return b"# <<< fleetctl schedules of " + _told(root) + b" <<<"


def with_block(crontab: bytes, root: Path, lines: Sequence[str]) -> bytes:
    """The crontab with these lines as our block, in place of the one before. None: without a block.

    Raises `Conflict` where the marks of a block are there and do not fit: what lies between them may not be ours.
    """
    before, after = _around(crontab, root)
    if not lines:
        return before + after
    if before and not before.endswith(b"\n"):
        before += b"\n"  # cron reads no line without its end
    block = [begins(root), *(line.encode() for line in lines), ends(root)]
    return before + b"".join(line + b"\n" for line in block) + after


def block_of(crontab: bytes, root: Path) -> tuple[str, ...]:
    """Our lines in it, without the marks; none where there is no block. Raises `Conflict`, as above."""
    before, after = _around(crontab, root)
    inside = crontab[len(before) : len(crontab) - len(after)]
    return tuple(line.decode(errors="replace") for line in inside.splitlines()[1:-1])


def _around(crontab: bytes, root: Path) -> tuple[bytes, bytes]:
    first, last = begins(root), ends(root)
    before: list[bytes] = []
    after: list[bytes] = []
    place = "before"
    for line in crontab.splitlines(keepends=True):
        bare = line.rstrip(b"\r\n")
        if bare == first and place == "before":
            place = "inside"
        elif bare == last and place == "inside":
            place = "after"
        elif bare in (first, last):
            raise _torn(root)
        elif place != "inside":
            (before if place == "before" else after).append(line)
    if place == "inside":
        raise _torn(root)
    return b"".join(before), b"".join(after)


def _torn(root: Path) -> Conflict:
    return Conflict(
        f"the crontab has marks of fleetctl's block for {root} that do not fit together; nothing was changed",
        hint="look at it with `crontab -e`, remove the marks and what is between them, and try again",
    )


def command_line(times: str, words: Sequence[str], *, environment: Mapping[str, str], lock: Path, log: Path) -> str:
    """One line: when, then the command, its turn taken with flock and what it says kept in a log.

    The environment is given to the command alone: assignments of a crontab hold for all lines below them.
    """
    given = [f"{name}={value}" for name, value in environment.items()]
    quoted = shlex.join(["flock", "-w", str(LOCK_WAIT_S), str(lock), "env", *given, *words])
    command = f"{quoted} >> {shlex.quote(str(log))} 2>&1"
    return f"{times} {command}".replace("%", r"\%")  # to cron a bare % is the end of the command


def _told(root: Path) -> bytes:
    return str(root).encode().replace(b"\n", b"?")
