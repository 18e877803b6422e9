"""A question before something is spent or destroyed, or a refusal where nobody can be asked."""

import os
import sys

from fleetctl.cli.output import say
from fleetctl.errors import ConfirmationNeeded


def agreed(*, yes: bool) -> bool:
    """Whether `--yes` or FLEETCTL_YES has answered already."""
    return yes or os.environ.get("FLEETCTL_YES", "") not in ("", "0")


def ask(what: str, *, yes: bool, retry: str) -> None:
    """Ask `what`, a question. Raises `ConfirmationNeeded` when nobody can be asked, or the answer is no."""
    if agreed(yes=yes):
        return
    if not sys.stdin.isatty() or os.environ.get("CI"):
        raise ConfirmationNeeded(f"nobody said yes to: {what}", hint=retry)
    say(what)
    sys.stderr.write("Go on? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfirmationNeeded("nothing was changed", hint=retry)
