"""The user's own settings: what holds for every command line where neither a flag nor the environment says otherwise.

They stand at the top of the user's file, beside the contexts: `output: json`. A line each, read without a reader of
all of YAML: every command begins with this.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from fleetctl.cli.asked import FORMS, LEVELS
from fleetctl.errors import StoreFailure, UsageError
from fleetctl.paths import config_file

BYTES_MAX = 1_000_000
"""Of the file: some contexts and settings; what is larger was put there by mistake."""


class Setting(NamedTuple):
    """One that may be set."""

    variable: str
    """Of the environment, which it stands for."""
    values: str
    """What it may be, for people."""
    fault: Callable[[str], bool]
    """Whether this value is none."""


def _no_duration(text: str) -> bool:
    return not (text[-1:] in ("s", "m", "h", "d") and text[:-1].replace(".", "", 1).isdigit())


def _no_price(text: str) -> bool:
    return not (text.replace(".", "", 1).isdigit() and float(text) > 0)


SETTINGS: Mapping[str, Setting] = {
    "output": Setting("FLEETCTL_OUTPUT", f"one of {', '.join(FORMS[:-1])}", lambda text: text not in FORMS[:-1]),
    "log": Setting("FLEETCTL_LOG", f"one of {', '.join(LEVELS)}", lambda text: text not in LEVELS),
    "max_cost_per_hour": Setting("FLEETCTL_MAX_COST_PER_HOUR", "US dollars, as in 12.50", _no_price),
    "timeout": Setting("FLEETCTL_TIMEOUT", "a duration, as in 15m", _no_duration),
    "no_input": Setting("FLEETCTL_NO_INPUT", "1 or 0", lambda text: text not in ("0", "1")),
}
"""Not `yes`: what spends or destroys is agreed to each time, on its own line or in the environment of a script."""


class Given(NamedTuple):
    """One that is set."""

    value: str
    line: int


def in_file() -> dict[str, Given]:
    """The settings of the user's file, as they stand there; nothing where there is none."""
    try:
        with config_file().open(encoding="utf-8") as file:
            lines = file.read(BYTES_MAX).splitlines()
    except (OSError, UnicodeDecodeError):
        return {}  # what is wrong with it is told by those who need it: contexts, and `config set`
    found: dict[str, Given] = {}
    for number, line in enumerate(lines, 1):
        name, colon, rest = line.partition(":")
        if colon and name in SETTINGS:
            found[name] = Given(rest.partition(" #")[0].strip().strip("'\""), number)
    return found


FROM_FILE: dict[str, Given] = {}
"""By variable: what this process's environment has from the file."""


def defaults(environment: Mapping[str, str] = os.environ, *, strict: bool = True) -> dict[str, str]:
    """By variable: what the file says where the environment says nothing. Raises `UsageError` for a value that is none:
    a limit that is not understood is not left out. Not `strict`, it is passed over, for the commands that mend it."""
    FROM_FILE.clear()
    for name, given in in_file().items():
        setting = SETTINGS[name]
        wrong = setting.fault(given.value)
        if wrong and strict:
            raise UsageError(
                f"{config_file()}:{given.line}: {name} is {setting.values}, not {given.value!r}",
                hint=f"fleetctl config unset {name}",
            )
        if not wrong and not environment.get(setting.variable):
            FROM_FILE[setting.variable] = given
    return {variable: given.value for variable, given in FROM_FILE.items()}


def known(name: str) -> Setting:
    """The setting of that name. Raises `UsageError` with the nearest, or where else it stands."""
    if name in SETTINGS:
        return SETTINGS[name]
    from fleetctl.spec.suggestions import nearest

    if name.startswith("fleet."):
        hint = f"it stands in the fleet's files: write it into kind: fleet, then: fleetctl up ({name})"
    elif name in ("context", "current"):
        hint = "fleetctl context use NAME"
    elif name == "yes":
        hint = "what spends or destroys is agreed to each time: --yes, or FLEETCTL_YES=1 in a script"
    else:
        near = nearest(name, SETTINGS)
        hint = f"did you mean {near}?" if near else f"one of: {', '.join(SETTINGS)}"
    raise UsageError(f"{name!r} is no setting of yours", hint=hint)


def checked(name: str, value: str) -> str:
    """The value, once it is known to be one. Raises `UsageError`."""
    setting = known(name)
    if not setting.fault(value):
        return value
    from fleetctl.spec.suggestions import nearest

    choices = setting.values.removeprefix("one of ").split(", ") if setting.values.startswith("one of ") else ()
    near = nearest(value, choices)
    hint = f"did you mean {near}?" if near else f"fleetctl config set {name} {_example(name)}"
    raise UsageError(f"{name} is {setting.values}, not {value!r}", hint=hint)


def _example(name: str) -> str:
    return {"output": "json", "log": "info", "max_cost_per_hour": "12.50", "timeout": "15m", "no_input": "1"}[name]


def written(name: str, value: str | None) -> bool:
    """Put the setting into the user's file, or take it out with None; every other line stays as it is. Whether that
    changed anything. Raises `StoreFailure` for a file that cannot be read or written.
    """
    file = config_file()
    try:
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        lines = _with(text.splitlines(), name, value)
        if lines == text.splitlines():
            return False
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = file.with_suffix(".tmp")
        draft.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        draft.replace(file)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise StoreFailure(
            f"{file} cannot be written: {why}",
            hint=f"look at `ls -ld {file.parent}`, or set FLEETCTL_CONFIG to a file of yours",
        ) from error
    return True


def _with(lines: Sequence[str], name: str, value: str | None) -> list[str]:
    rest = [line for line in lines if line.partition(":")[0] != name]
    if value is None:
        return rest
    made = f"{name}: {value}"
    at = next((number for number, line in enumerate(lines) if line.partition(":")[0] == name), None)
    if at is None:
        return [made, *rest]
    return [*rest[:at], made, *rest[at:]]
