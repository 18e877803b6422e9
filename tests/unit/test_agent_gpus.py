"""What `nvidia-smi` lists, as GPUs of a Node."""

import pytest

from fleetctl.agent.gpus import parse
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
