"""A policy over a load that is given: the brain's own answers, with what was there at the time."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fleet_world import a_service, scaled

from fleetctl.decide.lines import Line, Recollection, ServiceLine, Signals, answer
from fleetctl.errors import UsageError
from fleetctl.sim.steps import changes, over_load
from fleetctl.spec.knobs import with_preset
from fleetctl.spec.preset_files import preset_names
from fleetctl.spec.preset_values import DEFAULT, preset_values
from fleetctl.spec.presets import preset

SERVICE = scaled(a_service(), min=1, max=20)


def policy(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "fleetctl", "policy", *words], capture_output=True, text=True, check=False
    )


def test_what_is_ordered_is_ready_after_its_boot_and_is_not_ordered_twice() -> None:
    steps = over_load(SERVICE, [80.0], each_s=120.0, boot_s=30.0, period_s=2.0, begin=1)

    ordered = next(step for step in steps if step.desired > 1)
    ready = next(step for step in steps if step.ready > 1)
    assert ready.at - ordered.at == pytest.approx(32.0, abs=2.0)
    assert steps[-1].ready == steps[-1].desired == 8
    assert all(step.ready + step.starting <= 8 for step in steps)


def test_it_is_the_brain_of_decide() -> None:
    steps = over_load(SERVICE, [80.0], each_s=2.0, boot_s=30.0, period_s=2.0, begin=1)

    seen = ServiceLine(name=SERVICE.name, ready=1, signals=Signals(concurrency=80.0, queue=70.0))
    made, _ = answer(Line(t=0.0, services=(seen,)), [SERVICE], Recollection())

    assert [(step.desired, step.reason) for step in steps] == [(made.decisions[0].desired, made.decisions[0].reason)]


def test_what_falls_is_given_back_youngest_first_those_that_start_before_others() -> None:
    fast = with_preset(replace(SERVICE, scaling=replace(SERVICE.scaling, min=0)), "knative")

    steps = over_load(fast, [10.0, 100.0, 0.0], each_s=60.0, boot_s=300.0, period_s=2.0, begin=1)

    assert max(step.starting for step in steps) > 1
    assert steps[-1].starting == 0
    assert steps[-1].ready <= 1


def test_only_what_changes_is_shown() -> None:
    steps = over_load(SERVICE, [10.0, 10.0, 20.0], each_s=60.0, boot_s=0.0, period_s=2.0, begin=1)

    shown = changes(steps, of_load=True)

    assert len(steps) == 90
    assert 1 < len(shown) < 10
    assert shown[0] == steps[0]


def test_more_ticks_than_are_worth_it_are_refused() -> None:
    with pytest.raises(UsageError, match="are more than"):
        over_load(SERVICE, [1.0] * 1000, each_s=3600.0, boot_s=0.0, period_s=2.0, begin=1)


@pytest.mark.parametrize("name", preset_names())
def test_every_value_has_an_origin_and_a_meaning(name: str) -> None:
    found = preset(name)
    values = preset_values(found)

    lines = found.file.read_text().splitlines()
    assert values[0].field == "policy"
    assert all(value.meaning for value in values)
    for value in values:
        if value.origin != DEFAULT:
            file, _, line = value.origin.partition(":")
            assert file == f"{name}.yaml"
            assert value.field.rpartition(".")[2] in lines[int(line) - 1]


def test_what_a_preset_does_not_write_is_a_default() -> None:
    values = {value.field: value for value in preset_values(preset("hpa"))}

    assert (values["target"].value, values["target"].origin) == ("70%", "hpa.yaml:5")
    assert (values["panic_window"].value, values["panic_window"].origin) == ("6s", DEFAULT)
    assert values["behavior.up.policies"].value == [{"replicas": 4, "period": "15s"}, {"percent": 100, "period": "15s"}]
    assert "queued" not in values, "it means nothing under this rule"


def test_the_commands_list_show_and_try(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text("policy: queue_depth\nwhy: For batches.\nqueued: 50\n")

    assert policy("ls", "-o", "name").stdout.split()[: len(preset_names())] == [f"policy/{n}" for n in preset_names()]
    shown = policy("show", str(own)).stdout
    assert shown.startswith(f"# {own}: For batches.\npolicy: queue_depth ")
    assert "# mine.yaml:3: Requests that may wait for each replica" in shown
    tried = policy("test", "knative", "--load", "0,50", "--boot", "10s", "-o", "json")
    items = json.loads(tried.stdout)["items"]
    assert items[-1]["desired"] == 5
    assert all(item["reason"] for item in items)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("test", "auto"), 2, "give a load or a trace"),
        (("test", "auto", "--load", "1,x"), 2, "is no list of loads"),
        (("test", "auto", "--load", "1", "--set", "target"), 2, "is not KNOB=VALUE"),
        (("test", "auto", "--load", "1", "--period", "0s"), 2, "--period must be more than 0s"),
        (("test", "requests_per_second", "--load", "1"), 2, "requests_per_second is missing"),
        (("show", "knativ"), 4, "knative"),
        (("show", "./none.yaml"), 4, "there is no preset file"),
    ],
)
def test_what_is_wrong_is_said(words: tuple[str, ...], code: int, said: str) -> None:
    done = policy(*words)

    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "hint: " in done.stderr
