"""The node agent as a real process: what the controller may rely on, kills at bad moments included."""

import asyncio
import os
import re
import signal
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import psutil
import pytest
from agent_machines import BOUND_S, Machine, ended, engines, of, spec, wanted

from fleetctl.agent.folder import Folder
from fleetctl.agent.runtimes.process import ProcessRuntime
from fleetctl.errors import AgentFailure
from fleetctl.model.names import InstanceId, ReplicaId
from fleetctl.model.nodes import Artifact, ArtifactState
from fleetctl.model.replicas import ReplicaPhase
from fleetctl.node.local import UnixNodeLink


async def child_of(log: Path) -> int:
    """The pid of the process that the engine says it started."""
    deadline = time.monotonic() + BOUND_S
    while time.monotonic() < deadline:
        found = re.search(r"child (\d+)\n", log.read_text())
        if found is not None:
            return int(found[1])
        await asyncio.sleep(0.02)
    raise AssertionError(log.read_text())


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    folder = tmp_path / "i-1"
    folder.mkdir()
    link = UnixNodeLink()
    made = Machine(folder=folder, link=link)
    yield made
    await link.close()
    if folder.exists():
        await made.run("--halt")
    if made.agent is not None:
        await asyncio.to_thread(made.agent.wait, BOUND_S)
    assert engines(folder) == []


async def test_replica_is_brought_up_with_its_stages(machine: Machine) -> None:
    await machine.up("--boot-s", "0.2", "--image-s", "0.3", "--weights-s", "0.2")

    await machine.apply(wanted(spec(image="tiny:1", engine="rehearsal")))
    replica = await machine.until_phase(ReplicaPhase.READY)

    status = await machine.link.status(machine.address)
    assert [stage.name for stage in status.stages] == ["boot"]
    assert [gpu.name for gpu in status.gpus] == ["L40S", "L40S"]
    stages = {stage.name: stage for stage in replica.stages}
    assert list(stages) == ["image", "weights", "engine"]
    assert replica.accepted_at is not None
    assert 0.0 <= stages["image"].started_at - replica.accepted_at < 0.3
    took = {name: (stage.ended_at or 0) - stage.started_at for name, stage in stages.items()}
    assert took["image"] >= 0.3
    assert took["weights"] >= 0.2
    assert stages["weights"].started_at < (stages["image"].ended_at or 0), "side by side"
    assert stages["engine"].started_at >= (stages["image"].ended_at or 0)
    assert {found.state for found in status.artifacts} == {ArtifactState.PRESENT}
    async with aiohttp.ClientSession() as session, session.get(f"http://{replica.address}/health") as answer:
        assert answer.status == 200
    assert b"GPUs 0" in await machine.link.logs(machine.address, ReplicaId("chat-1"), 1000)


async def test_sleep_and_wake_keep_the_engine(machine: Machine) -> None:
    await machine.up()
    await machine.apply(wanted(spec(asleep=True)))
    asleep = await machine.until_phase(ReplicaPhase.ASLEEP)

    await machine.apply(wanted(spec(asleep=False)))
    awake = await machine.until_phase(ReplicaPhase.READY)
    await machine.apply(wanted(spec(asleep=True)))
    again = await machine.until_phase(ReplicaPhase.ASLEEP)

    assert asleep.pid == awake.pid == again.pid
    assert [stage.name for stage in asleep.stages] == ["weights", "engine"]
    assert [stage.name for stage in awake.stages] == ["weights", "engine", "wake"]
    assert all(stage.ended_at is not None for stage in awake.stages)


@pytest.mark.parametrize("asleep", [False, True], ids=["awake", "asleep"])
async def test_killed_agent_takes_its_engine_up_again(machine: Machine, asleep: bool) -> None:
    phase = ReplicaPhase.ASLEEP if asleep else ReplicaPhase.READY
    await machine.up("--boot-s", "0.6", "--image-s", "0.3")
    image = Artifact(kind="image", name="tiny:1")
    await machine.apply(wanted(spec(asleep=asleep), artifacts=(image,)))
    before = await machine.until_phase(phase)
    await machine.until(lambda status: all(one.state is ArtifactState.PRESENT for one in status.artifacts))

    machine.kill()
    began = time.monotonic()
    status = await machine.up("--boot-s", "30", "--image-s", "30")

    assert time.monotonic() - began < 10, "an agent's restart is no boot"
    assert of(status) == before, "no moment of doubt about an engine that serves"
    assert {one.state for one in status.artifacts} == {ArtifactState.PRESENT}
    assert len(engines(machine.folder)) == 1


