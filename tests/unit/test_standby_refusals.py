"""Standby that cannot be is refused before anything is rented, with the reason and what to write instead."""

from pathlib import Path

import pytest

from fleetctl.engines import engine, engine_names
from fleetctl.spec.fleet import Fleet
from fleetctl.spec.load import load
from fleetctl.spec.problems import FilesError
from fleetctl.wiring import abilities_of

FLEET = """
kind: fleet
providers:
  aws: {{regions: [us-east-1]}}
  azure: {{subscription: 00000000-0000-0000-0000-000000000000, regions: [eastus]}}
  gcp: {{project: p, regions: [us-central1]}}
  sky: {sky}
  ssh: {{inventory: [{{name: rack1, host: 192.0.2.7, gpu: "H100:8"}}]}}
---
"""


def loaded(folder: Path, text: str, *, sky: str = "{clouds: [nebius]}") -> Fleet:
    file = folder / "fleet.yaml"
    file.write_text(FLEET.format(sky=sky) + text)
    return load([file], abilities=abilities_of, warnings=True)


def refused(folder: Path, text: str, **more: str) -> list[tuple[str, str, str]]:
    with pytest.raises(FilesError) as caught:
        loaded(folder, text, **more)
    return [(problem.path, problem.message, problem.fix) for problem in caught.value.problems]


def a_service(rest: str, *, kind: str = "vllm") -> str:
    return f"kind: service\nname: chat\nengine: {kind}\nmodel: hf://org/model-8B\ngpu: H100:1\n{rest}\n"


def placed(provider: str, market: str = "") -> str:
    return f"placement: {{providers: [{provider}]{market}}}\nstandby: {{tier: stopped}}"


SPOT = ", market: {spot: 100%}"
MIX = ", market: {spot: 50%}"
STOPPED = [
    pytest.param("aws", "", "", id="aws on demand"),
    pytest.param("aws", ", market: reserved", "", id="aws reserved"),
    pytest.param("aws", SPOT, "EC2 stops none of those", id="aws spot: one-time requests"),
    pytest.param("aws", MIX, "EC2 stops none of those", id="aws mix: any of them may be spot"),
    pytest.param("gcp", "", "", id="gcp"),
    pytest.param("gcp", SPOT, "", id="gcp spot"),
    pytest.param("azure", "", "", id="azure"),
    pytest.param("azure", SPOT, "", id="azure spot"),
    pytest.param("local", "", "", id="this machine"),
    pytest.param("ssh", "", "machines of one's own are not switched off", id="one's own"),
    pytest.param("sky", "", "", id="sky, a cloud that stops"),
    pytest.param("sky", SPOT, "SkyPilot stops no spot machine", id="sky spot"),
]


@pytest.mark.parametrize(("provider", "market", "why"), STOPPED)
def test_machines_stand_by_stopped_only_where_they_can_be_stopped(
    tmp_path: Path, provider: str, market: str, why: str
) -> None:
    text = a_service(placed(provider, market))

    if not why:
        assert loaded(tmp_path, text).services[0].name == "chat"
        return
    [(path, message, fix)] = refused(tmp_path, text)
    assert path == "standby.tier"
    assert message.startswith(f"{provider} cannot keep machines stopped: ")
    assert why in message
    assert fix == "write tier: warm"


@pytest.mark.parametrize(
    "cloud",
    [
        *("cudo", "fluidstack", "hyperbolic", "kubernetes", "lambda", "primeintellect"),
        *("runpod", "shadeform", "slurm", "verda", "yotta"),
    ],
)
def test_skypilot_clouds_that_stop_nothing_are_known(tmp_path: Path, cloud: str) -> None:
    [(_, message, _)] = refused(tmp_path, a_service(placed("sky")), sky=f"{{clouds: [nebius, {cloud}]}}")

    assert message == f"sky cannot keep machines stopped: SkyPilot stops no machine of {cloud}"


def test_without_named_providers_every_one_that_may_be_taken_counts(tmp_path: Path) -> None:
    [(_, message, fix)] = refused(tmp_path, a_service("standby: {tier: stopped}"))

    assert message.startswith("ssh cannot")
    assert fix == "write placement: {providers: [local, aws, azure, gcp, sky]}, or tier: warm"


def test_a_pools_standby_is_looked_at_too(tmp_path: Path) -> None:
    pool = "kind: pool\nname: gpus\ngpu: H100:1\nprovider: ssh\nstandby: {tier: stopped}\n"

    [(path, message, _)] = refused(tmp_path, pool)

    assert path == "standby.tier"
    assert message.startswith("ssh cannot")


@pytest.mark.parametrize("kind", [name for name in engine_names() if name != "generic"])
def test_engines_sleep_only_where_they_can(tmp_path: Path, kind: str) -> None:
    model = "file:///model.gguf" if kind == "llama.cpp" else "hf://org/model-8B"
    text = a_service("standby: {tier: asleep}\ncommand: [serve]\nimage: x/y:1", kind=kind)
    text = text.replace("hf://org/model-8B", model)
    sleep = engine(kind).sleep

    if sleep is not None and not sleep.start_args:
        assert loaded(tmp_path, text).services[0].engine == kind
        return
    [(path, message, fix)] = refused(tmp_path, text)
    assert path == "standby.tier"
    assert message.startswith("it cannot be asleep: ")
    assert ("no way to leave the GPU" in message) is (sleep is None)
    assert fix == "write standby: {tier: hot}, or tier: warm"


