"""Which changes make a new edition of a Service, and which do not."""

from dataclasses import fields, replace
from typing import Any

import pytest

from fleetctl.model import rollouts
from fleetctl.model.names import ServiceName
from fleetctl.model.nodes import Call
from fleetctl.model.outside import Signal
from fleetctl.model.services import (
    ColdStart,
    EngineMetrics,
    Gpu,
    GpuMetrics,
    Market,
    Placement,
    QueueRules,
    RolloutRules,
    Scaling,
    Schedule,
    Service,
    Slo,
    Standby,
)
from fleetctl.spec.revision import REVISION_CHARS, revision

CHAT = Service(name=ServiceName("chat"), engine="vllm", model="hf://a/b@1", gpu=(Gpu(name="L40S"),), concurrency=64)

RUNS: dict[str, Any] = {
    "engine": "sglang",
    "model": "hf://a/b@2",
    "gpu": (Gpu(name="L40S", count=2),),
    "concurrency": 65,
    "image": "vllm/vllm-openai:v0.11.0",
    "command": ("serve",),
    "args": ("--max-model-len", "8192"),
    "env": (("A", "1"),),
    "metrics": EngineMetrics(running="r"),
    "readiness_path": "/ready",
    "loading": "stream",
    "pool": "gpus",
}
AROUND: dict[str, Any] = {
    "name": "other",
    "warm_up": (Call(path="/v1/completions"),),
    "slo": Slo(ttft_s=5),
    "cold_start": ColdStart(cold_s=1.0, standby_s=1.0),
    "scaling": Scaling(max=9, target=0.5),
    "signals": (Signal(name="orders", target=3.0, command=("count",)),),
    "gpu_metrics": GpuMetrics(port=9400),
    "standby": Standby(steps=2),
    "schedule": (Schedule(cron="* * * * *", min=1),),
    "placement": Placement(market=Market.SPOT),
    "rollout": RolloutRules(surge=2),
    "startup_timeout_s": 1.0,
    "drain_timeout_s": 1.0,
    "queue_timeout_s": 1.0,
    "queue": QueueRules(limit=1),
    "hosts": ("chat.example.org",),
    "adapters": ("lora-a",),
    "labels": (("team", "search"),),
}


def test_every_field_is_known_to_this_test() -> None:
    assert {field.name for field in fields(Service)} == RUNS.keys() | AROUND.keys()
    assert RUNS.keys() == set(rollouts.RUNS)  # what going back to a revision brings back


@pytest.mark.parametrize("field", RUNS)
def test_what_a_replica_runs_makes_a_new_revision(field: str) -> None:
    assert revision(replace(CHAT, **{field: RUNS[field]})) != revision(CHAT)


@pytest.mark.parametrize("field", AROUND)
def test_what_stands_around_it_does_not(field: str) -> None:
    assert revision(replace(CHAT, **{field: AROUND[field]})) == revision(CHAT)


def test_words_are_not_joined() -> None:
    assert revision(replace(CHAT, args=("a", "b"))) != revision(replace(CHAT, args=("a b",)))
    assert revision(replace(CHAT, args=("a",))) != revision(replace(CHAT, command=("a",)))


def test_the_order_of_variables_means_nothing() -> None:
    one = replace(CHAT, env=(("A", "1"), ("B", "2")))
    other = replace(CHAT, env=(("B", "2"), ("A", "1")))

    assert revision(one) == revision(other)


def test_it_is_the_same_in_every_release() -> None:
    """Another value here restarts every Replica of every user at the next update."""
    later = ("loading",)  # fields of later releases
    first = ("engine", "model", "gpu", *later)
    full = replace(CHAT, **{field: value for field, value in RUNS.items() if field not in first})

    assert revision(CHAT) == "c99dd90c2b9e"
    assert revision(full) == "94d7074f9de7"
    assert len(revision(CHAT)) == REVISION_CHARS
