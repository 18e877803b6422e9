"""The bridge as a process: what happens when it dies, hangs, or speaks otherwise, and when two ask for one machine.

Judge: the stand-in of ours, whose memory says what was asked of SkyPilot and what is there.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from cloud_contract import FLEET, ONE, TWO, Fault, Kind, Operation, Truth, give_back, launch_spec, listed, sighted
from sky_world import LIMITS, World

from fleetctl.errors import Gone, InvalidRequest, MissingDependency, OutcomeUnknown, ProviderError, Throttled
from fleetctl.model.instances import Sighting
from fleetctl.ports import Provider
from fleetctl.providers.sky.clusters import Cluster
from fleetctl.providers.sky.process import Bridge, Limits

BOUND_S = 15.0
SLOW = Limits(start_s=30.0, read_s=20.0, change_s=20.0)
"""For launches that the test itself holds back."""


async def until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BOUND_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {BOUND_S} s: {what}"
        await asyncio.sleep(0.02)


def bridges() -> list[psutil.Process]:
    """The bridge processes of this test."""
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and any(word.endswith("bridge.py") for word in child.cmdline())
    ]


async def test_nothing_is_started_before_it_is_needed_and_nothing_is_left_after(sky: World) -> None:
    provider = sky.make(FLEET)

    before = bridges()
    await provider.list(FLEET)
    during = bridges()
    await provider.close()

    assert (len(before), len(during), len(bridges())) == (0, 1, 0)


async def test_second_launch_joins_the_one_under_way(sky: World) -> None:
    first, second = sky.make(FLEET, limits=SLOW), sky.make(FLEET, limits=SLOW)
    sky.hold("running")

    begun = asyncio.create_task(first.launch(launch_spec(sky.under_test())))
    await until("asked for", lambda: "launch" in sky.calls())
    joined = asyncio.create_task(second.launch(launch_spec(sky.under_test())))
    await asyncio.sleep(0.5)
    waiting = not joined.done()
    sky.hold("")
    await asyncio.gather(begun, joined)

    assert waiting
    assert sky.calls() == ["launch"], "asked for once"
    assert sky.truth(FLEET).machines == (ONE,)


@pytest.mark.parametrize("where", ["pending", "running"])
async def test_launch_goes_on_without_us_and_is_listed_all_the_while(sky: World, where: str) -> None:
    sky.hold(where)
    gone = sky.make(FLEET, limits=SLOW)
    launching = asyncio.create_task(gone.launch(launch_spec(sky.under_test())))
    await until("asked for", lambda: "launch" in sky.calls())
    await gone.close()
    with pytest.raises(OutcomeUnknown):
        await launching

    after = sky.make(FLEET)
    meanwhile = (await after.list(FLEET)).instances
    sky.hold("")
    running = await sighted(after, Sighting.RUNNING)

    assert [(line.id, line.state) for line in meanwhile] == [(ONE, Sighting.BOOTING)]
    assert meanwhile[0].offer == running.offer == sky.under_test().offers[0]
    assert meanwhile[0].created_at == running.created_at
    assert running.address == "ssh://ubuntu@127.0.0.9:2222"


@pytest.mark.parametrize("where", ["pending", "running"])
async def test_terminate_fences_a_launch_under_way(sky: World, where: str) -> None:
    sky.hold(where)
    mine, other = sky.make(FLEET, limits=SLOW), sky.make(FLEET)
    launching = asyncio.create_task(mine.launch(launch_spec(sky.under_test())))
    await until("asked for", lambda: "launch" in sky.calls())

    await other.terminate(ONE)
    with pytest.raises(ProviderError):
        await launching
    sky.hold("")

    assert sky.truth(FLEET) == Truth(machines=(), others=())
    assert await listed(mine) == {}


async def test_terminate_fences_a_launch_of_this_process_that_has_not_asked_yet(sky: World) -> None:
    provider = sky.make(FLEET, limits=SLOW)
    sky.inject(Fault(operation=Operation.LIST, kind=Kind.SLOW))

    launching = asyncio.create_task(provider.launch(launch_spec(sky.under_test())))
    await until("it looks, which takes its time", lambda: not sky.faults())
    await provider.terminate(ONE)
    with pytest.raises(Gone):
        await launching

    assert "launch" not in sky.calls()
    assert sky.truth(FLEET) == Truth(machines=(), others=())


async def test_bridge_killed_while_it_waits_leaves_the_outcome_unknown_and_is_started_again(sky: World) -> None:
    sky.hold("running")
    provider = sky.make(FLEET, limits=SLOW)
    launching = asyncio.create_task(provider.launch(launch_spec(sky.under_test())))
    await until("asked for", lambda: "launch" in sky.calls())
    (bridge,) = bridges()

    begun = time.monotonic()
    bridge.kill()
    with pytest.raises(OutcomeUnknown, match="the bridge died"):
        await launching
    took_s = time.monotonic() - begun
    there = await listed(provider)
    sky.hold("")
    await provider.launch(launch_spec(sky.under_test()))

    assert took_s < SLOW.change_s / 2, "a death is told at once"
    assert there == {ONE: Sighting.BOOTING}
    assert sky.truth(FLEET).machines == (ONE,)
    (again,) = bridges()
    assert again.pid != bridge.pid


async def test_bridge_killed_before_every_call_of_a_life(sky: World) -> None:
    """Each call of the bridge in turn finds it dead; what failed is repeated, as the controller does."""

    async def life(provider: Provider) -> int:
        turns = 0
        for call in (
            lambda: provider.launch(launch_spec(sky.under_test())),
            lambda: provider.stop(ONE),
            lambda: provider.start(ONE),
            lambda: provider.terminate(ONE),
        ):
            for _ in range(3):
                turns += 1
                try:
                    await call()
                    break
                except ProviderError:
                    continue
            assert len(sky.truth(FLEET).machines) <= 1
        return turns

    crossed: list[str] = []
    await life(sky.make(FLEET, crossed.append))
    undisturbed = len(crossed)
    repeated = 0
    for place in range(undisturbed):
        left = place

        def kills(_: str) -> None:
            nonlocal left
            left -= 1
            if left == -1:
                for one in bridges():
                    one.kill()
                    one.wait(BOUND_S)

        provider = sky.make(FLEET, kills)
        repeated += await life(provider) - 4
        assert sky.truth(FLEET) == Truth(machines=(), others=()), f"killed before {crossed[place]}"
        await provider.close()

    assert undisturbed >= 10
    assert repeated > 0, "the deaths were felt"


async def test_hung_listing_holds_up_no_launch(sky: World) -> None:
    provider = sky.make(FLEET)
    await provider.launch(launch_spec(sky.under_test(), TWO))
    sky.inject(Fault(operation=Operation.LIST, kind=Kind.SLOW))

    hung = asyncio.create_task(provider.list(FLEET))
    await asyncio.sleep(0.3)
    begun = time.monotonic()
    await provider.launch(launch_spec(sky.under_test()))
    took_s = time.monotonic() - begun
    still = not hung.done()
    with pytest.raises(ProviderError) as refused:
        await hung

    assert still
    assert took_s < LIMITS.read_s
    assert type(refused.value) is ProviderError, "a listing changes nothing, so nothing about it is unknown"


async def test_calls_at_once_are_bounded(sky: World, tmp_path: Path) -> None:
    bridge = Bridge(sky.python, log=tmp_path / "log", environment={}, limits=SLOW)
    sky.inject(Fault(operation=Operation.LIST, kind=Kind.SLOW, times=1000))

    ends = await asyncio.gather(
        *(bridge.read("status", list[Cluster], "look", clusters=None, fresh=False) for _ in range(40)),
        return_exceptions=True,
    )

    await bridge.close()
    assert [type(end) for end in ends].count(Throttled) == 8, "32 reads at once, and no more"


async def test_half_made_machine_of_a_refused_launch_is_ended(sky: World) -> None:
    provider = sky.make(FLEET)

    for turn in range(4):
        sky.inject(Fault(operation=Operation.LAUNCH, kind=Kind.CAPACITY))
        with pytest.raises(ProviderError) as refused:
            await provider.launch(launch_spec(sky.under_test()))
        assert refused.value.code == "capacity"
        assert sky.truth(FLEET) == Truth(machines=(), others=()), f"turn {turn}"

    assert "down" in sky.calls(), "SkyPilot left something in some of the turns"


async def test_start_of_what_is_gone_from_the_cloud_makes_no_second_one(sky: World) -> None:
    """SkyPilot itself would make one: it learns only when it compares its memory with the cloud."""
    provider = sky.make(FLEET)
    await provider.launch(launch_spec(sky.under_test()))
    await provider.stop(ONE)
    with sky.memory.held() as now:
        now["machines"] = []

    with pytest.raises(Gone):
        await provider.start(ONE)

    assert sky.truth(FLEET) == Truth(machines=(), others=())


async def test_what_skypilot_prints_is_kept_out_of_the_answers(sky: World) -> None:
    provider = sky.make(FLEET)
    await provider.launch(launch_spec(sky.under_test()))

    written = await provider.console(ONE)

    assert written.startswith("Provisioning gpu-e1-1-"), "without its colours"
    assert "Running on cluster" in (sky.folder / "logs" / "sky.log").read_text()
    await give_back(provider)
    with pytest.raises(Gone):
        await provider.console(ONE)


async def test_setup_carries_the_key_and_the_offer_is_asked_for_exactly(sky: World) -> None:
    provider = sky.make(FLEET, disk_gb=300)
    spec = launch_spec(sky.under_test())

    await provider.launch(replace(spec, image="docker:nvcr.io/x"))

    with sky.memory.held() as now:
        (asked,) = (request["body"] for request in now["requests"].values())
    assert spec.ssh_key in asked["setup"]
    assert {key: asked[key] for key in ("infra", "instance_type", "use_spot", "image_id", "disk_size", "run")} == {
        "infra": "lambda/us-east-1",
        "instance_type": "gpu_1x_h100",
        "use_spot": False,
        "image_id": "docker:nvcr.io/x",
        "disk_size": 300,
        "run": None,
    }


async def test_foreign_cluster_under_our_name_is_left_alone(sky: World) -> None:
    provider = sky.make(FLEET)
    await provider.launch(launch_spec(sky.under_test()))
    with sky.memory.held() as now:
        (cluster,) = now["clusters"].values()
        cluster["labels"] = {"team": "web"}

    for call in (provider.terminate, provider.stop, provider.start):
        with pytest.raises(InvalidRequest):
            await call(ONE)

    assert sky.calls() == ["launch"]


@pytest.mark.parametrize(
    ("said", "wanted", "words"),
    [
        pytest.param('{"hello": {"protocol": 99}}', ProviderError, "protocol 99", id="another protocol"),
        pytest.param(
            '{"hello": {"protocol": 1, "error": "ModuleNotFoundError: sky"}}',
            MissingDependency,
            "ModuleNotFound",
            id="no SkyPilot in it",
        ),
        pytest.param("Welcome!", ProviderError, "did not start", id="not our words"),
        pytest.param("", ProviderError, "did not start", id="not a word"),
    ],
)
async def test_bridge_that_speaks_otherwise(sky: World, said: str, wanted: type[Exception], words: str) -> None:
    sky.python.write_text(sky.script(f"echo '{said}'"))
    provider = sky.make(FLEET)

    with pytest.raises(wanted, match=words):
        await provider.list(FLEET)
    sky.python.write_text(sky.script(f'exec {sys.executable} "$@"'))

    assert await listed(provider) == {}, "mended, it works at the next call"


async def test_no_environment_says_how_to_make_it(sky: World) -> None:
    provider = sky.make(FLEET, python="")

    with pytest.raises(MissingDependency) as missing:
        await provider.list(FLEET)
    (check,) = await provider.checks(())

    assert missing.value.hint == check.fix == "fleetctl provider setup sky"


async def test_our_own_python_settings_do_not_reach_skypilot(sky: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    sky.python.write_text(
        sky.script('env > "$STAND_IN_SKY/env"', f'exec {sys.executable} "$@"').replace("PYTHONPATH", "P")
    )
    provider = sky.make(FLEET, server="http://127.0.0.1:1234")

    with pytest.raises(MissingDependency):  # without its path the stand-in is not found: real SkyPilot is not here
        await provider.list(FLEET)
    given = (sky.sky / "env").read_text().splitlines()

    assert not [line for line in given if line.startswith("PYTHONPATH=")]
    assert "SKYPILOT_API_SERVER_ENDPOINT=http://127.0.0.1:1234" in given
    assert "SKYPILOT_DISABLE_USAGE_COLLECTION=1" in given
