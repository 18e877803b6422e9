"""What a container sees of its machine."""

from dataclasses import replace
from pathlib import Path

import pytest

from fleetctl.agent.folder import Folder
from fleetctl.agent.runtimes.daemon import DockerDaemon
from fleetctl.agent.runtimes.docker import DockerRuntime
from fleetctl.model.names import InstanceId, ReplicaId, ServiceName
from fleetctl.model.nodes import ReplicaSpec

DIGEST = "a" * 64


@pytest.mark.parametrize("place", ["{}", "--model={}", "{}/model-00001-of-00002.gguf"])
def test_of_the_weights_that_are_here_it_sees_its_own_alone(tmp_path: Path, place: str) -> None:
    folder = Folder(tmp_path)
    folder.make()
    runtime = DockerRuntime(InstanceId("i-1"), folder, DockerDaemon("unix:///nowhere"), real_gpus=False)
    spec = ReplicaSpec(
        id=ReplicaId("chat-1"),
        service=ServiceName("chat"),
        revision="r1",
        engine="vllm",
        model="hf://acme/tiny",
        concurrency=4,
        image="acme/engine:1",
        command=(place.format(folder.store / "weights" / DIGEST),),
    )

    with_weights = runtime._config(spec)["HostConfig"]["Binds"]
    without = runtime._config(replace(spec, command=("serve",)))["HostConfig"]["Binds"]

    own = folder.store / "weights" / DIGEST
    assert set(with_weights) - set(without) == {f"{own}:{own}:ro"}
    assert not [bind for bind in without if bind.startswith(str(folder.store))]
