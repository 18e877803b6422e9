"""What lines tell of beside concurrency: signals from outside by the file's names, latencies, GPUs, full engines."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.decide.lines import Line, Recollection, ServiceLine, Signals, answer
from fleetctl.model.names import ServiceName
from fleetctl.model.outside import Signal
from fleetctl.model.services import Gpu, Scaling, Service, Slo

ORDERS = Signal(name="orders", target=10.0, command=("count",))


def service(policy: str = "target_concurrency", *signals: Signal, **scaling: Any) -> Service:
    return Service(
        name=ServiceName("chat"),
        engine="rehearsal",
        model="m",
        gpu=(Gpu(name="L40S"),),
        concurrency=10,
        slo=Slo(ttft_s=5.0),
        signals=signals,
        scaling=Scaling(
            **{"min": 1, "max": 20, "policy": policy, "target": 1.0, "window_s": 10.0, "panic_window_s": 1.0, **scaling}
        ),
    )


def told(of: Service, *signals: Signals, ready: int = 5) -> list[tuple[int, str]]:
    """What is wanted at each line, two seconds apart, and by whom; nothing follows from it."""
    known, found = Recollection(), []
    for place, one in enumerate(signals):
        line = Line(t=2.0 * place, services=(ServiceLine(name=of.name, ready=ready, signals=one),))
        made, known = answer(line, [of], known)
        found.append((made.decisions[0].desired, made.decisions[0].binding))
    return found


@pytest.mark.parametrize(
    ("outside", "expected", "why"),
    [
        ({"orders": 90.0}, (9, "orders"), "up on any"),
        ({"orders": 0.0}, (1, "target_concurrency"), "all agree"),
        ({"orders": None}, (5, "orders"), "unknown"),
        ({}, (5, "orders"), "not told"),
        ({"orders": -1.0}, (5, "orders"), "negative"),
        ({"orders": float("nan")}, (5, "orders"), "not a number"),
    ],
)
def test_signals_from_outside(outside: dict[str, float | None], expected: tuple[int, str], why: str) -> None:
    of = service("target_concurrency", ORDERS)

    assert told(of, Signals(concurrency=5.0, queue=0.0, outside=outside)) == [expected], why


def test_latencies_gpus_and_queues() -> None:
    late = Signals(concurrency=50.0, queue=0.0, ttft_s=7.5)
    busy = Signals(concurrency=50.0, queue=0.0, gpu_utilization=1.0)
    waiting = Signals(concurrency=100.0, queue=50.0)

    assert told(service("latency_slo"), late, late, late)[-1] == (8, "latency_slo")
    assert told(service("gpu_utilization"), busy, busy)[-1] == (8, "gpu_utilization")
    assert told(service("queue_depth"), waiting, waiting)[-1] == (7, "queue_depth")


@pytest.mark.parametrize(
    ("policy", "signals"),
    [
        ("latency_slo", Signals(concurrency=5.0, queue=0.0)),
        ("gpu_utilization", Signals(concurrency=5.0, queue=0.0, gpu_utilization=7.0)),
        ("gpu_utilization", Signals(concurrency=5.0, queue=0.0, gpu_utilization=float("nan"))),
        ("queue_depth", Signals(concurrency=5.0)),
        ("requests_per_second", Signals(concurrency=5.0, queue=0.0, arrivals=-1.0)),
        ("tokens_per_second", Signals(concurrency=5.0, queue=0.0, arrivals=1.0)),
    ],
)
def test_what_a_policy_goes_by_and_is_not_told_holds(policy: str, signals: Signals) -> None:
    of = service(policy, requests_per_second=1.0, tokens_per_second=1.0)

    assert [desired for desired, _ in told(of, *[signals] * 20)] == [5] * 20


def test_a_full_engine_is_learned_from_lines() -> None:
    of = replace(service(), command=("own",))
    known = Recollection()
    for place in range(40):
        signals = Signals(concurrency=5.0, queue=2.0, fullest=4.0)
        line = Line(t=2.0 * place, services=(ServiceLine(name=of.name, ready=1, signals=signals),))
        _, known = answer(line, [of], known)

    batch = known.memories[of.name].batch
    assert batch is not None
    assert (batch.limit, batch.sightings) == (4.0, 30)


VALUES = st.one_of(st.none(), st.floats(0, 300), st.just(float("nan")), st.floats(-5, -1))


@given(st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=20), st.data())
def test_a_restart_after_any_line_changes_nothing(rows: list[tuple[Any, Any, Any]], data: st.DataObject) -> None:
    policies = ("queue_depth", "latency_slo", "gpu_utilization")
    beside = tuple(Signal(name=name, policy=name) for name in policies)
    of = service("requests_per_second", ORDERS, *beside, requests_per_second=2.0)
    cut = data.draw(st.integers(0, len(rows) - 1))

    def run(cut: int | None) -> list[int]:
        known, found = Recollection(), []
        for place, (load, orders, other) in enumerate(rows):
            signals = Signals(
                concurrency=load,
                queue=other,
                arrivals=orders,
                ttft_s=other,
                gpu_utilization=0.5,
                outside={"orders": orders},
            )
            line = Line(t=2.0 * place, services=(ServiceLine(name=of.name, ready=3, signals=signals),))
            made, known = answer(line, [of], known)
            found.append(made.decisions[0].desired)
            if place == cut:
                known = msgspec.json.decode(msgspec.json.encode(known), type=Recollection)
        return found

    assert run(cut) == run(None)
    assert all(1 <= desired <= 20 for desired in run(None))


SPEC = """\
kind: service
name: chat
engine: rehearsal
model: m
gpu: L40S:1
concurrency: 10
scaling: {policy: target_concurrency, min: 1, max: 8}
signals: [{name: orders, command: [count], target: 10}]
"""


@pytest.mark.parametrize(
    ("outside", "said", "hint"),
    [
        ('{"ordres": 3}', "outside: ordres: unknown signal", "did you mean orders?"),
        ('{"x": 3}', "outside: x: unknown signal", "declared: orders"),
        ('{"orders": "many"}', "float", ""),
    ],
)
def test_the_command_reads_the_files_signals_and_refuses_others(
    tmp_path: Path, outside: str, said: str, hint: str
) -> None:
    (tmp_path / "chat.yaml").write_text(SPEC)
    seen = (
        '{{"t": {t}, "services": [{{"name": "chat", "ready": 2, "signals": {{"concurrency": 1, "outside": {o}}}}}]}}\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "fleetctl", "decide", "--service", str(tmp_path / "chat.yaml")],
        input=seen.format(t=1, o=outside) + seen.format(t=2, o='{"orders": 70}'),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    bad, good = (json.loads(line) for line in done.stdout.splitlines())
    assert said in bad["error"]["message"]
    assert hint in bad["error"]["hint"]
    assert (good["decisions"][0]["desired"], good["decisions"][0]["binding"]) == (7, "orders")
    assert done.returncode == 2