async def test_agent_killed_before_it_noted_the_pid_finds_the_engine(machine: Machine) -> None:
    await machine.up()
    await machine.apply(wanted(spec()))
    before = await machine.until_phase(ReplicaPhase.READY)
    machine.kill()
    record = machine.folder / "engines" / "chat-1.json"
    record.write_bytes(msgspec.json.encode(msgspec.json.decode(record.read_bytes()) | {"process": None}))

    await machine.up()
    after = await machine.until_phase(ReplicaPhase.READY)

    assert after.pid == before.pid
    assert len(engines(machine.folder)) == 1


async def test_agent_killed_at_many_moments_never_doubles_an_engine(machine: Machine) -> None:
    await machine.up()
    await machine.apply(wanted(spec("chat-1"), spec("chat-2", gpus=(1,))))
    machine.kill()

    for pause_s in (0.0, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5):
        machine.start()
        await asyncio.sleep(pause_s)  # the moment of the kill is what is tried
        machine.kill()
        assert len(engines(machine.folder)) <= 2
    await machine.up()
    await machine.until_phase(ReplicaPhase.READY, "chat-1")
    await machine.until_phase(ReplicaPhase.READY, "chat-2")

    assert len(engines(machine.folder)) == 2


async def test_engine_that_exits_is_reported_and_not_restarted(machine: Machine) -> None:
    await machine.up()

    await machine.apply(wanted(spec("chat-1", "--exit-code", "3", engine="vllm")))
    await machine.until_phase(ReplicaPhase.FAILED)
    replica = of(await machine.until(lambda status: of(status).pid is None))

    assert replica.failure is not None
    assert "vllm exited with code 3 before it was ready" in replica.failure
    assert "CUDA out of memory" in replica.failure
    assert replica.failure.endswith("take more or larger GPUs, or a quantised model"), "what is known to help"
    machine.kill()
    assert of(await machine.up()) == replica, "a failure is remembered"
    await machine.apply(wanted())
    assert (await machine.until(lambda status: not status.replicas)).replicas == ()
    assert list((machine.folder / "engines").iterdir()) == []


async def test_engine_that_dies_later_is_reported(machine: Machine) -> None:
    await machine.up()
    await machine.apply(wanted(spec()))
    ready = await machine.until_phase(ReplicaPhase.READY)

    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.post(f"http://{ready.address}/die")
    replica = await machine.until_phase(ReplicaPhase.FAILED)

    assert replica.failure is not None
    assert replica.failure.startswith("tiny exited with code 7;")


async def test_engine_that_died_while_the_agent_was_away_is_reported(machine: Machine) -> None:
    await machine.up()
    await machine.apply(wanted(spec()))
    ready = await machine.until_phase(ReplicaPhase.READY)
    machine.kill()
    assert ready.pid is not None
    os.kill(ready.pid, signal.SIGKILL)

    await machine.up()
    replica = await machine.until_phase(ReplicaPhase.FAILED)

    assert replica.failure is not None
    assert "while the node agent was not watching" in replica.failure


async def test_engine_never_ready_is_ended_after_its_time(machine: Machine) -> None:
    await machine.up()
    await machine.apply(wanted(spec("chat-1", "--never-ready", "--child", startup_timeout_s=1.0)))

    replica = await machine.until_phase(ReplicaPhase.FAILED)

    assert replica.failure is not None
    assert "tiny was not ready within 1 s (GET /health)" in replica.failure
    await machine.until(lambda status: of(status).address is None)
    child = await child_of(machine.folder / "logs" / "chat-1.log")
    assert not psutil.pid_exists(child), "what the engine started went with it"
    assert engines(machine.folder) == []


