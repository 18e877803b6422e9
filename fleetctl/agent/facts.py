"""What this machine is, as far as a Service may mind: driver, CUDA, memory, and what runs containers."""

import asyncio
import re
import shutil
from dataclasses import dataclass

import psutil

from fleetctl.agent.builds import installed_engines, instructions
from fleetctl.agent.gpus import asked
from fleetctl.agent.runtimes.choice import Runtimes


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    memory_bytes: int | None = None
    driver: str | None = None
    cuda: str = ""
    runtime: str | None = None
    snapshotter: str | None = None
    instructions: str = ""
    engines: tuple[tuple[str, str], ...] = ()


NO_FACTS = Facts()

LOOK_AGAIN_S = 30.0
"""A driver or a Docker daemon that is not there yet may come: cloud machines start an agent before all is up."""


class FactsWatch:
    """Keeps what is known. It looks beside the agent's work: a Docker daemon that hangs must not hold it up."""

    def __init__(self, runtimes: Runtimes) -> None:
        self._runtimes = runtimes
        self.facts = NO_FACTS

    async def watch(self) -> None:
        """Look, and look again as long as something is missing."""
        while True:
            if not self.facts.driver or not self.facts.runtime:
                self.facts = await discover_facts(self._runtimes)
            await asyncio.sleep(LOOK_AGAIN_S)


async def discover_facts(runtimes: Runtimes) -> Facts:
    """What is here now."""
    driver = cuda = ""
    program = shutil.which("nvidia-smi")
    if program is not None:
        driver, cuda = versions(await asked(program))
    return Facts(
        memory_bytes=psutil.virtual_memory().total,
        driver=driver,
        cuda=cuda,
        runtime=await runtimes.containers(),
        snapshotter=await runtimes.snapshotter(),
        instructions=await asyncio.to_thread(instructions),
        engines=await asyncio.to_thread(installed_engines),
    )


def versions(text: str) -> tuple[str, str]:
    """The driver's version and the newest CUDA it runs, from the head of the table that `nvidia-smi` prints."""
    driver = re.search(r"Driver Version:\s*([0-9.]+)", text)
    cuda = re.search(r"CUDA Version:\s*([0-9.]+)", text)
    return (driver[1] if driver else "", cuda[1] if cuda else "")
