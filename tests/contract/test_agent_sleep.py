"""Sleep and wake by a real node agent over real HTTP: the right order, whatever fails in the middle of it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from agent_machines import BOUND_S, Machine, of, spec, wanted

from fleetctl.engines import engine
from fleetctl.model.nodes import ReplicaSpec, ReplicaStatus
from fleetctl.model.replicas import ReplicaPhase
from fleetctl.node.local import UnixNodeLink

SLEEPY = Path(__file__).with_name("sleepy_engine.py")
OVERHEAD_S = 0.3
"""Above the engine's own wake: what the issue promises."""
SLEEP = engine("vllm").sleep
assert SLEEP is not None


def sleepy(name: str = "chat-1", *levers: str, level: int = 1, **changes: object) -> ReplicaSpec:
    assert SLEEP is not None
    how = SLEEP.level(level)
    made = spec(name, sleep=how.enter, wake=how.wake, sleepable=True, **changes)
    return replace(made, command=("{python}", str(SLEEPY), "--port", "{port}", *levers))


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    folder = tmp_path / "i-1"
    folder.mkdir()
    link = UnixNodeLink()
    made = Machine(folder=folder, link=link)
    await made.up()
    yield made
    await link.close()
    await made.run("--halt")
    if made.agent is not None:
        await asyncio.to_thread(made.agent.wait, BOUND_S)


async def seen(replica: ReplicaStatus) -> Any:
    async with aiohttp.ClientSession() as http, http.get(f"http://{replica.address}/seen") as answer:
        return await answer.json(content_type=None)


async def pull(replica: ReplicaStatus, **lever: object) -> None:
    async with aiohttp.ClientSession() as http, http.post(f"http://{replica.address}/lever", json=lever) as answer:
        assert answer.status == 200


def order(level: int) -> list[str]:
    assert SLEEP is not None
    return [call.path for call in SLEEP.level(level).wake]


@pytest.mark.parametrize("level", [1, 2])
async def test_the_calls_of_a_level_come_in_their_order(machine: Machine, level: int) -> None:
    await machine.apply(wanted(sleepy(level=level, asleep=True)))
    asleep = await machine.until_phase(ReplicaPhase.ASLEEP)
    there = await seen(asleep)

    await machine.apply(wanted(sleepy(level=level)))
    awake = await machine.until_phase(ReplicaPhase.READY)
    after = await seen(awake)

    assert (there["off"], there["dropped"]) == (["kv_cache", "weights"], level == 2)
    assert after["calls"] == [f"/sleep?level={level}", "/is_sleeping", *order(level)]
    assert (after["off"], after["dropped"], after["wrong"]) == ([], False, [])
    assert asleep.pid == awake.pid


@pytest.mark.parametrize("how", ["refused", "broken", "lost"])
@pytest.mark.parametrize("level", [1, 2])
async def test_whichever_call_fails_the_engine_ends_up_awake_with_its_weights(
    machine: Machine, level: int, how: str
) -> None:
    calls = order(level)
    await machine.apply(wanted(sleepy(level=level, asleep=True)))
    for at in range(1, len(calls) + 1):
        asleep = await machine.until_phase(ReplicaPhase.ASLEEP)
        await pull(asleep, at=at, how=how)

        await machine.apply(wanted(sleepy(level=level)))
        awake = await machine.until_phase(ReplicaPhase.READY)
        after = await seen(awake)
        await machine.apply(wanted(sleepy(level=level, asleep=True)))

        # Of a question that got no answer the HTTP client asks again by itself.
        anew = calls if (how, at) != ("lost", len(calls)) else calls[-1:]
        assert after["calls"] == [*calls[:at], *anew], "begun anew from its first call"
        assert (after["off"], after["dropped"], after["wrong"]) == ([], False, [])


@pytest.mark.parametrize("how", ["refused", "broken", "lost"])
@pytest.mark.parametrize("at", [1, 2])
async def test_a_failed_way_to_sleep_is_gone_again(machine: Machine, at: int, how: str) -> None:
    await machine.apply(wanted(sleepy(level=2)))
    await pull(await machine.until_phase(ReplicaPhase.READY), at=at, how=how)

    await machine.apply(wanted(sleepy(level=2, asleep=True)))
    after = await seen(await machine.until_phase(ReplicaPhase.ASLEEP))

    assert after["off"] == ["kv_cache", "weights"]
    assert after["wrong"] == []


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("then_asleep", [False, True], ids=["then awake", "then asleep"])
async def test_an_agent_killed_between_two_calls_goes_the_way_anew(
    machine: Machine, at: int, then_asleep: bool
) -> None:
    await machine.apply(wanted(sleepy(level=2, asleep=True)))
    asleep = await machine.until_phase(ReplicaPhase.ASLEEP)
    await pull(asleep, at=at, how="hung")
    await machine.apply(wanted(sleepy(level=2)))
    await _until_called(asleep, at)
    machine.kill()

    machine.start()
    await machine.until(lambda _: True)
    await machine.apply(wanted(sleepy(level=2, asleep=then_asleep)))
    end = await machine.until_phase(ReplicaPhase.ASLEEP if then_asleep else ReplicaPhase.READY)
    after = await seen(end)

    assert end.pid == asleep.pid
    assert after["wrong"] == []
    assert after["off"] == (["kv_cache", "weights"] if then_asleep else [])
    assert after["dropped"] is then_asleep


