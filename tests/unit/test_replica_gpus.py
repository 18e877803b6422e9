"""GPUs of engines that a restarted agent has not found yet are taken for theirs."""

from dataclasses import replace
from pathlib import Path

import pytest

from fleetctl.agent.artifacts import Artifacts
from fleetctl.agent.caches.keeper import EngineCaches
from fleetctl.agent.chunks.store import Store
from fleetctl.agent.engine_http import EngineHttp
from fleetctl.agent.folder import Folder, write
from fleetctl.agent.replica_records import ReplicaRecord
from fleetctl.agent.replica_run import ReplicaRun
from fleetctl.agent.runtimes.choice import Runtimes
from fleetctl.agent.runtimes.runtime import EngineRecord
from fleetctl.agent.sources.caches import CacheSource
from fleetctl.errors import AgentFailure
from fleetctl.model.names import InstanceId, ReplicaId, ServiceName
from fleetctl.model.nodes import ReplicaSpec
from fleetctl.model.replicas import Stage

NODE = InstanceId("i-1")
SPEC = ReplicaSpec(
    id=ReplicaId("chat-1"),
    service=ServiceName("chat"),
    revision="r1",
    engine="vllm",
    model="rehearsal://tiny",
    concurrency=4,
    image="acme/engine:1",
    command=("serve",),
    gpus=(0, 1),
)
STARTED = (Stage(name="engine", started_at=1.0, ended_at=2.0),)


async def no_wait(replica: ReplicaId, gpus: tuple[int, ...]) -> None:
    """All GPUs are free."""


@pytest.mark.parametrize(
    ("record", "held", "awake"),
    [
        (ReplicaRecord(spec=SPEC, accepted_at=1.0), set(), set()),
        (ReplicaRecord(spec=SPEC, accepted_at=1.0, stages=STARTED), {0, 1}, {0, 1}),
        (ReplicaRecord(spec=SPEC, accepted_at=1.0, stages=STARTED, asleep=None), {0, 1}, {0, 1}),
        (ReplicaRecord(spec=SPEC, accepted_at=1.0, stages=STARTED, asleep=True), {0, 1}, set()),
    ],
    ids=["never started", "awake", "half asleep", "asleep"],
)
async def test_while_docker_does_not_answer(
    tmp_path: Path, record: ReplicaRecord, held: set[int], awake: set[int]
) -> None:
    folder = Folder(tmp_path)
    folder.make()
    write(folder.replica(SPEC.id), record)
    write(folder.engine(SPEC.id), EngineRecord(replica=SPEC.id, runtime="docker"))
    runtimes = Runtimes("docker", NODE, folder, real_gpus=False, docker=f"unix://{tmp_path}/nobody.sock")
    store = Store(folder.store)
    artifacts = Artifacts(NODE, folder, {}, lambda: None)
    http = EngineHttp()
    run = ReplicaRun(
        replace(SPEC),
        folder=folder,
        artifacts=artifacts,
        caches=EngineCaches(folder, store, CacheSource(store), artifacts, lambda: None),
        runtimes=runtimes,
        http=http,
        gpus_free=no_wait,
    )

    with pytest.raises(AgentFailure, match="no Docker daemon answers"):
        await run.adopt()

    assert (run.gpus_held, run.gpus_awake) == (held, awake)
    await http.close()
    await runtimes.close()