def test_exactly_these_engines_sleep() -> None:
    able = {name for name in engine_names() if engine(name).sleep is not None}

    assert able == {"rehearsal", "sglang", "vllm"}


@pytest.mark.parametrize(
    ("rest", "path", "message"),
    [
        pytest.param(
            "standby: {tier: asleep, sleep_level: 2}",
            "standby.sleep_level",
            "sglang has no sleep level 2",
            id="level 2 of an engine that would not get its weights again",
        ),
        pytest.param(
            "standby: {tier: warm, sleep_level: 1}",
            "standby.sleep_level",
            "a standby that is warm does not sleep",
            id="a level without sleep",
        ),
        pytest.param(
            "standby: {tier: asleep, share: true}",
            "standby.share",
            "engines of several services share GPUs: this is for one",
            id="sharing with nobody",
        ),
        pytest.param(
            "standby: {tier: asleep}\nargs: [--host, 0.0.0.0]",
            "args",
            "listening at 0.0.0.0 lets other machines put the engine to sleep and steer it",
            id="open to others by args",
        ),
        pytest.param(
            "standby: {tier: asleep}\n"
            "command: [serve, --host=0.0.0.0, --enable-memory-saver, --enable-weights-cpu-backup]",
            "command",
            "listening at 0.0.0.0 lets other machines put the engine to sleep and steer it",
            id="open to others by command",
        ),
        pytest.param(
            "standby: {tier: asleep}\ncommand: [serve, --enable-memory-saver]",
            "standby.tier",
            "it cannot be asleep: its command does not hold --enable-weights-cpu-backup, without which sglang does not "
            "sleep",
            id="a command without what sleep needs",
        ),
    ],
)
def test_what_cannot_be_of_one_service_is_told(tmp_path: Path, rest: str, path: str, message: str) -> None:
    [(where, said, _)] = refused(tmp_path, a_service(rest, kind="sglang"))

    assert (where, said) == (path, message)


def test_a_variable_that_takes_sleep_away_is_told(tmp_path: Path) -> None:
    text = a_service('standby: {tier: asleep}\nenv: {VLLM_SERVER_DEV_MODE: "0"}')

    [(_, message, _)] = refused(tmp_path, text)

    assert "VLLM_SERVER_DEV_MODE is 0 in env" in message


@pytest.mark.parametrize(
    "rest",
    [
        "standby: {tier: asleep}\nargs: [--host, 127.0.0.1]",
        "standby: {tier: asleep}\nimage: vllm/vllm-openai:v0.11.0\nargs: [--host, 0.0.0.0]",
        "standby: {tier: hot}\nargs: [--host, 0.0.0.0]",
        "standby: {tier: asleep, sleep_level: 2}",
    ],
    ids=["on loopback", "in a container, published on loopback", "not steered", "level 2"],
)
def test_what_can_be_is_not_refused(tmp_path: Path, rest: str) -> None:
    assert loaded(tmp_path, a_service(rest)).services[0].name == "chat"


def test_a_service_whose_pool_sleeps_needs_an_engine_that_does(tmp_path: Path) -> None:
    pool = "kind: pool\nname: gpus\ngpu: H100:1\nprovider: aws\nstandby: {tier: asleep, share: true}\n---\n"

    [(path, message, _)] = refused(tmp_path, pool + a_service("pool: gpus", kind="tgi"))

    assert path == "engine"
    assert message == (
        "it cannot be asleep as the standby of pool/gpus is: tgi has no way to leave the GPU while it runs"
    )


@pytest.mark.parametrize("word", ["hibernate", "hibernated", "Suspended", "paused"])
def test_hibernation_is_no_tier(tmp_path: Path, word: str) -> None:
    [(path, message, fix)] = refused(tmp_path, a_service(f"standby: {{tier: {word}}}"))

    assert path == "standby.tier"
    assert message.startswith(f"there is no tier {word}: no cloud keeps a GPU's memory through it")
    assert "tier: asleep" in fix


def warned(fleet: Fleet) -> list[str]:
    return [warning.message for warning in fleet.warnings if warning.path == "standby.tier"]


@pytest.mark.parametrize("provider", ["aws", "gcp", "azure"])
def test_a_stopped_machine_is_said_to_hold_no_capacity(tmp_path: Path, provider: str) -> None:
    messages = warned(loaded(tmp_path, a_service(placed(provider)).replace("H100:1", "L4:1")))

    assert any("may not start when it is wanted" in message for message in messages)


def test_local_disks_that_a_stop_empties_are_told(tmp_path: Path) -> None:
    with_disks = a_service(placed("aws")).replace("H100:1", "H100:8")
    without = a_service(placed("gcp")).replace("H100:1", "T4:1")

    assert any("empties a machine's local disks" in message for message in warned(loaded(tmp_path, with_disks)))
    assert not any("local disks" in message for message in warned(loaded(tmp_path, without)))


def test_nothing_is_warned_of_for_this_machine(tmp_path: Path) -> None:
    assert warned(loaded(tmp_path, a_service(placed("local")))) == []


def test_a_generic_engine_cannot_sleep(tmp_path: Path) -> None:
    generic = a_service(
        "standby: {tier: asleep}\ncommand: [serve]\nmetrics: {running: r}\nconcurrency: 4", kind="generic"
    )

    [(path, message, _)] = refused(tmp_path, generic)

    assert path == "standby.tier"
    assert "generic has no way to leave the GPU" in message