async def _until_called(replica: ReplicaStatus, calls: int) -> None:
    for _ in range(round(BOUND_S / 0.02)):
        if len((await seen(replica))["calls"]) >= calls:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"never {calls} calls")


async def test_it_is_woken_by_the_way_it_was_put_to_sleep_whatever_its_spec_says_by_then(machine: Machine) -> None:
    await machine.apply(wanted(sleepy(level=2, asleep=True)))
    await machine.until_phase(ReplicaPhase.ASLEEP)
    await machine.apply(wanted(sleepy(level=1, asleep=True)))

    await machine.apply(wanted(sleepy(level=1)))
    after = await seen(await machine.until_phase(ReplicaPhase.READY))

    assert after["calls"][2:] == order(2)
    assert (after["off"], after["dropped"], after["wrong"]) == ([], False, [])


async def test_an_engine_that_never_wakes_is_ended_and_told(machine: Machine) -> None:
    right = sleepy(level=2)
    never = replace(right, wake=(*right.wake[:-1], replace(right.wake[-1], expect='"is_sleeping":"never"')))
    await machine.apply(wanted(replace(never, asleep=True)))
    await machine.until_phase(ReplicaPhase.ASLEEP)

    await machine.apply(wanted(never))
    failed = await _ended(machine)

    assert "to GET /is_sleeping instead of" in (failed.failure or "")


async def _ended(machine: Machine) -> ReplicaStatus:
    """The Replica once it has failed and its engine has ended."""
    return of(await machine.until(lambda now: bool(now.replicas) and of(now).failure is not None and not of(now).pid))


@pytest.mark.parametrize("level", [1, 2])
async def test_waking_takes_little_longer_than_the_engine_itself(machine: Machine, level: int) -> None:
    await machine.apply(wanted(sleepy("chat-1", "--wake-s", "0.2", level=level, asleep=True)))
    over = []
    for _ in range(5):
        await machine.until_phase(ReplicaPhase.ASLEEP)
        await machine.apply(wanted(sleepy("chat-1", "--wake-s", "0.2", level=level)))
        awake = await machine.until_phase(ReplicaPhase.READY)
        wake = next(stage for stage in awake.stages if stage.name == "wake")
        assert wake.ended_at is not None
        over.append(wake.ended_at - wake.started_at - (await seen(awake))["took_s"])
        await machine.apply(wanted(sleepy("chat-1", "--wake-s", "0.2", level=level, asleep=True)))

    assert -0.01 <= min(over) <= OVERHEAD_S, over  # the least: other tests share the machine's cores


async def test_an_engine_that_can_sleep_and_is_open_to_others_is_ended(machine: Machine) -> None:
    await machine.apply(wanted(sleepy("chat-1", "--host", "0.0.0.0")))  # what is to be refused
    failed = await _ended(machine)

    assert failed.phase is ReplicaPhase.FAILED
    assert "listens on 0.0.0.0:" in (failed.failure or "")
    assert "--host" in (failed.failure or "")


async def test_an_engine_that_cannot_sleep_may_be_open_to_others(machine: Machine) -> None:
    await machine.apply(wanted(replace(sleepy("chat-1", "--host", "0.0.0.0"), sleepable=False)))

    assert (await machine.until_phase(ReplicaPhase.READY)).failure is None


async def test_engines_of_one_gpu_load_and_wake_one_after_another(machine: Machine) -> None:
    first = sleepy("chat-1", "--wake-s", "0.2", level=2, asleep=True)
    second = sleepy("chat-2", "--wake-s", "0.2", level=2, asleep=True)
    await machine.apply(wanted(first, second))
    phases: list[tuple[ReplicaPhase, ...]] = []
    await machine.until(lambda status: _noted(phases, status.replicas, {ReplicaPhase.ASLEEP}))
    await machine.apply(wanted(replace(first, asleep=False), second))
    await machine.until_phase(ReplicaPhase.READY)
    await machine.apply(wanted(first, replace(second, asleep=False)))  # the one goes, the other comes
    status = await machine.until(lambda status: of(status, "chat-2").phase is ReplicaPhase.READY)

    assert of(status, "chat-1").phase is ReplicaPhase.ASLEEP
    assert (await seen(of(status, "chat-1")))["off"] == ["kv_cache", "weights"]
    loading = {ReplicaPhase.LOADING, ReplicaPhase.READY}
    assert not any(set(pair) <= loading for pair in phases if len(pair) == 2), phases


def _noted(
    phases: list[tuple[ReplicaPhase, ...]], replicas: tuple[ReplicaStatus, ...], until: set[ReplicaPhase]
) -> bool:
    phases.append(tuple(one.phase for one in replicas))
    return len(replicas) == 2 and set(phases[-1]) == until
