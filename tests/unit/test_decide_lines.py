"""The brain as a filter: what it wants at each line, what it remembers, what it does with bad lines."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.decide.lines import Line, Recollection, ServiceLine, Signals, Starting, answer
from fleetctl.model.names import ServiceName
from fleetctl.model.services import REACTIVE, Gpu, Service, Standby

CHAT = Service(
    name=ServiceName("chat"),
    engine="rehearsal",
    model="m",
    gpu=(Gpu(name="L40S"),),
    concurrency=10,
    standby=Standby(steps=1),
    scaling=replace(
        REACTIVE, min=1, max=8, step=2, target=0.5, window_s=10.0, panic_window_s=2.0, scale_down_delay_s=20.0
    ),
)


def line(t: float, *, ready: int, concurrency: float | None, starting: int = 0) -> Line:
    return Line(
        t=t,
        services=(
            ServiceLine(
                name=CHAT.name,
                ready=ready,
                starting=tuple(Starting(age_s=1.0) for _ in range(starting)),
                signals=Signals(concurrency=concurrency),
            ),
        ),
    )


def test_a_burst_is_followed_up_at_once_and_down_after_the_delay() -> None:
    known = Recollection()
    wanted: dict[float, int] = {}
    for t in range(0, 80, 2):
        concurrency = 30.0 if 10 <= t < 30 else 2.0
        ready = wanted.get(t - 2, 1)
        made, known = answer(line(float(t), ready=ready, concurrency=concurrency), [CHAT], known)
        wanted[t] = made.decisions[0].desired

    assert wanted[8] == 1
    assert max(wanted[t] for t in range(10, 16, 2)) >= 6
    assert all(wanted[t] >= 6 for t in range(16, 48, 2)), "still wanted within the delay"
    assert wanted[78] == 1


@pytest.mark.parametrize(
    ("concurrency", "why"),
    [(None, "not measured"), (-1.0, "negative"), (float("nan"), "not a number"), (float("inf"), "not finite")],
)
def test_a_signal_that_is_no_load_holds_the_count(concurrency: float | None, why: str) -> None:
    made, _ = answer(line(100.0, ready=5, concurrency=concurrency), [CHAT], Recollection(t=98.0, began=0.0))

    assert made.decisions[0].desired == 5, why
    assert "hold" in made.decisions[0].reason


def test_time_that_runs_backwards_holds_and_is_forgotten() -> None:
    _, known = answer(line(100.0, ready=5, concurrency=25.0), [CHAT], Recollection())

    made, after = answer(line(90.0, ready=5, concurrency=0.0), [CHAT], known)

    assert made.decisions[0].desired == 5
    assert after == known


@pytest.mark.parametrize(("desired_at", "standby"), [(2.0, 2), (35.0, 1), (80.0, 0)])
def test_standby_never_goes_beyond_max(desired_at: float, standby: int) -> None:
    service = replace(CHAT, scaling=replace(CHAT.scaling, step=1), standby=Standby(slots=2))

    made, _ = answer(line(0.0, ready=1, concurrency=desired_at), [service], Recollection())

    assert made.decisions[0].standby == standby


LOADS = st.lists(st.one_of(st.none(), st.floats(0, 200)), min_size=1, max_size=40)


@given(LOADS, st.data())
def test_a_restart_after_any_line_changes_nothing(loads: list[float | None], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(loads) - 1))
    lines = [line(2.0 * index, ready=3, concurrency=load) for index, load in enumerate(loads)]

    known = Recollection()
    straight = []
    for one in lines:
        made, known = answer(one, [CHAT], known)
        straight.append(made)
    known = Recollection()
    restarted = []
    for index, one in enumerate(lines):
        made, known = answer(one, [CHAT], known)
        restarted.append(made)
        if index == cut:
            known = msgspec.json.decode(msgspec.json.encode(known), type=Recollection)

    assert restarted == straight


@given(LOADS)
def test_the_count_stays_within_its_limits(loads: list[float | None]) -> None:
    known = Recollection()
    ready = 1
    for index, load in enumerate(loads):
        made, known = answer(line(2.0 * index, ready=ready, concurrency=load), [CHAT], known)
        ready = made.decisions[0].desired

        assert 1 <= ready <= 8


SPEC = """\
kind: service
name: chat
engine: rehearsal
model: m
gpu: L40S:1
concurrency: 10
scaling: {min: 1, max: 8}
"""


def filtered(tmp_path: Path, lines: list[str], *options: str) -> tuple[list[dict[str, object]], int]:
    spec = tmp_path / "chat.yaml"
    spec.write_text(SPEC)
    done = subprocess.run(
        [sys.executable, "-m", "fleetctl", "decide", "--service", str(spec), *options],
        input="".join(f"{one}\n" for one in lines),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return [json.loads(one) for one in done.stdout.splitlines()], done.returncode


def test_the_command_answers_line_by_line_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    lines = [
        json.dumps({"t": float(t), "services": [{"name": "chat", "ready": 2, "signals": {"concurrency": load}}]})
        for t, load in enumerate([5.0, 50.0, 50.0, 9.0])
    ]
    straight, code = filtered(tmp_path, lines)

    first, _ = filtered(tmp_path, lines[:2], "--state", str(tmp_path / "state"))
    rest, _ = filtered(tmp_path, lines[2:], "--state", str(tmp_path / "state"))

    assert code == 0
    assert first + rest == straight
    assert len(straight) == 4


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("nonsense", "malformed"),
        ('{"t": 1, "services": [{"name": "chat", "ready": 1, "signals": {"concurency": 1}}]}', "unknown field"),
        ('{"t": 1, "services": [{"name": "chta", "ready": 1}]}', "not declared"),
        ('{"t": 1, "services": [{"name": "chat"}]}', "ready"),
        ('{"t": 1, "services": [{"name": "chat", "ready": -1}]}', "negative"),
        ('{"t": 1, "services": [{"name": "chat", "ready": 1}, {"name": "chat", "ready": 1}]}', "twice"),
        ('{"services": []}', "t"),
        ("[]", "object"),
    ],
)
def test_a_bad_line_is_answered_with_an_error_and_the_next_one_is_served(tmp_path: Path, bad: str, said: str) -> None:
    good = '{"t": 2, "services": [{"name": "chat", "ready": 3, "signals": {"concurrency": null}}]}'

    answers, code = filtered(tmp_path, [bad, good])

    error = answers[0]["error"]
    assert isinstance(error, dict)
    assert said in error["message"]
    assert answers[1]["decisions"][0]["desired"] == 3  # type: ignore[index]
    assert code == 2
