"""Signals and the parameters of policies, as files have them: what they become, and what is said of wrong ones."""

from pathlib import Path

import jsonschema
import msgspec
import pytest

from fleetctl.errors import UsageError
from fleetctl.model.outside import (
    Access,
    AzureQueueSource,
    HttpSource,
    PrometheusSource,
    PubSubSource,
    Secret,
    Signal,
    SqsSource,
    path_steps,
)
from fleetctl.model.services import GpuMetrics, Service
from fleetctl.spec.knobs import with_knobs, with_preset
from fleetctl.spec.load import load
from fleetctl.spec.problems import FilesError, Problem
from fleetctl.spec.schema import json_schema

HEAD = "kind: service\nname: chat\nengine: vllm\nmodel: hf://a/b@1\ngpu: L40S:1\n"


def declared(folder: Path, text: str) -> Service:
    (folder / "chat.yaml").write_text(HEAD + text)
    return load([folder / "chat.yaml"]).services[0]


def problems(folder: Path, text: str) -> tuple[Problem, ...]:
    with pytest.raises(FilesError) as caught:
        declared(folder, text)
    return caught.value.problems


EVERY = """
signals:
  - {prometheus: {url: "http://prometheus:9090", query: 'sum(up)', token: {env: PROM_TOKEN}}, target: 30}
  - {name: shop, http: {url: "https://shop/queue", path: $.queue.length, user: me, password: {file: /run/pw}},
     target: 5, interval: 30s, timeout: 2s, max_age: 3m, per: service}
  - {command: [count-orders, --open], target: 10}
  - {sqs: {queue_url: "https://sqs.eu-central-1.amazonaws.com/1/orders", region: eu-central-1, in_flight: false},
     target: 10}
  - {azure_queue: {account: shop, queue: orders}, target: 10}
  - {pubsub: {subscription: projects/shop/subscriptions/orders}, target: 10}
  - {policy: queue_depth}
  - {policy: gpu_utilization}
gpu_metrics: {}
scaling: {queued: 3, utilization: 60%}
"""


def test_every_kind_of_signal_reaches_the_model(tmp_path: Path) -> None:
    service = declared(tmp_path, EVERY)

    assert service.signals == (
        Signal(
            name="prometheus",
            target=30.0,
            prometheus=PrometheusSource(
                url="http://prometheus:9090", query="sum(up)", access=Access(token=Secret(env="PROM_TOKEN"))
            ),
        ),
        Signal(
            name="shop",
            target=5.0,
            per="service",
            interval_s=30.0,
            timeout_s=2.0,
            max_age_s=180.0,
            http=HttpSource(
                url="https://shop/queue",
                path="$.queue.length",
                access=Access(user="me", password=Secret(file="/run/pw")),
            ),
        ),
        Signal(name="command", target=10.0, command=("count-orders", "--open")),
        Signal(
            name="sqs",
            target=10.0,
            sqs=SqsSource(
                queue_url="https://sqs.eu-central-1.amazonaws.com/1/orders", region="eu-central-1", in_flight=False
            ),
        ),
        Signal(name="azure_queue", target=10.0, azure_queue=AzureQueueSource(account="shop", queue="orders")),
        Signal(name="pubsub", target=10.0, max_age_s=600.0, pubsub=PubSubSource(project="shop", subscription="orders")),
        Signal(name="queue_depth", policy="queue_depth"),
        Signal(name="gpu_utilization", policy="gpu_utilization"),
    )
    assert service.gpu_metrics == GpuMetrics(port=9400)
    assert (service.scaling.queued, service.scaling.utilization) == (3.0, 0.6)


def test_the_store_keeps_a_service_with_signals(tmp_path: Path) -> None:
    service = declared(tmp_path, EVERY)

    assert msgspec.json.decode(msgspec.json.encode(service), type=Service) == service


def test_a_rare_reading_is_believed_for_longer(tmp_path: Path) -> None:
    service = declared(tmp_path, "signals: [{command: [x], target: 1, interval: 5m}]\n")

    assert service.signals[0].max_age_s == 1200.0