@pytest.mark.parametrize(
    ("changes", "options", "failure"),
    [
        pytest.param(
            {"command": ("vllm-of-dreams", "serve")},
            (),
            "vllm-of-dreams: command not found on this node; install it there, or name its container",
            id="the binary is missing",
        ),
        pytest.param({"command": ("/etc/hosts",)}, (), "/etc/hosts could not be started", id="not executable"),
        pytest.param({"model": "file:///not/there"}, (), "weights /not/there are not on this node", id="no weights"),
        pytest.param({"asleep": True, "sleep": ()}, (), "tiny cannot be put to sleep", id="no sleep mode"),
        pytest.param(
            {"image": "tiny:1"},
            ("--runtime", "process"),
            "runs engines as processes only",
            id="an image, no containers",
        ),
        pytest.param(
            {"image": "tiny:1"}, (), "no Docker daemon answers at unix:///not/there.sock", id="an image, no Docker here"
        ),
    ],
)
async def test_what_cannot_start_says_why(
    machine: Machine, changes: dict[str, object], options: tuple[str, ...], failure: str
) -> None:
    await machine.up(*options, DOCKER_HOST="unix:///not/there.sock")

    await machine.apply(wanted(spec(**changes)))  # type: ignore[arg-type]  # a table of fields
    replica = await machine.until_phase(ReplicaPhase.FAILED)

    assert failure in (replica.failure or "")
    assert engines(machine.folder) == []


async def test_engine_that_refuses_sleep_fails(machine: Machine) -> None:
    await machine.up()

    await machine.apply(wanted(spec("chat-1", "--refuse-sleep", asleep=True)))
    replica = await machine.until_phase(ReplicaPhase.FAILED)

    assert "answered 501 to POST /sleep?level=1: no sleep mode here" in (replica.failure or "")


async def test_port_taken_by_somebody_else_is_given_up_for_another(machine: Machine, tmp_path: Path) -> None:
    first = tmp_path / "first"
    await machine.up()

    await machine.apply(wanted(spec("chat-1", "--port-taken-once", str(first))))
    replica = await machine.until_phase(ReplicaPhase.READY)

    assert replica.address is not None
    assert replica.address != f"127.0.0.1:{first.read_text()}"


async def test_smaller_fence_is_refused_until_another_store_speaks(machine: Machine) -> None:
    await machine.up()
    await machine.apply(wanted(fence=7))

    with pytest.raises(AgentFailure, match=r"refused \(409\).*has seen fence 7"):
        await machine.apply(wanted(spec(), fence=6))
    refused = await machine.link.status(machine.address)
    machine.kill()
    await machine.up()
    with pytest.raises(AgentFailure, match="409"):
        await machine.apply(wanted(spec(), fence=6))
    await machine.apply(wanted(fence=1, epoch="e2"))

    assert (refused.fence, refused.replicas) == (7, ())
    status = await machine.link.status(machine.address)
    assert (status.epoch, status.fence) == ("e2", 1)


@pytest.mark.parametrize("name", ["../escape", "", ".hidden", "a/b"])
async def test_replica_id_that_is_no_plain_name_is_refused(machine: Machine, name: str) -> None:
    await machine.up()

    with pytest.raises(AgentFailure, match=r"400.*not a plain name"):
        await machine.apply(wanted(spec(name)))

    assert (await machine.link.status(machine.address)).generation == ""


async def test_weights_are_verified_or_left_to_the_engine(machine: Machine, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"x" * 1000)
    here = Artifact(kind="weights", name=f"file://{weights}")
    hub = Artifact(kind="weights", name="engine+hf://meta-llama/Llama-3.1-8B-Instruct@5206a32")
    lost = Artifact(kind="weights", name="file:///not/there")
    await machine.up()

    await machine.apply(wanted(artifacts=(here, hub, lost)))
    status = await machine.until(
        lambda one: len(one.artifacts) == 3 and all(a.state is not ArtifactState.FETCHING for a in one.artifacts)
    )

    found = {one.artifact: one for one in status.artifacts}
    assert (found[here].state, found[here].bytes_done) == (ArtifactState.PRESENT, 1000)
    assert found[hub].state is ArtifactState.PRESENT
    stage = found[hub].stage
    assert stage is not None
    assert stage.detail == "fetched by the engine"
    assert found[lost].state is ArtifactState.FAILED
    await machine.apply(wanted(artifacts=(here,)))
    status = await machine.until(lambda one: len(one.artifacts) == 1)
    assert status.artifacts[0].artifact == here


