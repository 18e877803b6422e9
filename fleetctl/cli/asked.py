"""What one command line asks of the output, whatever the command: its form, how much is said, and colours.

One place reads these words, before or after the command's name, and one place decides; commands ask `ASKED`.
"""

import os

TYPE_CHECKING = False
"""As in `streams`: `typing` is not imported for the sake of a version number."""
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

FORMS = ("table", "wide", "json", "yaml", "name", "csv", "jsonpath")
"""What `-o` takes; `jsonpath=TEMPLATE` with a template."""
BY_COMMAND = {"wide": "table", "csv": "json", "jsonpath": "json"}
"""What a command makes for those forms that are another way of writing the same."""
QUIET = ("-q", "--quiet")
LOUDER = {"-v": 1, "--verbose": 1, "-vv": 2, "--debug": 2}
COLOURS = {"--color": True, "--no-color": False}
FLAGS = (*QUIET, *LOUDER, *COLOURS)
VALUED = ("--columns", "--sort-by")
"""Those that take a word more, besides `-o`."""
LEVELS = {"error": -1, "quiet": -1, "warning": 0, "info": 1, "debug": 2}
"""What FLEETCTL_LOG takes."""


class Asked:
    """The answer, for one command line. A process runs one."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """As before any word is read."""
        self.form = "table"
        """One of FORMS."""
        self.made = "table"
        """The one that the command makes for it."""
        self.template = ""
        """Of `jsonpath=`."""
        self.columns: tuple[str, ...] = ()
        self.sort_by = ""
        self.verbosity = 0
        """-1: names and errors only; 1: what is done; 2: with every request."""
        self.colour: bool | None = None
        """None: as the terminal and the environment have it."""
        self.listed = False
        """Whether a list was printed, which `columns` and `sort_by` are for."""

    @property
    def quiet(self) -> bool:
        return self.verbosity < 0

    def coloured(self, stream: "TextIO", environment: "Mapping[str, str]" = os.environ) -> bool:
        """Whether what goes to `stream` may have colours: the flag, no-color.org, force-color.org, the terminal."""
        if self.colour is not None:
            return self.colour
        if environment.get("NO_COLOR"):
            return False
        if environment.get("FORCE_COLOR", "0") not in ("", "0", "false"):
            return True
        if environment.get("CLICOLOR") == "0" or environment.get("TERM") == "dumb":
            return False
        return stream.isatty()


ASKED = Asked()
"""Of this process's command line."""


def ask(
    arguments: "Sequence[str]", valued: "Sequence[str]" = (), environment: "Mapping[str, str]" = os.environ
) -> list[str]:
    """Take these words out of the line and into `ASKED`, made anew; what is left is the command's.

    `valued` are the command's own options with a word more, which is left alone, as is everything after `--`. Raises
    `UsageError`.
    """
    ASKED.clear()
    _from_environment(environment)
    left: list[str] = []
    words = iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if word == "--":
            left += [word, *words]
        elif word in QUIET:
            ASKED.verbosity = -1
        elif word in LOUDER:
            ASKED.verbosity = max(ASKED.verbosity, 0) + LOUDER[word]
        elif word in COLOURS:
            ASKED.colour = COLOURS[word]
        elif option in VALUED:
            _take(option, value if equals else next(words, ""))
        elif option in ("-o", "--output"):
            form = value if equals else next(words, None)
            if form is None:
                left.append(word)  # the command says what is missing
            else:
                _form(form, option)
        elif word.startswith("-o") and len(word) > 2:
            _form(word.removeprefix("-o").removeprefix("="), "-o")
        elif word in valued:
            left += [word, *(one for one in [next(words, None)] if one is not None)]
        else:
            left.append(word)
    return left


def _from_environment(environment: "Mapping[str, str]") -> None:
    if form := environment.get("FLEETCTL_OUTPUT"):
        _form(form, "FLEETCTL_OUTPUT")
    level = environment.get("FLEETCTL_LOG", "").lower()
    if level and level not in LEVELS:
        raise _usage(f"FLEETCTL_LOG={level} is no level", level, LEVELS)
    ASKED.verbosity = LEVELS.get(level, 0)


def _take(option: str, value: str) -> None:
    if not value:
        raise _usage(f"option {option!r} requires an argument", "", ())
    if option == "--columns":
        ASKED.columns = tuple(name.strip() for name in value.split(",") if name.strip())
    else:
        ASKED.sort_by = value


def _form(value: str, option: str) -> None:
    name, equals, template = value.partition("=")
    if name not in FORMS or (equals and name != "jsonpath"):
        raise _usage(f"{value!r} is no form of output ({option})", name, FORMS)
    if name == "jsonpath":
        from fleetctl.cli.jsonpath import parsed

        parsed(template)  # told before anything is done
    ASKED.form, ASKED.template, ASKED.made = name, template, BY_COMMAND.get(name, name)


def _usage(message: str, word: str, choices: "Sequence[str] | Mapping[str, object]") -> Exception:
    from fleetctl.errors import UsageError
    from fleetctl.spec.suggestions import nearest

    near = nearest(word, choices)
    hint = f"did you mean {near!r}?" if near else f"one of {', '.join(choices)}" if choices else ""
    return UsageError(message, hint=hint or "fleetctl help output")
