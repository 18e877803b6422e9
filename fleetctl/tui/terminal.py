"""Runs a command in the terminal that the dashboard has left for so long."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator, Sequence
from threading import Event

from fleetctl.tui.asking import Consent, argv, environment_of, line


@contextlib.contextmanager
def interrupts_are_the_commands() -> Iterator[Event]:
    """Ctrl-C reaches every process of a terminal, and must not end the dashboard behind the command. Main thread only.

    What comes is set once it was pressed. A handler, and not SIG_IGN: that one the command would inherit.
    """
    pressed = Event()
    before = signal.signal(signal.SIGINT, lambda *_: pressed.set())
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def run_in_terminal(words: Sequence[str], *, way_back: str, pressed: Event, consent: Consent | None = None) -> int:
    """The command's exit code. How to come back is said before it.

    What the user ends, with Ctrl-C or well, leads straight back; what ends otherwise has last words to be read.
    """
    print(f"\n$ {line(words)}\n[{way_back}: back to the dashboard]\n", flush=True)  # noqa: T201  the terminal is ours
    code = subprocess.run(argv(words), check=False, env=environment_of(consent)).returncode
    if code != 0 and not pressed.is_set():
        print(f"\n[{line(words)} ended with {code}; Enter: back to the dashboard]", end="", flush=True)  # noqa: T201
        with contextlib.suppress(EOFError):
            input()
    return code