async def test_engine_waits_for_the_one_before_to_leave_its_gpu(machine: Machine, tmp_path: Path) -> None:
    left = tmp_path / "left"
    await machine.up()
    await machine.apply(wanted(spec("chat-1", "--linger-s", "1", "--ended", str(left))))
    await machine.until_phase(ReplicaPhase.READY)

    await machine.apply(wanted(spec("chat-2")))
    second = await machine.until_phase(ReplicaPhase.READY, "chat-2")

    engine = next(stage for stage in second.stages if stage.name == "engine")
    assert engine.started_at >= float(left.read_text())


async def test_only_its_owner_can_speak_to_the_agent(machine: Machine) -> None:
    await machine.up()

    mode = stat.S_IMODE(machine.socket.stat().st_mode)

    assert mode == 0o600


async def test_second_agent_of_a_machine_leaves_at_once(machine: Machine) -> None:
    await machine.up()

    second = await machine.run()

    assert (second.returncode, second.stderr) == (0, b"i-1 has a node agent already\n")
    assert (await machine.link.status(machine.address)).instance == InstanceId("i-1")


@pytest.mark.parametrize(("engines_at_end", "left"), [("keep", 1), ("stop", 0)])
async def test_asked_to_leave_it_keeps_or_ends_engines(machine: Machine, engines_at_end: str, left: int) -> None:
    await machine.up()
    await machine.apply(wanted(spec()))
    await machine.until_phase(ReplicaPhase.READY)

    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(machine.socket))) as session,
        session.post(f"http://node/v1/shutdown?engines={engines_at_end}") as answer,
    ):
        assert answer.status == 202
    assert machine.agent is not None
    code = await asyncio.to_thread(machine.agent.wait, BOUND_S)

    assert code == 0
    assert len(engines(machine.folder)) == left
    assert not machine.socket.exists()


async def test_agent_of_a_removed_folder_ends_everything(machine: Machine) -> None:
    await machine.up()
    await machine.apply(wanted(spec()))
    ready = await machine.until_phase(ReplicaPhase.READY)
    assert ready.pid is not None
    engine = psutil.Process(ready.pid)

    machine.folder.rename(machine.folder.with_name("moved"))
    assert machine.agent is not None
    code = await asyncio.to_thread(machine.agent.wait, BOUND_S)

    assert code == 0
    assert await ended(engine)


async def test_halted_machine_runs_nothing_and_keeps_its_artifacts(machine: Machine) -> None:
    image = Artifact(kind="image", name="tiny:1")
    await machine.up("--image-s", "0.1")
    await machine.apply(wanted(spec(), artifacts=(image,)))
    await machine.until_phase(ReplicaPhase.READY)
    await machine.until(lambda one: {a.state for a in one.artifacts} == {ArtifactState.PRESENT})

    halted = await machine.run("--halt")
    left = engines(machine.folder)
    began = time.time()
    status = await machine.up("--boot-s", "0.3", "--image-s", "30")

    assert (halted.returncode, left) == (0, [])
    assert time.time() - began > 0.3, "started again after a halt, a machine boots"
    assert (status.generation, status.replicas, status.epoch) == ("", (), "e1")
    assert image in {one.artifact for one in status.artifacts if one.state is ArtifactState.PRESENT}


async def test_engine_deaf_to_sigterm_is_killed_with_all_it_started(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.make()
    runtime = ProcessRuntime(folder)
    engine = await runtime.start(spec("chat-1", "--ignore-term", "--child"))
    child = psutil.Process(await child_of(folder.log(ReplicaId("chat-1"))))
    assert engine.process is not None

    await runtime.stop(ReplicaId("chat-1"), grace_s=0.2)

    assert not psutil.pid_exists(engine.process.pid)
    assert await ended(child)
    assert await runtime.find(ReplicaId("chat-1")) is None


async def test_stranger_on_the_port_is_not_the_engine(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.make()
    runtime = ProcessRuntime(folder)
    engine = await runtime.start(spec("chat-1", command=("sleep", "60")))
    stranger = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", engine.port)

    listens = runtime.listens(engine)

    assert not listens
    stranger.close()
    await stranger.wait_closed()
    await runtime.stop(ReplicaId("chat-1"), grace_s=1.0)


async def test_link_says_who_did_not_answer() -> None:
    link = UnixNodeLink()

    with pytest.raises(AgentFailure, match="no node agent answers at unix:/not/there") as failure:
        await link.status("unix:/not/there")
    with pytest.raises(AgentFailure, match="not the address of a local node agent"):
        await link.status("ssh:host")

    assert "agent.log" in failure.value.hint
    await link.close()
