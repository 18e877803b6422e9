"""The JSON Schema: strict, described, with the model's defaults, and of one mind with the loader."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from fleetctl.errors import NotFound
from fleetctl.model.services import Scaling, Service
from fleetctl.spec.example import example_files
from fleetctl.spec.files import read
from fleetctl.spec.load import load
from fleetctl.spec.preset_files import preset_names, presets_folder
from fleetctl.spec.problems import FilesError
from fleetctl.spec.schema import KINDS, json_schema
from fleetctl.spec.trees import documents, plain
from fleetctl.spec.units import duration, share

Checker = jsonschema.Draft202012Validator
SMALLEST: dict[str, Any] = {"kind": "service", "name": "chat", "engine": "vllm", "model": "m", "gpu": "L40S:1"}


def objects(schema: object) -> Iterator[dict[str, Any]]:
    """Every object that a schema describes."""
    if isinstance(schema, dict):
        if "properties" in schema and "if" not in schema:
            yield schema
        for value in schema.values():
            yield from objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects(value)


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_it_is_a_schema_of_2020_12(kind: str | None) -> None:
    schema = json_schema(kind)

    Checker.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(schema)) == schema


@pytest.mark.parametrize("kind", KINDS)
def test_every_object_is_closed_and_every_field_described(kind: str) -> None:
    found = list(objects(json_schema(kind)))

    assert found
    for one in found:
        assert one["additionalProperties"] is False, one
        for name, field in one["properties"].items():
            assert len(field.get("description", "")) > 10, f"{kind}: {name}"


def test_defaults_are_the_models_and_written_as_a_user_would() -> None:
    service = json_schema("service")
    scaling = service["$defs"]["ScalingDoc"]["properties"]
    model = Scaling()

    assert json_schema("preset")["properties"]["window"]["default"] == scaling["window"]["default"]
    for hangs_on_the_rule in ("tolerance", "scale_down_delay", "idle"):
        assert "default" not in json_schema("preset")["properties"][hangs_on_the_rule]
    assert scaling["target"]["default"] == "70%"
    assert share(scaling["target"]["default"]) == model.target
    assert duration(scaling["window"]["default"]) == model.window_s
    assert duration(scaling["scale_down_delay"]["default"]) == model.scale_down_delay_s
    assert scaling["policy"]["default"] == model.preset
    assert (
        duration(service["properties"]["startup_timeout"]["default"])
        == Service.__dataclass_fields__["startup_timeout_s"].default
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_default_is_valid_itself(kind: str) -> None:
    schema = json_schema(kind)

    checked = 0
    for one in objects(schema):
        for field in one["properties"].values():
            if "default" in field:
                Checker({**field, "$defs": schema.get("$defs", {})}).validate(field["default"])
                checked += 1
    assert checked >= 2


def test_the_example_and_the_presets_fit() -> None:
    chat = dict(example_files())["fleet/chat.yaml"]
    any_kind, preset = Checker(json_schema()), Checker(json_schema("preset"))

    for node in documents(chat):
        any_kind.validate(plain(node))
    for name in preset_names():
        (tree,), problems = read(presets_folder() / f"{name}.yaml")
        assert not problems
        preset.validate(plain(tree))


def test_the_schema_beside_the_example_is_the_whole_one() -> None:
    assert json.loads(dict(example_files())["fleet/schema.json"]) == json_schema()


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"gpu": ["L40S:1", "H100:2"]},
        {"gpu": "any"},
        {"command": "serve --x", "args": ["--y"]},
        {"env": {"A": "1"}},
        {"scaling": {"min": 0, "max": 4, "target": "70%", "window": "2m", "idle": 0}},
        {"scaling": {"target": 1, "tolerance": 0, "max": 2, "policy": "knative"}},
        {"scaling": {"behavior": {"up": {"policies": [{"percent": 100, "period": "15s"}], "select": "min"}}}},
        {"standby": 0},
        {"standby": "none"},
        {"standby": 3},
        {"standby": "auto"},
        {"standby": {"auto": True, "tier": "stopped"}},
        {"cold_start": {"cold": "270s", "standby": "8s"}},
        {"scaling": {"max": 2}, "schedule": [{"cron": "0 8 * * *", "for": "24h", "replicas": 2}]},
        {"standby": {"slots": 2, "tier": "hot"}},
        {"schedule": [{"cron": "0 8 * * mon-fri", "tz": "UTC", "for": "10h", "min": 1}]},
        {"placement": {"market": {"spot": "70%", "on_demand_base": 1, "fallback": False}}},
        {"placement": {"market": "spot", "providers": ["aws"], "max_price_per_hour": 2}},
        {"drain_timeout": "0", "slo": {"ttft": "500ms"}},
    ],
    ids=str,
)
def test_schema_and_loader_take_the_same(tmp_path: Path, change: dict[str, Any]) -> None:
    document = {**SMALLEST, **change}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(document))

    for kind in (None, "service"):
        Checker(json_schema(kind)).validate(document)
    assert len(load([tmp_path]).services) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Chat"},
        {"name": "a" * 41},
        {"name": "-a"},
        {"name": "9a"},
        {"engine": "vlm"},
        {"model": "a b"},
        {"gpu": []},
        {"gpu": "L40S:1:2"},
        {"gpu": "L40S:half"},
        {"concurrency": 0},
        {"concurrency": True},
        {"concurrency": "8"},
        {"concurrency": 1.5},
        {"unknown": 1},
        {"args": [1]},
        {"env": {"A-B": "1"}},
        {"env": {"A": 1}},
        {"metrics": {"waiting": "x"}},
        {"readiness_path": "health"},
        {"scaling": {"max": 0}},
        {"scaling": {"maximum": 1}},
        {"scaling": {"window": 60}},
        {"scaling": {"window": "60"}},
        {"scaling": {"window": "1h30m"}},
        {"scaling": {"target": 70}},
        {"scaling": {"target": 0}},
        {"scaling": {"tolerance": 1}},
        {"scaling": {"policy": "knativ"}},
        {"scaling": {"panic_threshold": 0.5}},
        {"scaling": {"behavior": {"up": {"select": "most"}}}},
        {"scaling": {"behavior": {"sideways": {}}}},
        {"standby": -1},
        {"standby": 1.5},
        {"standby": "most"},
        {"standby": False},
        {"standby": {"auto": "yes"}},
        {"cold_start": {"cold": 0}},
        {"cold_start": "270s"},
        {"schedule": [{"cron": "0 8 * * *", "for": "1h", "replicas": -1}]},
        {"standby": {"tier": "cold"}},
        {"schedule": [{"cron": "0 8 * * *", "min": 1}]},
        {"placement": {"market": {"spot": 1.7}}},
        {"placement": {"market": {"on_demand_base": 1}}},
        {"placement": {"providers": "aws"}},
        {"placement": {"max_price_per_hour": 0}},
        {"slo": {"percentile": 99}},
        {"slo": {"ttft": "5s", "percentile": 100}},
        {"slo": None},
        {"startup_timeout": 0},
    ],
    ids=str,
)
def test_schema_and_loader_refuse_the_same(tmp_path: Path, change: dict[str, Any]) -> None:
    document = {**SMALLEST, **change}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(document))

    for kind in (None, "service"):
        assert not Checker(json_schema(kind)).is_valid(document)
    with pytest.raises(FilesError):
        load([tmp_path])


@pytest.mark.parametrize(
    "document",
    [{}, {"kind": "servise"}, {"kind": "fleet", "gpu": "L40S:1"}, {"kind": "pool", "name": "a"}, []],
    ids=str,
)
def test_no_kind_fits_these(document: object) -> None:
    assert not Checker(json_schema()).is_valid(document)


def test_an_unknown_kind_has_a_nearest_one() -> None:
    with pytest.raises(NotFound, match="did you mean 'service'"):
        json_schema("servce")
