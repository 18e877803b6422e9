"""The batch limit that a Service's own words give its engine, read out of its command line or environment."""

import re

from fleetctl.engines.commands import command
from fleetctl.engines.engine import Engine
from fleetctl.errors import UsageError
from fleetctl.model.records import dataclass
from fleetctl.model.services import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedLimit:
    """What the engine is told, and by which words."""

    limit: int
    words: str
    """Such as `--max-num-seqs 32`."""
    place: str
    """Where in the Service's file they stand: args, command or env."""


def stated_limit(engine: Engine, service: Service) -> StatedLimit | None:
    """The batch limit that one Replica's engine is started with; None: its words say nothing of it.

    The last mention wins, as engines read their options. A whole shell line in one word is looked into, too.
    """
    if engine.concurrency_argument is None:
        return None
    options = "|".join(
        re.escape(option).replace(r"\-", "[-_]") if option.startswith("--") else re.escape(option)
        for option in (engine.concurrency_argument, *engine.concurrency_aliases)
    )
    pattern = re.compile(rf"(?:^|(?<=[\s'\"]))({options})(?:=|\s+)['\"]?(\d{{1,9}})(?=['\"\s;&|)]|$)")
    try:
        argv = command(engine, service)
    except UsageError:
        return None
    for place, words in (("args", service.args), ("command", argv)):
        if found := list(pattern.finditer(" ".join(words))):
            option, number = found[-1].groups()
            return StatedLimit(limit=int(number), words=f"{option} {int(number)}", place=place)
    name = engine.concurrency_env
    value = dict(service.env).get(name) if name is not None else None
    if name is not None and value is not None and value.isascii() and value.isdigit():
        return StatedLimit(limit=int(value), words=f"{name}={int(value)}", place="env")
    return None
