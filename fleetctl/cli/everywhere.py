"""Words that every command takes, wherever they stand in its line: which fleet is meant, and how it may ask.

They are taken out before the command reads its own words, and put into the environment for as long as it runs: what
it starts, it starts for the same fleet.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fleetctl.errors import UsageError

VALUED = {"--context": "FLEETCTL_CONTEXT", "--confirm": "FLEETCTL_CONFIRM"}
FLAGS = {"--no-input": "FLEETCTL_NO_INPUT"}
END = "--"
"""What follows it belongs to another program."""


def taken(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The other words, and the environment that these stand for. Raises `UsageError` for one without its value."""
    rest: list[str] = []
    meant: dict[str, str] = {}
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if word == END:
            rest += [word, *words]
        elif name in VALUED:
            found = value if equals else next(words, "")
            if not found or found.startswith("-"):
                raise UsageError(f"{name} needs a name", hint="the names there are: fleetctl context ls")
            meant[VALUED[name]] = found
        elif word in FLAGS:
            meant[FLAGS[word]] = "1"
        else:
            rest.append(word)
    if "FLEETCTL_CONTEXT" in meant and os.environ.get("FLEETCTL_HOME"):
        raise UsageError(
            f"FLEETCTL_HOME is set and wins over the context {meant['FLEETCTL_CONTEXT']}",
            hint="unset FLEETCTL_HOME, or leave --context out",
        )
    return rest, meant


@contextmanager
def environment(meant: dict[str, str]) -> Iterator[None]:
    """The environment with these, until the block ends."""
    before = {name: os.environ.get(name) for name in meant}
    os.environ.update(meant)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
