"""What `nvidia-smi` lists, as GPUs of a Node."""

import pytest

from fleetctl.agent.gpus import parse
from fleetctl.agent.runtimes.gpu_refusals import gpu_refusal
from fleetctl.engines import engine, log_hint
from fleetctl.model.nodes import NodeGpu


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        pytest.param(
            "0, NVIDIA H200, 143771\n1, NVIDIA H200, 143771\n",
            (NodeGpu(index=0, name="H200", memory_mib=143771), NodeGpu(index=1, name="H200", memory_mib=143771)),
            id="two of one kind",
        ),
        pytest.param(
            "0, Tesla T4, 15360\n", (NodeGpu(index=0, name="Tesla T4", memory_mib=15360),), id="no brand to cut"
        ),
        pytest.param("0, NVIDIA GB10, [N/A]\n", (NodeGpu(index=0, name="GB10"),), id="shared memory is not known"),
        pytest.param("No devices were found\n", (), id="a driver and no GPU"),
        pytest.param("", (), id="nothing"),
        pytest.param("NVIDIA-SMI has failed because it couldn't communicate, with, the driver\n", (), id="no driver"),
    ],
)
def test_parse(text: str, gpus: tuple[NodeGpu, ...]) -> None:
    assert parse(text) == gpus


@pytest.mark.parametrize(
    ("said", "sentence", "to_do"),
    [
        pytest.param(
            'could not select device driver "" with capabilities: [[gpu]]',
            "Docker on i-1 cannot give a GPU to vllm:1",
            "install nvidia-container-toolkit",
            id="no toolkit",
        ),
        pytest.param(
            "failed to create task for container: … nvidia-container-cli: requirement error: unsatisfied condition: "
            "cuda>=12.8, please update your driver to a newer version, or use an earlier cuda container: unknown",
            "the NVIDIA driver of i-1 is too old for image vllm:1, which needs cuda>=12.8",
            "install a newer driver there",
            id="an old driver",
        ),
        pytest.param(
            "nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: cannot open shared "
            "object file: no such file or directory: unknown",
            "the NVIDIA driver of i-1 does not run",
            "look at nvidia-smi there",
            id="no driver",
        ),
        pytest.param(
            "nvidia-container-cli: device error: 3: unknown device: unknown",
            "i-1 no longer has a GPU that vllm:1 was to run on",
            "one may have failed",
            id="a GPU that is gone",
        ),
    ],
)
def test_a_container_that_gets_no_gpu_says_why(said: str, sentence: str, to_do: str) -> None:
    found = gpu_refusal("i-1", "vllm:1", said)

    assert found is not None
    assert sentence in found.message
    assert to_do in found.hint


def test_what_is_not_about_gpus_is_left_as_docker_said_it() -> None:
    assert gpu_refusal("i-1", "vllm:1", 'exec: "vllm": executable file not found in $PATH') is None


@pytest.mark.parametrize("name", ["vllm", "sglang", "llama.cpp"])
def test_a_driver_that_is_too_old_is_known_from_any_engine_s_log(name: str) -> None:
    log = "RuntimeError: The NVIDIA driver on your system is too old (found version 11040).\n"

    assert (log_hint(engine(name), log) or "").startswith("the NVIDIA driver of this node is too old")
