"""A Replica counts as ready once its engine lists its model and has answered what shall warm it up."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from agent_machines import BOUND_S, Machine, of, wanted

from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.nodes import Call, ReplicaSpec, ReplicaStatus
from fleetctl.model.replicas import ReplicaPhase
from fleetctl.node.local import UnixNodeLink

LISTS = Call(path="/v1/models", method="GET", expect='"id":"tiny"')


def completion(tokens: int = 3, **more: object) -> Call:
    body = {"model": "tiny", "prompt": "Once", "max_tokens": tokens, **more}
    return Call(path="/v1/completions", body=json.dumps(body))


def spec(*levers: str, **changes: object) -> ReplicaSpec:
    made = ReplicaSpec(
        id=ReplicaId("chat-1"),
        service=ServiceName("chat"),
        revision="r1",
        engine="rehearsal",
        model="rehearsal://tiny",
        concurrency=4,
        command=("{python}", "-m", "fleetctl.rehearsal", "--port", "{port}", "--model", "tiny", *levers),
        gpus=(0,),
        lists=LISTS,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # a table of fields, checked by the class itself


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    (tmp_path / "i-1").mkdir()
    link = UnixNodeLink()
    made = Machine(folder=tmp_path / "i-1", link=link)
    await made.up()
    yield made
    await link.close()
    await made.run("--halt")
    if made.agent is not None:
        await asyncio.to_thread(made.agent.wait, BOUND_S)


async def answered(replica: ReplicaStatus) -> int:
    """Requests that the engine says it has answered."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{replica.address}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith("vllm:request_success_total{"))


async def test_all_is_answered_before_it_is_ready(machine: Machine) -> None:
    await machine.apply(wanted(spec(warm_up=(completion(), completion(5)))))

    replica = await machine.until_phase(ReplicaPhase.READY)

    assert await answered(replica) == 2
    engine, warm_up = replica.stages[-2:]
    assert (engine.name, warm_up.name) == ("engine", "warm_up")
    assert engine.ended_at is not None and warm_up.ended_at is not None
    assert engine.ended_at <= warm_up.started_at + 0.001


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (Call(path="/v1/nothing", body="{}"), "404"),
        (completion(model="other"), "the model `other` does not exist"),
        (completion(10_000_000), "context length"),
    ],
    ids=("path", "model", "length"),
)
async def test_one_that_fails_fails_the_start_in_one_sentence(machine: Machine, call: Call, said: str) -> None:
    await machine.apply(wanted(spec(warm_up=(completion(), call))))

    replica = await machine.until_phase(ReplicaPhase.FAILED)

    assert replica.failure is not None
    assert replica.failure.startswith("rehearsal was ready, but warm-up request 2 of 2 failed: the engine answered")
    assert said in replica.failure
    assert "correct warm_up:" in replica.failure
    assert all(stage.ended_at is not None for stage in replica.stages)


async def test_a_warm_up_that_never_ends_is_bounded_by_the_start(machine: Machine) -> None:
    began = time.monotonic()

    await machine.apply(wanted(spec("--token-s", "30", warm_up=(completion(),), startup_timeout_s=4.0)))
    replica = await machine.until_phase(ReplicaPhase.FAILED)

    assert time.monotonic() - began < 28, "less than its first token takes"
    assert "warm-up request 1 of 1 failed: took longer than the 4 s that a start may take" in (replica.failure or "")


async def test_an_agent_killed_meanwhile_begins_the_warm_up_again(machine: Machine) -> None:
    slow = spec("--token-s", "0.5", warm_up=(completion(4),))
    await machine.apply(wanted(slow))
    status = await machine.until(lambda status: any(one.name == "warm_up" for one in of(status).stages))
    machine.kill()

    await machine.up()
    replica = await machine.until_phase(ReplicaPhase.READY)

    assert replica.pid == of(status).pid
    assert await answered(replica) >= 1


async def test_an_engine_that_lists_another_model_is_not_ready(machine: Machine) -> None:
    other = Call(path="/v1/models", method="GET", expect='"id":"other"')

    await machine.apply(wanted(spec(lists=other, startup_timeout_s=3.0)))
    replica = await machine.until_phase(ReplicaPhase.FAILED)

    assert 'was not ready within 3 s (GET /health, then "id":"other" from /v1/models)' in (replica.failure or "")


async def test_an_engine_that_answers_before_its_model_is_there_waits_for_it(machine: Machine) -> None:
    """Readiness is told by a path that answers at once here; the list of models answers after the load."""
    await machine.apply(wanted(spec("--load-s", "1.5", readiness_path="/version")))

    replica = await machine.until_phase(ReplicaPhase.READY)

    stage = replica.stages[-1]
    assert stage.ended_at is not None
    assert stage.ended_at - stage.started_at >= 1.5


async def test_an_agent_that_was_away_for_longer_than_a_start_may_take_warms_up_all_the_same(machine: Machine) -> None:
    await machine.apply(wanted(spec(warm_up=(completion(),))))
    await machine.until_phase(ReplicaPhase.READY)
    machine.kill()
    note = machine.folder / "replicas" / "chat-1.json"
    record = json.loads(note.read_bytes())
    for stage in record["stages"]:
        stage["started_at"] -= 1e6
        if stage["name"] == "warm_up":
            del stage["ended_at"]
    note.write_text(json.dumps(record))

    await machine.up()
    replica = await machine.until_phase(ReplicaPhase.READY)

    assert await answered(replica) == 2
    assert replica.stages[-1].ended_at is not None
