"""fleetctl as a person at a terminal has it: a question is put there, and answered."""

import os
import pty
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from fleet_home import FleetHome

LIMIT_S = 60.0
"""Until it asks, and from the answer until it ends: seconds at most, and the rest is for a busy computer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    code: int
    said: str
    """On the terminal, up to the question."""
    out: str
    """On stdout, which is no terminal."""
    err: str
    """On stderr, where that is no terminal either: of a command that asks nothing."""


def at_terminal(fleet: FleetHome, *words: str | Path, asked: str | None = None, answer: str = "") -> Talk:
    """What comes of a command whose stdin is a terminal. `asked` is how its question ends; None: it asks nothing."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "fleetctl", *map(str, words)],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if asked is None else theirs,
        env={name: value for name, value in fleet.environment.items() if name != "CI"},
        cwd=fleet.files,
    )
    os.close(theirs)
    try:
        said, deadline = b"", time.monotonic() + LIMIT_S
        while asked is not None and asked.encode() not in said:
            assert time.monotonic() < deadline, said
            if select.select([ours], [], [], 1.0)[0]:
                said += os.read(ours, 4096)
        if asked is not None:
            os.write(ours, answer.encode())
        out, err = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
        os.close(ours)
    return Talk(code=process.returncode, said=said.decode(), out=out.decode(), err=(err or b"").decode())
