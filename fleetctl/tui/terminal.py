"""Runs a command in the terminal that the dashboard has left for so long."""

import contextlib
import subprocess
from collections.abc import Sequence

from fleetctl.tui.asking import argv, line


def run_in_terminal(words: Sequence[str]) -> int:
    """Ctrl-C is the command's; its end is said, so that its last words can be read."""
    print(f"$ {line(words)}")  # noqa: T201  the terminal is ours for so long
    try:
        code = subprocess.run(argv(words), check=False).returncode
    except KeyboardInterrupt:
        code = 130
    print(f"\n[{line(words)} ended with {code}; Enter: back to the dashboard]", end="", flush=True)  # noqa: T201
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        input()
    return code
