"""The commands there are, read from the first line of each command's file. Imports none of them.

A command is a file in this folder that begins with three quotes, its name, its panel and its summary, as in
"`fleetctl ps` (Look): Services, replicas, standby and price." and holds `app`, a Typer app. The docstring goes on with
a line `Example: fleetctl ps -r --watch`, or one for each command of a group.
"""

import os
from typing import NamedTuple

PANELS = ("Start here", "Change", "Look", "Control", "Files")
"""In the order of the root help."""

_EXAMPLE = "Example: "

EXIT_CODES = """\
Exit codes: 0 ok, 1 failure, 2 usage, 3 confirmation needed, 4 not found,
  5 auth, 6 timeout (still running), 7 conflict, 8 capacity or quota, 9 budget,
  130 interrupted"""

_FOLDER = os.path.dirname(__file__)
_BEGINS = '"""`fleetctl '
_LINE_BYTES = 200
"""More than a line of code may have."""
_DOCSTRING_BYTES = 2_000
"""More than the docstring of a command's file has."""


class Command(NamedTuple):
    name: str
    module: str
    """Its file in this folder."""
    panel: str
    summary: str


def commands() -> list[Command]:
    """Every command, by panel and name."""
    found = []
    for entry in os.scandir(_FOLDER):
        if entry.name.endswith(".py"):
            with open(entry.path, encoding="utf-8") as file:
                line = file.read(_LINE_BYTES).partition("\n")[0]
            if line.startswith(_BEGINS):
                name, _, rest = line.removeprefix(_BEGINS).partition("` (")
                panel, _, summary = rest.partition("): ")
                found.append(Command(name, entry.name.removesuffix(".py"), panel, summary.rstrip('."')))
    found.sort(key=lambda command: (PANELS.index(command.panel), command.name))
    return found


def example(command: Command, path: str = "") -> str:
    """A line to type: of this `path`, as in `daemon start`, or the first of its file; empty: none."""
    with open(os.path.join(_FOLDER, f"{command.module}.py"), encoding="utf-8") as file:
        docstring = file.read(_DOCSTRING_BYTES).partition('"""')[2].partition('"""')[0]
    lines = [line.removeprefix(_EXAMPLE) for line in docstring.splitlines() if line.startswith(_EXAMPLE)]
    own = [line for line in lines if f"{line} ".startswith(f"fleetctl {path} ")]
    return next(iter(own or lines), "")


def root_help(columns: int | None = None) -> str:
    """The text of `fleetctl --help`, in so many columns; None: as wide as it comes."""
    every = commands()
    width = max(len(command.name) for command in every)
    lines = ["Usage: fleetctl COMMAND [OPTIONS]", "", "A terminal control plane for GPU fleets."]
    panel = ""
    for command in every:
        if command.panel != panel:
            panel = command.panel
            lines += ["", f"{panel}:"]
        lines += _in_width(f"  {command.name:<{width}}  ", command.summary, columns)
    lines += [
        "",
        "Every command has --help (or: fleetctl help COMMAND), and -o, for the form",
        "of what it prints (see: fleetctl help output).",
        "FLEETCTL_HOME names the folder of the fleet (see: fleetctl help env).",
        EXIT_CODES,
        "",
    ]
    return "\n".join(lines)


def _in_width(head: str, summary: str, columns: int | None) -> list[str]:
    """A line of the list, and below its summary what of that has no room."""
    lines, now = [], head
    for word in summary.split():
        if columns is not None and now.strip() and now != head and len(now) + len(word) > columns:
            lines.append(now.rstrip())
            now = " " * len(head)
        now += f"{word} "
    return [*lines, now.rstrip()]


def terminal_columns() -> int | None:
    """Of the terminal that the help is shown on; None: it is none. Not `shutil`, whose import costs too much here."""
    try:
        return os.get_terminal_size(1).columns if os.isatty(1) else None
    except OSError:
        return None
