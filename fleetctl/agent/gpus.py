"""The GPUs of this machine: what the driver lists, else what was declared."""

import asyncio
import logging
import shutil
from dataclasses import dataclass

from fleetctl.model.nodes import NodeGpu
from fleetctl.model.services import Gpu

log = logging.getLogger(__name__)

_NVIDIA_SMI_TIMEOUT_S = 20.0
"""Without persistence mode the driver wakes every GPU to answer: some seconds on a machine of eight."""

_QUERY = ("--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    gpus: tuple[NodeGpu, ...]
    real: bool
    """Listed by the driver, so that containers can be given them."""


async def discover(declared: Gpu) -> Gpus:
    """Ask `nvidia-smi`; where there is none, or it lists nothing, the declared GPUs stand."""
    program = shutil.which("nvidia-smi")
    if program is not None:
        found = parse(await asked(program, *_QUERY))
        if found:
            return Gpus(gpus=found, real=True)
    pretended = tuple(NodeGpu(index=index, name=declared.name) for index in range(declared.count))
    return Gpus(gpus=pretended, real=False)


def parse(text: str) -> tuple[NodeGpu, ...]:
    """Lines of `index, name, MiB`; a line of another shape is not a GPU."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 3 and cells[0].isdigit():
            memory = int(cells[2]) if cells[2].isdigit() else None
            found.append(NodeGpu(index=int(cells[0]), name=cells[1].removeprefix("NVIDIA "), memory_mib=memory))
    return tuple(found)


async def asked(program: str, *arguments: str) -> str:
    """What `nvidia-smi` answers; empty where it fails, or hangs."""
    asking = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_NVIDIA_SMI_TIMEOUT_S):
            out, _ = await asking.communicate()
    except TimeoutError:
        log.warning("%s did not answer within %g s; the declared GPUs stand", program, _NVIDIA_SMI_TIMEOUT_S)
        asking.kill()
        await asking.wait()
        return ""
    return out.decode(errors="replace") if asking.returncode == 0 else ""
