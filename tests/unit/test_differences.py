"""What differs between two nouns, as people are told it."""

from dataclasses import fields, replace
from typing import Any, get_args

from fleetctl.cli.planning import differences_text
from fleetctl.model.names import ProviderName, ServiceName
from fleetctl.model.services import Behavior, Gpu, Placement, RatePolicy, Scaling, Service, Standby
from fleetctl.spec.document import Document
from fleetctl.spec.documents import FleetDoc
from fleetctl.spec.fleet import FleetConfig
from fleetctl.views.differences import Difference, differences, plain_values

CHAT = Service(
    name=ServiceName("chat"),
    engine="vllm",
    model="hf://m@1",
    gpu=(Gpu(name="L40S"),),
    concurrency=64,
    env=(("TOKEN", "hush"), ("MODE", "fast")),
    scaling=Scaling(min=1, max=4),
)


def changed(**fields: object) -> list[tuple[str, str, str]]:
    other = replace(CHAT, **fields)  # type: ignore[arg-type] - fields of many kinds
    return [(one.field, one.before, one.after) for one in differences("service/chat", CHAT, other)]


def test_the_same_differs_in_nothing() -> None:
    assert differences("service/chat", CHAT, replace(CHAT)) == ()
    assert differences("service/chat", None, None) == ()


def test_each_field_is_told_by_its_path() -> None:
    assert changed(scaling=replace(CHAT.scaling, max=6)) == [("scaling.max", "4", "6")]
    assert changed(image="vllm@sha256:1") == [("image", "-", "vllm@sha256:1")]
    assert changed(gpu=(Gpu(name="H100", count=2), Gpu(name="L40S"))) == [("gpu", "L40S:1", "H100:2, L40S:1")]
    assert changed(placement=Placement(providers=(ProviderName("aws"),))) == [("placement.providers", "-", "aws")]
    assert changed(args=("--x", "1")) == [("args", "-", "--x, 1")]


def test_what_is_not_there_on_one_side_is_nothing() -> None:
    assert changed(standby=Standby(steps=2))[:2] == [("standby.tier", "-", "warm"), ("standby.steps", "-", "2")]
    up = Behavior(policies=(RatePolicy(kind="percent", value=50, period_s=60.0),))
    assert ("scaling.up.policies[0].value", "-", "50") in changed(scaling=replace(CHAT.scaling, up=up))


def test_what_may_be_a_secret_is_told_by_its_name_only() -> None:
    found = changed(env=(("TOKEN", "other"), ("MODE", "fast"), ("NEW", "s3cr3t")))

    assert found == [("env.TOKEN", "(hidden)", "(hidden)"), ("env.NEW", "-", "(hidden)")]
    saved = FleetConfig(providers={"cloud": {"token": "hush", "regions": ["eu"]}})
    assert ("providers.cloud.token", "(hidden)") in plain_values(saved)
    assert ("providers.cloud.regions", "eu") in plain_values(saved)
    assert "hush" not in str(plain_values(saved))
    store = FleetConfig(store_url="postgresql://fleet:hush@db:5432/fleet?sslmode=require")
    assert ("store_url", "postgresql://fleet:(hidden)@db:5432/fleet?sslmode=require") in plain_values(store)
    plain = FleetConfig(store_url="postgresql://db:5432/fleet")
    assert ("store_url", "postgresql://db:5432/fleet") in plain_values(plain)


def test_as_people_read_it() -> None:
    found = [
        Difference(subject="pool/box", field="", before="-", after="declared"),
        Difference(subject="service/chat", field="", before="down", after="up"),
        Difference(subject="service/chat", field="scaling.max", before="4", after="6"),
    ]

    assert differences_text(found) == (
        "+ pool/box  new\n~ service/chat\n    state        down → up\n    scaling.max  4 → 6\n"
    )


def test_settings_of_the_fleet_are_told_as_they_are_written() -> None:
    """Each field's path leads to a field of the file's own document."""
    every: dict[str, Any] = {one.name: getattr(FleetConfig(), one.name) for one in fields(FleetConfig)}
    other = FleetConfig(**{name: f"{value}!" for name, value in every.items() if name != "providers"})

    told = [one.field for one in differences("fleet/default", FleetConfig(), other)]

    assert len(told) == len(every) - 1
    for path in told:
        document: Any = FleetDoc
        for name in path.split("."):
            assert name in document.model_fields, path
            kinds = get_args(document.model_fields[name].annotation)
            document = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Document)), None)
