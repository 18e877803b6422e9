"""Runs `fleetctl` itself: what the dashboard does and tells is what its commands do and tell."""

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

TIMEOUT_S = 30.0
"""Commands that only read or store an intent take a fraction of a second; a store that is locked takes longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    code: int
    text: str
    """stdout, then stderr."""


def line(words: Sequence[str]) -> str:
    """The command as a person would type it."""
    return " ".join(("fleetctl", *words))


def argv(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "fleetctl", *words]


@dataclass(frozen=True, slots=True)
class Consent:
    """What was agreed to here, for the command that would ask again."""

    name: str = ""
    """Of the context, where it wants that typed."""


def environment_of(consent: Consent | None) -> dict[str, str]:
    """A command's environment: what it was not agreed to, it is not told by an environment that says yes to all."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("FLEETCTL_YES", "FLEETCTL_CONFIRM")
    }
    if consent is not None:
        environment["FLEETCTL_YES"] = "1"
        if consent.name:
            environment["FLEETCTL_CONFIRM"] = consent.name
    return environment


async def ask(words: Sequence[str], *, width: int, consent: Consent | None = None) -> Answer:
    """Run one command to its end; `consent`: it was asked about here, and yes said. A failure is an answer, too."""
    environment = environment_of(consent) | {"COLUMNS": str(width), "FLEETCTL_OUTPUT": "table"}
    process = await asyncio.create_subprocess_exec(
        *argv(words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            said, complained = await process.communicate()
    except TimeoutError:
        return Answer(code=6, text=f"{line(words)} has not ended in {TIMEOUT_S:g} s")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Answer(code=process.returncode or 0, text=(said + complained).decode(errors="replace").rstrip())
