"""Engine caches on real agents: saved once an engine is ready, put back before the next start, passed on to others."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from agent_machines import BOUND_S, Machine, of, wanted

from fleetctl.model.names import InstanceId, ReplicaId, ServiceName
from fleetctl.model.nodes import (
    Artifact,
    ArtifactState,
    CacheFolder,
    Call,
    EngineCache,
    Feed,
    NodeDesired,
    NodeStatus,
    Peer,
    ReplicaSpec,
    ReplicaStatus,
)
from fleetctl.model.replicas import ReplicaPhase
from fleetctl.node.local import UnixNodeLink

KEY = Artifact(kind="cache", name="a" * 64)
OTHER = Artifact(kind="cache", name="b" * 64)
FOLDER = CacheFolder(path="~/.cache/fleetctl-rehearsal", env="REHEARSAL_CACHE_DIR")
PEER_KEY = bytes(range(32)).hex()
COMPILE_S = 1.0


def spec(name: str = "chat-1", *, key: Artifact = KEY, warm_up: tuple[Call, ...] = ()) -> ReplicaSpec:
    return ReplicaSpec(
        id=ReplicaId(name),
        service=ServiceName("chat"),
        revision="r1",
        engine="rehearsal",
        model="rehearsal://tiny",
        concurrency=4,
        command=(
            *("{python}", "-m", "fleetctl.rehearsal", "--port", "{port}", "--model", "tiny"),
            *("--compile-s", str(COMPILE_S), "--compile-bytes", "4000000"),
        ),
        gpus=(0,) if name == "chat-1" else (1,),
        cache=EngineCache(artifact=key, folders=(FOLDER,)),
        warm_up=warm_up,
    )


@pytest.fixture
async def machines(tmp_path: Path) -> AsyncIterator[list[Machine]]:
    link = UnixNodeLink()
    made = []
    for name in ("i-1", "i-2"):
        (tmp_path / name).mkdir()
        made.append(Machine(folder=tmp_path / name, link=link))
    yield made
    await link.close()
    for machine in made:
        if machine.agent is not None:
            await machine.run("--halt")
            await asyncio.to_thread(machine.agent.wait, BOUND_S)


def holds(status: NodeStatus, artifact: Artifact = KEY) -> bool:
    return any(one.artifact == artifact and one.state is ArtifactState.PRESENT for one in status.artifacts)


def engine_took_s(replica: ReplicaStatus) -> float:
    stage = next(stage for stage in replica.stages if stage.name == "engine")
    assert stage.ended_at is not None
    return stage.ended_at - stage.started_at


def stage_names(replica: ReplicaStatus) -> list[str]:
    return [stage.name for stage in replica.stages]


async def log_of(machine: Machine, name: str = "chat-1") -> str:
    return (await machine.link.logs(machine.address, ReplicaId(name), 10_000)).decode()


async def compiled_and_saved(machine: Machine) -> ReplicaStatus:
    await machine.apply(wanted(spec()))
    first = await machine.until_phase(ReplicaPhase.READY)
    await machine.until(holds)
    return first


async def removed(machine: Machine) -> None:
    await machine.apply(wanted())
    await machine.until(lambda status: not status.replicas)


async def test_the_second_start_finds_what_the_first_one_compiled(machines: list[Machine]) -> None:
    machine = machines[0]
    await machine.up()
    first = await compiled_and_saved(machine)
    await removed(machine)
    working = machine.folder / "working"
    await machine.until(lambda _: not any(working.glob("*")))

    await machine.apply(wanted(spec("chat-2")))
    second = await machine.until_phase(ReplicaPhase.READY, "chat-2")

    assert engine_took_s(first) >= COMPILE_S
    assert "cache" not in stage_names(first)
    assert "cache" in stage_names(second)
    assert "found what was compiled before" in await log_of(machine, "chat-2")


async def test_what_is_saved_is_whole_and_has_neither_locks_nor_links(machines: list[Machine], tmp_path: Path) -> None:
    machine = machines[0]
    secret = tmp_path / "secret"
    secret.write_text("not an engine's")
    part = machine.folder / "working" / KEY.name / "REHEARSAL_CACHE_DIR"
    part.mkdir(parents=True)
    part.joinpath("stolen").symlink_to(secret)
    part.joinpath("left.lock").touch()
    part.joinpath("lock").touch()
    await machine.up()

    await compiled_and_saved(machine)

    saved = [path for path in (machine.folder / "store" / "cache").rglob("*") if path.is_file()]
    names = {path.name for path in saved}
    assert {f"kernel-{number}.bin" for number in range(8)} <= names
    assert not names & {"stolen", "left.lock", "lock", "compiling.lock"}
    assert not any(path.is_symlink() or secret.read_bytes() in path.read_bytes() for path in saved)
    assert all(path.stat().st_mode & 0o222 == 0 for path in saved if path.name.startswith("kernel")), "nobody writes"


async def test_two_engines_of_one_key_at_once_share_a_folder_and_save_it_once(machines: list[Machine]) -> None:
    machine = machines[0]
    await machine.up()

    await machine.apply(wanted(spec("chat-1"), spec("chat-2")))
    await machine.until_phase(ReplicaPhase.READY, "chat-1")
    await machine.until_phase(ReplicaPhase.READY, "chat-2")
    await machine.until(holds)

    assert len(list((machine.folder / "working").glob("?" * 64))) == 1
    assert len(list((machine.folder / "store" / "cache").glob("?" * 64))) == 1
    agent = (machine.folder / "agent.log").read_text()
    assert agent.count("is saved") <= 1


async def test_another_key_finds_nothing(machines: list[Machine]) -> None:
    machine = machines[0]
    await machine.up()
    await compiled_and_saved(machine)
    await removed(machine)

    await machine.apply(wanted(spec("chat-2", key=OTHER)))
    other = await machine.until_phase(ReplicaPhase.READY, "chat-2")

    assert engine_took_s(other) >= COMPILE_S
    assert "found" not in await log_of(machine, "chat-2")


@pytest.mark.parametrize("damage", ["flipped", "missing", "index", "emptied"])
async def test_a_damaged_cache_stops_no_start_and_is_made_again(machines: list[Machine], damage: str) -> None:
    machine = machines[0]
    await machine.up()
    await compiled_and_saved(machine)
    await removed(machine)
    await machine.until(lambda _: not any((machine.folder / "working").glob("*")))
    store = machine.folder / "store" / "cache"
    kernel = next(store.rglob("kernel-3.bin"))
    for folder in (kernel.parent, next(store.glob("?" * 64))):
        folder.chmod(0o755)
    match damage:
        case "flipped":
            kernel.chmod(0o644)
            data = bytearray(kernel.read_bytes())
            data[100] ^= 1
            kernel.write_bytes(data)
        case "missing":
            kernel.unlink()
        case "index":
            index = next(store.rglob("fleetctl-cache.json"))
            index.chmod(0o644)
            index.write_bytes(b"x" * index.stat().st_size)
        case "emptied":
            shutil.rmtree(store)

    await machine.apply(wanted(spec("chat-2")))
    again = await machine.until_phase(ReplicaPhase.READY, "chat-2")
    remade = await log_of(machine, "chat-2")
    await machine.until(holds)
    await removed(machine)
    await machine.apply(wanted(spec("chat-3")))
    await machine.until_phase(ReplicaPhase.READY, "chat-3")

    assert engine_took_s(again) >= COMPILE_S
    assert "found" not in remade
    assert "found what was compiled before" in await log_of(machine, "chat-3")


async def test_it_goes_to_a_node_that_has_never_compiled(machines: list[Machine]) -> None:
    first, second = machines
    await first.up("--peers", "127.0.0.1:0")
    await second.up("--peers", "127.0.0.1:0", "--instance", "i-2")
    keyed = _keyed(wanted(spec()))
    await first.apply(keyed)
    await first.until_phase(ReplicaPhase.READY)
    status = await first.until(holds)
    feed = Feed(artifact=KEY, parents=(Peer(instance=InstanceId("i-1"), address=status.peers),))

    await second.apply(_keyed(wanted(spec("chat-2"), artifacts=(KEY,)), feed))
    replica = await second.until_phase(ReplicaPhase.READY, "chat-2")
    there = await second.until(holds)

    came = next(one for one in there.artifacts if one.artifact == KEY)
    assert came.peer_bytes >= 4_000_000
    assert came.origin_bytes == 0
    assert stage_names(replica).count("cache") == 1
    assert "found what was compiled before" in await log_of(second, "chat-2")


async def test_a_cache_that_no_node_gives_stops_no_start(machines: list[Machine]) -> None:
    machine = machines[0]
    await machine.up()

    await machine.apply(wanted(spec(), artifacts=(KEY,)))
    replica = await machine.until_phase(ReplicaPhase.READY)

    assert replica.failure is None
    await machine.until(holds)


async def test_an_agent_killed_before_it_saved_saves_after_its_return(machines: list[Machine]) -> None:
    machine = machines[0]
    await machine.up()
    await machine.apply(wanted(spec()))
    before = await machine.until_phase(ReplicaPhase.READY)
    machine.kill()

    status = await machine.up()
    await machine.until(holds)

    assert of(status).pid == before.pid


def _keyed(desired: NodeDesired, *feeds: Feed) -> NodeDesired:
    return replace(desired, feeds=feeds, peer_key=PEER_KEY)
