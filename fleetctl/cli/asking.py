"""A question before something is spent or destroyed, or a refusal where nobody can be asked."""

import os
import sys

from fleetctl.cli.output import tell
from fleetctl.errors import ConfirmationNeeded
from fleetctl.paths import Home


def agreed(*, yes: bool) -> bool:
    """Whether `--yes` or FLEETCTL_YES has answered already."""
    return yes or os.environ.get("FLEETCTL_YES", "") not in ("", "0")


def nobody_there() -> bool:
    """Whether nobody can be asked: no terminal, `--no-input`, or a machine that builds."""
    silent = os.environ.get("CI") or os.environ.get("FLEETCTL_NO_INPUT", "") not in ("", "0")
    return bool(silent) or not sys.stdin.isatty()


def ask(what: str, *, yes: bool, retry: str, home: Home | None = None) -> None:
    """Ask `what`, a question. Raises `ConfirmationNeeded` when nobody can be asked, or the answer is no.

    In a context that wants its name typed, `--yes` is no answer: the name is, typed or given with `--confirm`. `retry`
    is the command that was given, without either.
    """
    if home is not None and home.typed:
        _typed(what, home.context, retry=retry)
        return
    if agreed(yes=yes):
        return
    hint = f"agree with: {_here(retry)} --yes"
    if nobody_there():
        raise ConfirmationNeeded(f"nobody said yes to: {what}", hint=hint)
    tell(what)
    if _answer("Go on? [y/N] ").lower() not in ("y", "yes"):
        raise ConfirmationNeeded("nothing was changed", hint=hint)


def ask_typed(what: str, *, retry: str, home: Home) -> None:
    """Ask `what` only in a context that wants its name typed: what can be taken back is not asked about elsewhere."""
    if home.typed:
        _typed(what, home.context, retry=retry)


def _typed(what: str, name: str, *, retry: str) -> None:
    given = os.environ.get("FLEETCTL_CONFIRM", "")
    if given == name:
        return
    hint = f"agree with: {_here(retry)} --confirm {name}"
    if given:
        raise ConfirmationNeeded(f"--confirm {given} is not the name of this context, {name}", hint=hint)
    if nobody_there():
        raise ConfirmationNeeded(f"nobody typed the name of the context {name} for: {what}", hint=hint)
    tell(what)
    if _answer(f"Type the name of the context to go on ({name}): ") != name:
        raise ConfirmationNeeded("nothing was changed", hint=hint)


def _here(line: str) -> str:
    """The command line for this very fleet, whichever context is in use when it is typed."""
    context = os.environ.get("FLEETCTL_CONTEXT", "")
    return f"{line} --context {context}" if context and not os.environ.get("FLEETCTL_HOME") else line


def _answer(prompt: str) -> str:
    """What is typed. Ctrl-C there changes nothing."""
    sys.stderr.write(prompt)
    sys.stderr.flush()
    try:
        return sys.stdin.readline().strip()
    except KeyboardInterrupt:
        raise KeyboardInterrupt("nothing was changed") from None
