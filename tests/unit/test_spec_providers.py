"""`providers` of kind: fleet: what may be written, who is named, and what becomes of it."""

import os
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
from fleet_world import World, a_service, an_offer, scaled

from fleetctl import wiring
from fleetctl.errors import SpecError, UsageError
from fleetctl.paths import Home
from fleetctl.spec.fleet import FleetConfig
from fleetctl.spec.load import load
from fleetctl.spec.schema import json_schema

KNOWN = ("aws", "azure", "gcp", "local", "ssh")
FLEET = """\
kind: fleet
providers:
  aws: {regions: [us-east-1, eu-west-1], disk_gb: 300, endpoint: "http://127.0.0.1:5000"}
  ssh: {}
"""
SERVICE = "---\nkind: service\nname: chat\nengine: vllm\nmodel: m\ngpu: L4:1\n"
POOL = "---\nkind: pool\nname: box\ngpu: L4:1\n"


def written(folder: Path, text: str) -> list[Path]:
    path = folder / "fleet.yaml"
    path.write_text(text)
    return [path]


def test_each_providers_settings_reach_the_fleet_as_they_are(tmp_path: Path) -> None:
    config = load(written(tmp_path, FLEET), providers=KNOWN).config

    assert config.providers == {
        "aws": {"regions": ["us-east-1", "eu-west-1"], "disk_gb": 300, "endpoint": "http://127.0.0.1:5000"},
        "ssh": {},
    }
    assert wiring.configured(config) == ("local", "aws", "ssh")
    assert wiring.configured(FleetConfig()) == ("local",)


def test_they_are_kept_for_commands_that_read_no_files(tmp_path: Path) -> None:
    config = load(written(tmp_path, FLEET)).config
    home = Home(tmp_path / "home")

    wiring.save_config(home, config)

    assert wiring.load_config(home) == config


def test_local_is_made_always_and_an_unknown_one_never(tmp_path: Path) -> None:
    home = Home(tmp_path)

    assert list(wiring.providers(home, FleetConfig())) == ["local"]
    with pytest.raises(UsageError, match="no provider is called 'nowhere'"):
        wiring.providers(home, FleetConfig(providers={"nowhere": {}}))


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        pytest.param(
            "kind: fleet\nproviders:\n  awz: {}\n",
            3,
            "fleet: providers.awz: no provider is called 'awz'; did you mean 'aws'? - write aws",
            id="a slip",
        ),
        pytest.param(
            "kind: fleet\nproviders:\n  aws: us-east-1\n", 3, "providers.aws: must be a mapping", id="no settings"
        ),
        pytest.param("kind: fleet\nproviders: [aws]\n", 2, "providers: must be a mapping", id="a list"),
        pytest.param(
            "kind: fleet\nproviders:\n  aws: {diskGb: 1}\n",
            3,
            "providers.aws.diskGb: 'diskGb' is no name of a setting",
            id="a strange setting",
        ),
        pytest.param(
            FLEET + SERVICE + "placement: {providers: [aws, gpc]}\n",
            11,
            "placement.providers[1]: no provider is called 'gpc'; did you mean 'gcp'?",
            id="a slip in a service",
        ),
        pytest.param(
            FLEET + SERVICE + "placement: {providers: [local, gcp]}\n",
            11,
            "service/chat: placement.providers[1]: the provider 'gcp' is not set up - write providers: {gcp: {}} into",
            id="not set up",
        ),
        pytest.param(
            FLEET + POOL + "provider: azure\n", 9, "pool/box: provider: the provider 'azure' is not", id="pool"
        ),
    ],
)
def test_what_is_wrong_is_told_at_its_line(tmp_path: Path, text: str, line: int, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(written(tmp_path, text), providers=KNOWN)

    assert f"fleet.yaml:{line}: " in caught.value.message
    assert told in f"{caught.value.message} - {caught.value.hint}"


def test_who_does_not_know_the_providers_takes_any(tmp_path: Path) -> None:
    text = "kind: fleet\nproviders: {anything: {}}\n" + SERVICE + "placement: {providers: [something]}\n"

    fleet = load(written(tmp_path, text))

    assert fleet.services[0].placement.providers == ("something",)


def test_the_schema_takes_what_the_loader_takes() -> None:
    check = jsonschema.Draft202012Validator(json_schema("fleet"))

    check.validate({"kind": "fleet", "providers": {"aws": {"regions": ["us-east-1"], "deep": {"er": [1, True]}}}})
    for wrong in ({"aws": []}, {"AWS": {}}, {"aws": {"diskGb": 1}}, []):
        assert not check.is_valid({"kind": "fleet", "providers": wrong}), wrong


def test_a_limit_saved_later_holds_at_once_and_is_never_lifted_by_trouble(tmp_path: Path) -> None:
    home = Home(tmp_path)
    wiring.save_config(home, FleetConfig(max_cost_per_hour=5.0))
    saved = wiring.saved_settings(home, FleetConfig(max_cost_per_hour=5.0))

    def limit() -> float | None:
        return saved().max_cost_per_hour

    before = home.config.stat().st_mtime_ns

    wiring.save_config(home, FleetConfig(max_cost_per_hour=7.0))
    os.utime(home.config, ns=(before + 1, before + 1))
    raised = limit()
    home.config.write_text("{")
    os.utime(home.config, ns=(before + 2, before + 2))
    broken = limit()
    home.config.unlink()
    gone = limit()
    wiring.save_config(home, FleetConfig())
    os.utime(home.config, ns=(before + 3, before + 3))

    assert (raised, broken, gone) == (7.0, 7.0, 7.0)
    assert limit() is None, "a file without a limit has none"


def test_the_limit_is_part_of_what_a_tick_knows() -> None:
    world = World(scaled(a_service(), min=1), offers=[an_offer(price=3.0)])
    world.max_cost_per_hour = 2.0

    world.tick()

    assert world.snapshot().max_cost_per_hour == 2.0
    assert world.held() == []
