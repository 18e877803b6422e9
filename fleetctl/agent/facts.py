"""What this machine is, as far as a Service may mind: driver, CUDA, memory, and what runs containers."""

import re
import shutil
from dataclasses import dataclass

import psutil

from fleetctl.agent.gpus import asked
from fleetctl.agent.runtimes.choice import Runtimes


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    memory_bytes: int | None = None
    driver: str = ""
    cuda: str = ""
    runtime: str = ""


NO_FACTS = Facts()


async def discover_facts(runtimes: Runtimes) -> Facts:
    """Looked at once, when the agent starts: none of it changes while a machine runs, but for Docker's version."""
    driver = cuda = ""
    program = shutil.which("nvidia-smi")
    if program is not None:
        driver, cuda = versions(await asked(program))
    return Facts(
        memory_bytes=psutil.virtual_memory().total, driver=driver, cuda=cuda, runtime=await runtimes.containers()
    )


def versions(text: str) -> tuple[str, str]:
    """The driver's version and the newest CUDA it runs, from the head of the table that `nvidia-smi` prints."""
    driver = re.search(r"Driver Version:\s*([0-9.]+)", text)
    cuda = re.search(r"CUDA Version:\s*([0-9.]+)", text)
    return (driver[1] if driver else "", cuda[1] if cuda else "")