@pytest.mark.parametrize(
    ("signal", "path", "says"),
    [
        ("{command: [x]}", "signals[0]", "has no target"),
        ("{target: 3}", "signals[0]", "has no source; a signal has one"),
        ("{command: [x], http: {url: 'http://a'}, target: 3}", "signals[0]", "has http and command; a signal has one"),
        ("{command: [x], target: 0}", "signals[0].target", "must be more than 0"),
        ("{command: [x], target: -1}", "signals[0].target", "must be more than 0"),
        ("{command: [x], target: .nan}", "signals[0].target", "must be a number"),
        ("{command: [], target: 3}", "signals[0].command", "is empty"),
        ("{comand: [x], target: 3}", "signals[0].comand", "did you mean 'command'"),
        ("{http: {url: 'http://me:pw@shop/q'}, target: 3}", "signals[0].http.url", "has credentials in it"),
        ("{http: {url: 'ftp://shop/q'}, target: 3}", "signals[0].http.url", "is no URL of HTTP"),
        ("{http: {url: 'http://shop:99999/q'}, target: 3}", "signals[0].http.url", "is no URL"),
        ("{http: {url: 'http://shop', path: queue.length}, target: 3}", "signals[0].http.path", "is no path"),
        (
            "{http: {url: 'http://shop', token: abc}, target: 3}",
            "signals[0].http.token",
            "a secret must not stand here",
        ),
        ("{http: {url: 'http://shop', token: {}}, target: 3}", "signals[0].http.token", "needs one of env and file"),
        ("{http: {url: 'http://shop', user: me}, target: 3}", "signals[0].http", "user and password go together"),
        ("{pubsub: {subscription: orders}, target: 3}", "signals[0].pubsub", "names no project"),
        ("{pubsub: {subscription: a/b}, target: 3}", "signals[0].pubsub", "is no path of a subscription"),
        ("{policy: queue_dept}", "signals[0].policy", "is no policy"),
        ("{policy: fixed}", "signals[0].policy", "moves with no load"),
        ("{policy: queue_depth, target: 3}", "signals[0]", "target is of signals from outside"),
        ("{policy: auto}", "signals[0].policy", "auto is the policy already"),
        ("{name: limits, command: [x], target: 3}", "signals[0].name", "is the name of a stage"),
        ("{name: auto, command: [x], target: 3}", "signals[0].name", "is the name of a stage"),
        ("{command: [x], target: 3, timeout: 10s, max_age: 5s}", "signals[0]", "max_age is not longer than timeout"),
    ],
)
def test_a_wrong_signal_is_said_at_its_line(tmp_path: Path, signal: str, path: str, says: str) -> None:
    (found,) = problems(tmp_path, f"signals:\n  - {signal}\n")

    assert (found.line, found.path) == (7, path)
    assert says in found.message
    assert found.fix
    assert "pw@" not in str(found), "credentials are not repeated"


def test_two_signals_of_one_name_are_told_apart(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "signals:\n  - {command: [x], target: 1}\n  - {command: [y], target: 1}\n")

    assert (found.line, found.message) == (8, "a second signal is called command")
    assert found.fix == "add name: command-2, or another"


