"""The dashboard at ten thousand replicas: first paint, CPU for a second of refresh, CPU while nothing happens.

`python bench/terminal_top.py`: a real `fleetctl top` in a terminal of 120×40 over a SQLite store of 1,250 machines,
10,000 replicas and 10 services; a controller's ticks are committed every two seconds, each with ten replicas and all
decisions changed. CPU is that of all its threads, user and system, from /proc. About a minute and a half; Linux.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from figures import report

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("tui", "unit")]

from pictures import Stored, a_look  # noqa: E402  the fleet that the dashboard's tests look at

from fleetctl.model.replicas import Replica  # noqa: E402
from fleetctl.store import open_store  # noqa: E402

SERVICES, REPLICAS_EACH = 10, 1000
COLUMNS, LINES = 120, 40
PERIOD_S = 2.0
"""The controller's own."""
PAST_TICKS = 3600
"""Two hours of them lie in the journal: what the demand's picture is of."""
CHANGED = 10
MEASURED_S = 20.0
PAINTS = 5
PAINT_GOAL_S, REFRESH_GOAL_MS = 1.2, 20.0
_PAINTED = re.compile(rb"service-9|chat-8b")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="fleetctl-top-") as folder:
        home = Path(folder)
        store = open_store(str(home / "fleet.db"))
        fleet = Stored(store, a_look(services=SERVICES, replicas=REPLICAS_EACH, at=time.time()))
        fleet.begin()
        for tick in range(PAST_TICKS, 0, -1):
            fleet.tick(at=time.time() - PERIOD_S * tick)
        paints = sorted(first_paint(home) for _ in range(PAINTS))
        say("first_paint_10000", paints[PAINTS // 2], "s", PAINT_GOAL_S, f"{paints[0]:.2f} to {paints[-1]:.2f} s")
        for measure, keys in (("refresh_10000", b""), ("refresh_10000_replicas_page", b"p")):
            spent = cpu_per_second(home, keys, lambda number: fleet.tick(at=time.time(), changed=moved(fleet, number)))
            say(measure, spent, "ms CPU/s", REFRESH_GOAL_MS, "a tick every 2 s")
        say("idle_10000", cpu_per_second(home, b"", None), "ms CPU/s", None, "no controller")
        store.close()
    return 0


def moved(fleet: "Stored", number: int) -> tuple[Replica, ...]:
    """Ten replicas in turn, each with something new."""
    replicas = fleet.look.view.replicas
    begin = number * CHANGED % len(replicas)
    return tuple(replace(one, clock_lead_s=float(number)) for one in replicas[begin : begin + CHANGED])


@contextmanager
def running(home: Path) -> Iterator[tuple[int, int]]:
    """`fleetctl top` in a terminal: its process and the terminal's other end."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(FLEETCTL_HOME=str(home), TERM="xterm-256color", PYTHONPATH=str(ROOT))
        os.environ.pop("NO_COLOR", None)
        os.execv(sys.executable, [sys.executable, "-m", "fleetctl", "top"])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    try:
        yield child, terminal
    finally:
        os.write(terminal, b"q")
        drain(terminal, 1.0)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)


def first_paint(home: Path) -> float:
    """Seconds from the start of the process until a Service can be read."""
    began = time.monotonic()
    with running(home) as (_, terminal):
        said = b""
        while not _PAINTED.search(said):
            if time.monotonic() - began > 30.0:
                raise SystemExit(f"terminal_top: nothing was painted in 30 s: {said[-500:]!r}")
            said += read(terminal, 0.1)
        return time.monotonic() - began


def cpu_per_second(home: Path, keys: bytes, tick: Callable[[int], None] | None) -> float:
    """Milliseconds of CPU in a second, once it has settled."""
    with running(home) as (child, terminal):
        drain(terminal, 4.0)
        if keys:
            os.write(terminal, keys)
            drain(terminal, 2.0)
        spent, began, number = cpu_s(child), time.monotonic(), 0
        while time.monotonic() - began < MEASURED_S:
            if tick is not None:
                tick(number)
            number += 1
            drain(terminal, max(0.0, began + PERIOD_S * number - time.monotonic()))
        return (cpu_s(child) - spent) * 1000.0 / (time.monotonic() - began)


def cpu_s(child: int) -> float:
    """Of all its threads, to the nanosecond: the ticks of /proc/PID/stat miss what is over within one."""
    threads = Path(f"/proc/{child}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def drain(terminal: int, seconds: float) -> None:
    """Read what it draws, as a terminal does."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        read(terminal, left)


def read(terminal: int, timeout_s: float) -> bytes:
    ready, _, _ = select.select([terminal], [], [], timeout_s)
    try:
        return os.read(terminal, 1 << 16) if ready else b""
    except OSError:
        time.sleep(timeout_s)  # it has ended
        return b""


def say(measure: str, value: float, unit: str, goal: float | None, more: str) -> None:
    print(f"{measure}: {value:.2f} {unit} ({more})", file=sys.stderr)
    report(measure, value, unit, at_most=goal)


if __name__ == "__main__":
    sys.exit(main())
