"""Presets: those that come with fleetctl, and the user's own."""

import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from fleetctl.errors import NotFound
from fleetctl.model.services import REACTIVE, Behavior, RatePolicy, Scaling
from fleetctl.spec.load import load
from fleetctl.spec.preset_files import preset_names
from fleetctl.spec.presets import preset, presets
from fleetctl.spec.problems import FilesError

ROOT = Path(__file__).parent.parent.parent


def service(folder: Path, scaling: str) -> Scaling:
    (folder / "a.yaml").write_text(
        f"kind: service\nname: a\nengine: rehearsal\nmodel: m\ngpu: any:1\nscaling: {scaling}\n"
    )
    return load([folder / "a.yaml"]).services[0].scaling


def test_all_that_come_with_fleetctl_are_right_and_say_why() -> None:
    found = presets()

    assert [one.name for one in found] == [
        "auto",
        "conservative",
        "fixed",
        "gpu_utilization",
        "hpa",
        "knative",
        "latency_slo",
        "queue_depth",
        "requests_per_second",
        "schedule",
        "target_concurrency",
        "tokens_per_second",
    ]
    assert all(one.why and "\n" not in one.why for one in found)
    assert all(one.scaling.preset == one.name for one in found)


@pytest.mark.parametrize("scaling", [Scaling(), REACTIVE], ids=lambda scaling: scaling.preset)
def test_the_default_presets_say_what_the_models_defaults_are(scaling: Scaling) -> None:
    assert preset(scaling.preset).scaling == scaling


def test_knative_is_knatives() -> None:
    assert preset("knative").scaling == replace(
        REACTIVE,
        preset="knative",
        target=0.7,
        window_s=60,
        panic_window_s=6,
        panic_threshold=2,
        tolerance=0,
        scale_down_delay_s=0,
        idle_s=30,
        down=Behavior(policies=(RatePolicy(kind="percent", value=50, period_s=2),)),
    )


def test_hpa_is_the_hpas() -> None:
    assert preset("hpa").scaling == replace(
        REACTIVE,
        preset="hpa",
        window_s=15,
        panic_threshold=1000,
        tolerance=0.1,
        scale_down_delay_s=300,
        up=Behavior(
            policies=(
                RatePolicy(kind="replicas", value=4, period_s=15),
                RatePolicy(kind="percent", value=100, period_s=15),
            )
        ),
        down=Behavior(policies=(RatePolicy(kind="percent", value=100, period_s=15),)),
    )


def test_a_services_own_values_stand_over_the_presets(tmp_path: Path) -> None:
    scaling = service(
        tmp_path, "{policy: hpa, min: 1, max: 9, tolerance: 0.2, behavior: {up: {select: min}, down: {policies: []}}}"
    )

    hpa = preset("hpa").scaling
    assert (scaling.preset, scaling.min, scaling.max) == ("hpa", 1, 9)
    assert scaling.tolerance == 0.2
    assert scaling.scale_down_delay_s == hpa.scale_down_delay_s, "not written, so the preset's"
    assert scaling.up == Behavior(policies=hpa.up.policies, select="min"), "field by field"
    assert scaling.down == Behavior(), "an empty list removes the limits"


def test_a_file_of_the_users_own_is_found_beside_the_service(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "night.yaml").write_text("policy: target_concurrency\nwhy: for the night\nwindow: 5m\n")

    scaling = service(tmp_path, "{policy: mine/night.yaml}")

    assert scaling == replace(REACTIVE, preset="mine/night.yaml", window_s=300), "calm, where it says nothing"


def test_a_learning_preset_starts_from_what_lets_it_learn(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("policy: auto\nwhy: mine\nidle: 2m\n")

    assert service(tmp_path, "{policy: mine.yaml}") == Scaling(preset="mine.yaml", idle_s=120)


@pytest.mark.parametrize(
    ("text", "line", "path", "message", "why"),
    [
        ("policy: target_concurrency\n", 1, "why", "is missing", "a preset says why"),
        ("why: x\npolicy: target\n", 2, "policy", "there is no policy 'target'", "a rule that is not there"),
        ("policy: fixed\nwhy: x\nmax: 3\n", 3, "max", "unknown field", "max belongs to the service"),
        ("policy: fixed\nwhy: x\nwindow: 1s\n", 1, "panic_window", "6s is not shorter than window 1s", "impossible"),
        (
            "policy: target_concurrency\nwhy: x\nreplicas: 3\n",
            3,
            "replicas",
            "only the policy fixed takes a count, and this one is target_concurrency",
            "",
        ),
        ("policy: fixed\nwhy: x\n---\npolicy: fixed\nwhy: y\n", 4, "", "a second document", "one a file"),
    ],
)
def test_a_wrong_preset_is_said_at_its_own_line_and_once(
    tmp_path: Path, text: str, line: int, path: str, message: str, why: str
) -> None:
    (tmp_path / "p.yml").write_text(text)
    one = "kind: service\nname: {}\nengine: rehearsal\nmodel: m\ngpu: any:1\nscaling: {{policy: p.yml}}\n"
    (tmp_path / "a.yaml").write_text(f"{one.format('a')}---\n{one.format('b')}")

    with pytest.raises(FilesError) as caught:
        load([tmp_path / "a.yaml"])

    (problem,) = caught.value.problems
    assert (Path(problem.file).name, problem.line, problem.path) == ("p.yml", line, path), why
    assert problem.message.startswith(message)
    assert problem.subject == "preset/p"


def test_an_unknown_preset_has_a_nearest_one() -> None:
    with pytest.raises(NotFound, match="did you mean 'knative'") as caught:
        preset("knativ")

    assert caught.value.hint == "write knative"


def test_an_installed_wheel_finds_its_presets(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    made = next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"]))
    with zipfile.ZipFile(made) as wheel:
        wheel.extractall(tmp_path / "site")
    code = (
        "from fleetctl.spec.presets import presets; from fleetctl.spec.example import example_files;"
        "print(*(str(one.file) for one in presets())); assert example_files()[0][1]"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        str(tmp_path / "site" / "fleetctl" / "policies" / f"{name}.yaml") for name in preset_names()
    ]