@pytest.mark.parametrize(
    ("scaling", "line", "path", "message", "fix"),
    [
        (
            "policy: queue_depth\n  requests_per_second: 3",
            8,
            "scaling.requests_per_second",
            "the policy queue_depth does not use requests_per_second; requests_per_second does",
            "write queued, or policy: requests_per_second",
        ),
        (
            "policy: auto\n  queued: 3",
            8,
            "scaling.queued",
            "the policy auto does not use queued; queue_depth does",
            "remove it, or write policy: queue_depth",
        ),
        (
            "policy: latency_slo\n  panic_window: 3s",
            8,
            "scaling.panic_window",
            "the policy latency_slo does not use panic_window; auto and target_concurrency do",
            "remove it, or write a policy of auto, target_concurrency",
        ),
        (
            "policy: gpu_utilization\n  latency: 3s",
            8,
            "scaling.latency",
            "the policy gpu_utilization does not use latency; latency_slo does",
            "write utilization, or policy: latency_slo",
        ),
        (
            "policy: requests_per_second",
            7,
            "scaling.policy",
            "the policy requests_per_second needs what one replica is to get: requests_per_second is missing",
            "add requests_per_second: 2.5",
        ),
        (
            "policy: tokens_per_second",
            7,
            "scaling.policy",
            "the policy tokens_per_second needs what one replica is to get: tokens_per_second is missing",
            "add tokens_per_second: 2000",
        ),
        (
            "policy: latency_slo\n  latency_of: end_to_end",
            8,
            "scaling.latency_of",
            "no latency is written for whole answers; slo is of first tokens",
            "add latency: 30s",
        ),
    ],
)
def test_a_parameter_that_the_policy_has_not_or_lacks(
    tmp_path: Path, scaling: str, line: int, path: str, message: str, fix: str
) -> None:
    (found,) = problems(tmp_path, f"scaling:\n  {scaling}\n")

    assert (found.line, found.path, found.message, found.fix) == (line, path, message, fix)


def test_a_parameter_of_a_policy_that_stands_beside_is_fine(tmp_path: Path) -> None:
    text = "scaling: {policy: target_concurrency, queued: 2}\nsignals: [{policy: queue_depth}]\n"

    assert declared(tmp_path, text).scaling.queued == 2.0


def test_a_preset_with_a_parameter_that_its_policy_has_not(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("policy: queue_depth\nwhy: mine\ntokens_per_second: 3\n")

    (found,) = problems(tmp_path, "scaling: {policy: mine.yaml}\n")

    assert (Path(found.file).name, found.line, found.path) == ("mine.yaml", 3, "tokens_per_second")
    assert found.fix == "write queued, or policy: tokens_per_second"


def test_gpu_metrics_that_nobody_asks_for(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "gpu_metrics: {port: 9400}\n")

    assert (found.line, found.message) == (6, "nothing asks how busy the GPUs are")


def test_the_schema_knows_signals() -> None:
    check = jsonschema.Draft202012Validator(json_schema("service")).is_valid
    service = {"kind": "service", "name": "chat", "engine": "vllm", "model": "m", "gpu": "L40S:1"}

    assert check({**service, "signals": [{"command": ["x"], "target": 3, "interval": "15s"}]})
    assert not check({**service, "signals": [{"http": {"url": "http://me:pw@shop"}, "target": 3}]})
    assert not check({**service, "signals": [{"policy": "fixed"}]})
    assert not check({**service, "signals": [{"http": {"url": "http://shop", "token": "abc"}, "target": 3}]})


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("", ()),
        ("$", ()),
        ("$.a.b", ("a", "b")),
        ("$.a[0]['b c']", ("a", 0, "b c")),
        ("/a/0/b~1c~0d", ("a", "0", "b/c~d")),
        ("/", ("",)),
    ],
)
def test_paths(path: str, steps: tuple[str | int, ...]) -> None:
    assert path_steps(path) == steps


@pytest.mark.parametrize("path", ["a.b", "$a", "$..a", "$.a[", "$.a[-1]", "$.*", "$['a"])
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(ValueError, match=r"path begins|nothing that can be read"):
        path_steps(path)


@pytest.mark.parametrize("name", ["requests_per_second", "tokens_per_second"])
def test_another_preset_keeps_what_a_replica_can_do_and_is_refused_without(tmp_path: Path, name: str) -> None:
    bare = declared(tmp_path, "scaling: {max: 4}\n")
    other = next(one for one in ("requests_per_second", "tokens_per_second") if one != name)
    measured = declared(
        tmp_path,
        f"scaling: {{max: 4, policy: {other}, {other}: 7, {name}: 9}}\nsignals: [{{policy: {name}}}]\n",
    )

    with pytest.raises(UsageError, match="needs what one replica is to get"):
        with_knobs(with_preset(bare, name), {})
    written = with_knobs(with_preset(bare, name), {f"scaling.{name}": "5"})

    assert getattr(written.scaling, name) == 5.0
    assert getattr(with_knobs(with_preset(measured, name), {}).scaling, name) == 9.0
