"""Records a command in a terminal of its own as an asciicast (asciinema's file format, version 2); nothing is uploaded.

    python docs/demo/record.py docs/demo/demo.cast                 # fleetctl demo, of which `make demo-cast` makes one
    python docs/demo/record.py --limit 20 other.cast -- ls -l      # any other command

The format: https://docs.asciinema.org/manual/asciicast/v2/. A line of JSON that says how large the terminal is, then a
line for each piece of output: seconds since the beginning, "o", the text.
"""

import argparse
import codecs
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

DEMO = (sys.executable, "-m", "fleetctl", "demo")
WIDTH, HEIGHT = 110, 40
"""Columns and lines: room for the demo's charts, and small enough for a page."""
LIMIT_S = 300.0
"""The demo takes about two and a half minutes; what takes twice that hangs."""
LIMIT_BYTES = 8 << 20
"""Of output: thirty times what a cast may have to be kept here."""
FRAME_S = 2.0
"""Of a view that redraws itself, a frame each so often is kept: the demo redraws four times a second, which would make
its recording eight times as large and no plainer."""
PAUSE_S = 3.0
"""No pause in a recording is longer: nobody watches a terminal stand still."""
ENDS_S = 15.0
"""From an interrupt to the end of the command; the demo clears its fleet away meanwhile."""
READ_BYTES = 1 << 16
UP = "\x1b[1A"
FRAME = re.compile(r"\r\x1b\[2K(?:\x1b\[1A\x1b\[2K)*")
"""How rich begins to draw anew what it has drawn: it wipes the line that it is on, and as many above as there are."""
TELLING = frozenset({"NO_COLOR", "CI", "COLUMNS", "LINES"})
"""Variables that would tell the command of another terminal than its own."""


def main() -> int:
    asked = _arguments()
    command = tuple(asked.command) or DEMO
    title = "fleetctl demo" if command == DEMO else " ".join(command)
    pieces = []
    code: list[int] = []
    for at, text in output(command, width=asked.width, height=asked.height, limit_s=asked.limit, code=code):
        pieces.append((at, text))
        if asked.echo:
            sys.stdout.write(text)
            sys.stdout.flush()
    asked.file.write_text(cast(pieces, width=asked.width, height=asked.height, title=title), encoding="utf-8")
    sys.stderr.write(f"{asked.file}: {asked.file.stat().st_size / 1000:.0f} kB\n")
    return code[0]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Record a command as an asciicast.")
    parser.add_argument("file", type=Path, help="where to; what is there is replaced")
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--height", type=int, default=HEIGHT)
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds; then it is interrupted")
    parser.add_argument("--echo", action="store_true", help="show it meanwhile")
    parser.add_argument("command", nargs="*", help="after --; none: fleetctl demo")
    return parser.parse_args()


def cast(pieces: Sequence[tuple[float, str]], *, width: int, height: int, title: str) -> str:
    """The file: long pauses are shortened, and neither the day nor the computer is in it."""
    header = {"version": 2, "width": width, "height": height, "title": title, "env": {"TERM": "xterm-256color"}}
    lines = [json.dumps(header)]
    last = shown = 0.0
    for at, text in thinned(pieces):
        shown += min(at - last, PAUSE_S)
        last = at
        lines.append(json.dumps([round(shown, 3), "o", text], ensure_ascii=False))
    return "\n".join(lines) + "\n"


def thinned(pieces: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """The pieces without frames that the next one wipes whole, but for one each `FRAME_S`; no lasting text is lost."""
    whole = "".join(text for _, text in pieces)
    frames = list(FRAME.finditer(whole))
    if not frames:
        return list(pieces)
    begins = [0, *accumulate(len(text) for _, text in pieces)]

    def time_of(place: int) -> float:
        return pieces[min(len(pieces), bisect_right(begins, place)) - 1][0]

    kept = [(pieces[0][0], whole[: frames[0].start()])] if frames[0].start() else []
    kept_at, wipes = -FRAME_S, ""
    for frame, follows in pairwise([*frames, None]):
        assert frame is not None
        wipes = wipes or frame[0]  # of the frame that still stands, where those after it were left out
        drawn = whole[frame.end() : len(whole) if follows is None else follows.start()]
        at = time_of(frame.start())
        if follows is not None and drawn.count("\n") == follows[0].count(UP) and at - kept_at < FRAME_S:
            continue
        kept.append((at, wipes + drawn))
        kept_at, wipes = at, ""
    return kept


def output(
    command: Sequence[str], *, width: int, height: int, limit_s: float, code: list[int]
) -> Iterator[tuple[float, str]]:
    """What the command writes to a terminal of that size, piece by piece, with seconds since it began.

    It is interrupted after `limit_s` or `LIMIT_BYTES`, and killed where that does not end it. `code` gets what it
    ended with.
    """
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    environment = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "CI", "COLUMNS", "LINES")
    }
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        stdin=its,
        stdout=its,
        stderr=its,
        env={**environment, "TERM": "xterm-256color"},
        start_new_session=True,
        close_fds=True,
    )
    os.close(its)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    size, ends_at = 0, began + limit_s
    interrupted = False
    try:
        while True:
            now = time.monotonic()
            if not interrupted and (now >= ends_at or size >= LIMIT_BYTES):
                os.killpg(process.pid, signal.SIGINT)
                interrupted, ends_at = True, now + ENDS_S
            elif interrupted and now >= ends_at:
                break
            ready, _, _ = select.select([ours], [], [], max(0.0, min(1.0, ends_at - now)))
            if not ready:
                continue
            try:
                data = os.read(ours, READ_BYTES)
            except OSError:  # Linux says EIO once nobody has the other side any more
                break
            if not data:
                break
            size += len(data)
            if text := decoder.decode(data):
                yield time.monotonic() - began, text
    except BaseException:  # whoever listens has gone, or Ctrl-C: the command is not left behind
        os.killpg(process.pid, signal.SIGINT)
        raise
    finally:
        os.close(ours)
        try:
            code.append(process.wait(ENDS_S))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code.append(process.wait())


if __name__ == "__main__":
    sys.exit(main())
