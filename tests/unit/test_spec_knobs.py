"""Values written anew over a file's, for sweeps; a wrong one is said as the file's would be."""

from pathlib import Path

import pytest

from fleetctl.errors import FleetError, SpecError, UsageError
from fleetctl.model.services import Service, Tier
from fleetctl.spec.knobs import with_knobs, with_preset
from fleetctl.spec.load import load

SPEC = """\
kind: service
name: chat
engine: rehearsal
model: m
gpu: L40S:2
concurrency: 16
scaling: {min: 1, max: 12, policy: target_concurrency, window: 40s}
"""


@pytest.fixture
def service(tmp_path: Path) -> Service:
    file = tmp_path / "chat.yaml"
    file.write_text(SPEC)
    return load([file]).services[0]


def test_knobs_stand_over_the_file_and_leave_the_rest(service: Service) -> None:
    made = with_knobs(
        service,
        {
            "scaling.target": "60%",
            "scaling.scale_down_delay": "2m",
            "scaling.behavior.up.stabilization": "30s",
            "scaling.max": "20",
            "standby.slots": "3",
            "standby.tier": "hot",
        },
    )

    assert made.scaling.target == 0.6
    assert made.scaling.scale_down_delay_s == 120.0
    assert made.scaling.up.stabilization_s == 30.0
    assert (made.scaling.min, made.scaling.max, made.scaling.window_s) == (1, 20, 40.0)
    assert made.standby is not None
    assert (made.standby.slots, made.standby.tier) == (3, Tier.HOT)
    assert service.scaling.max == 12


def test_no_knobs_change_nothing(service: Service) -> None:
    assert with_knobs(service, {}) == service


def test_a_preset_as_a_knob_comes_first_and_keeps_the_limits(service: Service) -> None:
    made = with_knobs(service, {"scaling.target": "0.4", "scaling.policy": "hpa"})

    assert made.scaling.preset == "hpa"
    assert made.scaling.target == 0.4
    assert (made.scaling.min, made.scaling.max) == (1, 12)
    assert made.scaling.window_s == with_preset(service, "hpa").scaling.window_s != 40.0


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"scaling.target": "7"}, "scaling.target"),
        ({"scaling.targt": "0.7"}, "did you mean 'target'"),
        ({"scaling.window": "long"}, "is no duration"),
        ({"scaling": "3"}, "must be a mapping"),
        ({"gpu": "L40S:4"}, "unknown field"),
        ({"scaling.window": "{}"}, "is not one value"),
        ({"scaling.window": "["}, "not YAML"),
        ({"scaling.window": ""}, "is not one value"),
        ({"scaling.window": "5s"}, "panic_window"),
        ({"scaling.min": "13"}, "min is 13"),
        ({"scaling.policy": "hpaa"}, "hpaa"),
    ],
)
def test_a_wrong_knob_is_said_with_its_value(service: Service, knobs: dict[str, str], said: str) -> None:
    with pytest.raises(FleetError) as caught:
        with_knobs(service, knobs)

    assert said in caught.value.message
    assert caught.value.hint


def test_a_preset_file_is_taken_and_its_mistakes_are_said_at_their_lines(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "night.yaml"
    file.write_text("policy: target_concurrency\nwhy: for nights\ntarget: 40%\n")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("policy: target_concurrency\nwhy: for nights\nwindow: 40s\ntarget: 400%\n")

    assert with_preset(service, str(file)).scaling.target == 0.4
    with pytest.raises(SpecError) as caught:
        with_preset(service, str(wrong))

    assert caught.value.message.startswith(f"{wrong}:4: ")
    assert isinstance(caught.value, UsageError)
