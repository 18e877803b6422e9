"""Ticks become intervals, intervals stay in the store, and `simulate --history` plays them."""

import json
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from fleetctl.controller.history import INTERVAL_S, Gathering
from fleetctl.model.decisions import Decision, Inputs, Plan
from fleetctl.model.history import Interval
from fleetctl.model.names import ServiceName
from fleetctl.model.signals import Flow
from fleetctl.store import open_store

CHAT = ServiceName("chat")

FILE = """\
kind: service
name: chat
engine: rehearsal
model: rehearsal-8b
gpu: L40S:1
concurrency: 16
scaling: {min: 1, max: 10}
"""


def decision(at: float, flow: Flow) -> Decision:
    return Decision(
        service=CHAT,
        at=at,
        current=1,
        ready=1,
        desired=1,
        binding="",
        reason="",
        stages=(),
        concurrency=0.0,
        concurrency_most=0.0,
        unknown=0,
        queued=0,
        target=1.0,
        inputs=Inputs(at=at, load=None, flow=flow),
    )


def gathered(flows: list[Flow], begin: float = 1000.0) -> list[Interval]:
    gathering, at, found = Gathering(), begin, []
    for flow in flows:
        at += flow.span_s
        found += [one for _, one in gathering.add([decision(at, flow)])]
    return found


def ticks(count: int, arrivals: float | None) -> list[Flow]:
    return [Flow(span_s=2.0, arrivals=arrivals, input_tokens=100.0, output_tokens=20.0)] * count


def test_ticks_are_gathered_into_intervals_and_nothing_is_lost() -> None:
    found = gathered(ticks(15, 3.0))

    assert [(one.t_from, one.t_to) for one in found] == [(1000.0, 1010.0), (1010.0, 1020.0), (1020.0, 1030.0)]
    assert [(one.arrivals, one.input_tokens, one.output_tokens) for one in found] == [(15.0, 500.0, 100.0)] * 3


def test_tokens_that_were_counted_are_kept_though_some_tick_did_not_know_them() -> None:
    """The first prompts come before any engine has told a mean, and counters that were not read show it later."""
    blind = Flow(span_s=2.0, arrivals=2.0)
    known = Flow(span_s=2.0, arrivals=0.0, output_tokens=30.0, read_tokens=70.0)

    (one,) = gathered([blind, *[known] * 4])

    assert (one.input_tokens, one.output_tokens) == (None, None)
    assert (one.read_tokens, one.written_tokens) == (280.0, 120.0)


def test_an_answer_is_counted_when_nothing_comes_any_more() -> None:
    late = Flow(span_s=2.0, arrivals=0.0, input_tokens=0.0, output_tokens=30.0, read_tokens=0.0)

    (one,) = gathered([late] * 5)

    assert (one.arrivals, one.written_tokens) == (0.0, 150.0)


def test_quiet_intervals_are_left_out_and_unknown_ones_are_not() -> None:
    assert gathered([Flow(span_s=2.0, arrivals=0.0, output_tokens=0.0, read_tokens=0.0)] * 10) == []
    assert [one.arrivals for one in gathered([*ticks(3, 1.0), *ticks(1, None), *ticks(1, 1.0)])] == [None]


def test_a_gap_between_ticks_closes_the_interval() -> None:
    gathering = Gathering()
    gathering.add([decision(1002.0, ticks(1, 3.0)[0])])

    found = gathering.add([decision(1500.0, ticks(1, 4.0)[0])])

    assert [(one.t_from, one.t_to, one.arrivals) for _, one in found] == [(1000.0, 1002.0, 3.0)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A fleet whose store recorded an hour of traffic that ended just now."""
    (tmp_path / "home").mkdir()
    (tmp_path / "chat.yaml").write_text(FILE)
    with closing(open_store(str(tmp_path / "home" / "fleet.db"))) as store:
        lease = store.acquire("test", ttl_s=60.0, now=0.0)
        assert lease is not None
        begin = time.time() - 3600.0
        rows = [
            (CHAT, Interval(t_from=at, t_to=at + INTERVAL_S, arrivals=9.0, input_tokens=4500.0, output_tokens=900.0))
            for at in (begin + 20.0 * number for number in range(180))  # every other interval is quiet
        ]
        store.commit(Plan(at=1.0), fence=lease.fence, journal=b"", history=rows)
        kept = store.history(CHAT, since=begin, until=begin + 3600.0)
        assert [one for _, one in rows] == list(kept)
        assert store.history(ServiceName("code"), since=0.0, until=1e12) == []
    return tmp_path


def simulate(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fleetctl", "simulate", "-s", "chat.yaml", *words],
        cwd=home,
        env={**os.environ, "FLEETCTL_HOME": str(home / "home")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_was_recorded_is_played(home: Path) -> None:
    ran = simulate(home, "--history", "--no-best", "-o", "json")

    assert ran.returncode == 0, ran.stderr
    (row,) = json.loads(ran.stdout)["items"]
    assert row["service"] == "chat"
    assert "1620 requests in 0.99" in ran.stderr or "1620 requests in 1.00" in ran.stderr
    assert ran.stdout == simulate(home, "--history", "--no-best", "-o", "json").stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--history", "--since", "1s"), 4, "has no record of traffic"),
        ((), 2, "there is no traffic to play"),
        (("--history", "chat.yaml"), 2, "not both"),
    ],
)
def test_without_a_record_it_says_so(home: Path, words: tuple[str, ...], code: int, said: str) -> None:
    ran = simulate(home, *words)

    assert (ran.returncode, said in ran.stderr) == (code, True), ran.stderr
