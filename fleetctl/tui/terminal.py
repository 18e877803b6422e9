"""Runs a command in the terminal that the dashboard has left for so long."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator, Sequence

from fleetctl.tui.asking import argv, line


@contextlib.contextmanager
def interrupts_are_the_commands() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal, and must not end the dashboard behind the command. Main thread only.

    A handler that does nothing, and not SIG_IGN: that one the command would inherit.
    """
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def run_in_terminal(words: Sequence[str]) -> int:
    """The command's exit code. Its end is said, so that its last words can be read."""
    print(f"$ {line(words)}")  # noqa: T201  the terminal is ours for so long
    code = subprocess.run(argv(words), check=False).returncode
    print(f"\n[{line(words)} ended with {code}; Enter: back to the dashboard]", end="", flush=True)  # noqa: T201
    with contextlib.suppress(EOFError):
        input()
    return code
