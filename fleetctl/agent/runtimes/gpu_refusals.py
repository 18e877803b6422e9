"""Why a container was refused its GPUs, as one sentence: the words of Docker and of NVIDIA's container toolkit."""

import re

from fleetctl.errors import AgentFailure

_NEEDS = re.compile(r"unsatisfied condition: ([\w.]+ ?[<>=]+ ?[\w.]+)")


def gpu_refusal(node: str, image: str, said: str) -> AgentFailure | None:
    """`said` by Docker as the container was to start; None: it is about something else."""
    low = said.lower()
    if "could not select device driver" in low:
        return AgentFailure(
            f"Docker on {node} cannot give a GPU to {image}: it has no NVIDIA container toolkit",
            hint="install nvidia-container-toolkit there, run `nvidia-ctk runtime configure`, and restart Docker",
        )
    if "nvidia-container-cli" not in low:
        return None
    needs = _NEEDS.search(said)
    if needs is not None:
        return AgentFailure(
            f"the NVIDIA driver of {node} is too old for image {image}, which needs {needs[1]}",
            hint="install a newer driver there, or name an image made for an older CUDA",
        )
    if any(word in low for word in ("driver not loaded", "libnvidia-ml.so", "driver error", "nvml error")):
        return AgentFailure(
            f"the NVIDIA driver of {node} does not run, so {image} gets no GPU there",
            hint="look at nvidia-smi there; after an update of the driver the machine wants a restart",
        )
    if "unknown device" in low:
        return AgentFailure(
            f"{node} no longer has a GPU that {image} was to run on",
            hint="look at nvidia-smi there: one may have failed",
        )
    return None
