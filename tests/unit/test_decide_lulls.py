"""Scale to zero: when a learning service goes there, what wakes it, and that nothing unknown ever leads there."""

from dataclasses import replace

import msgspec
import pytest
from fleet_world import a_service
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.decide.lines import Line, Recollection, ServiceLine, Signals, Starting, answer
from fleetctl.decide.lulls import KEPT_MOST_S, LULLS_KEPT, RESTART_WEIGHT, noted
from fleetctl.decide.scaling import decide
from fleetctl.decide.zero import IdleGap, kept_s
from fleetctl.model.decisions import Inputs, Memory
from fleetctl.model.services import ColdStart, Scaling, Service
from fleetctl.model.signals import Flow, Load
from fleetctl.model.snapshots import Intent

COLD_S = 100.0
NOTHING = Load(low=0.0, high=0.0, queued=0.0, oldest_wait_s=0.0, unknown=0)


def sparse(**scaling: object) -> Service:
    """A service of the learning policy that may go to zero; a cold start is said to take 100 s."""
    return replace(
        a_service(),
        cold_start=ColdStart(cold_s=COLD_S, standby_s=5.0),
        scaling=replace(Scaling(min=0, max=4), **scaling),  # type: ignore[arg-type]
    )


class Sparse:
    """A sparse service in ten-second lines, whose starts take as long as said."""

    def __init__(self, service: Service, takes_s: float = COLD_S) -> None:
        self.service, self.takes_s = service, takes_s
        self.known, self.period_s = Recollection(), 10.0
        self.now, self.ready, self.starts = 0.0, 0, list[float]()
        self.reason = ""

    @property
    def wanted(self) -> int:
        return self.ready + len(self.starts)

    def line(self, concurrency: float | None, arrivals: float | None = 0.0) -> int:
        self.ready += sum(1 for begun in self.starts if self.now - begun >= self.takes_s)
        self.starts = [begun for begun in self.starts if self.now - begun < self.takes_s]
        signals = Signals(concurrency=concurrency, queue=0.0, arrivals=arrivals, input_tokens=0.0, output_tokens=0.0)
        starting = tuple(Starting(age_s=self.now - begun) for begun in self.starts)
        one = ServiceLine(name=self.service.name, ready=self.ready, starting=starting, signals=signals)
        made, self.known = answer(Line(t=self.now, services=(one,)), [self.service], self.known)
        desired = made.decisions[0].desired
        self.reason = made.decisions[0].reason
        if desired > self.wanted:
            self.starts += [self.now] * (desired - self.wanted)
        while self.wanted > desired:
            if self.starts:
                self.starts.pop()
            else:
                self.ready -= 1
        self.now += self.period_s
        return desired

    def busy(self, lines: int) -> None:
        for _ in range(lines):
            self.line(1.0, 1.0)

    def kept_for(self, most_s: float = 20_000.0) -> float:
        """Seconds without a request until it is at zero."""
        begun = self.now
        while self.line(0.0) and self.now - begun < most_s:
            pass
        return self.now - begun


def test_at_first_it_is_kept_for_some_cold_starts() -> None:
    story = Sparse(sparse())
    story.busy(30)

    assert story.kept_for() == pytest.approx(RESTART_WEIGHT * COLD_S, abs=20.0)
    assert story.reason == "no request for 300 s"


def test_the_first_request_wakes_it_at_once() -> None:
    story = Sparse(sparse())
    story.busy(30)
    story.kept_for()

    assert story.line(0.2, 1.0) == 1
    assert story.starts == [story.now - 10.0]


@pytest.mark.parametrize(
    ("lull_s", "longer", "why"),
    [
        (100, True, "lulls are short: it is worth waiting for their end, also where one lasts"),
        (9000, False, "lulls last for hours: it does not wait for their end"),
    ],
)
def test_lulls_teach_how_long_to_keep_it(lull_s: int, longer: bool, why: str) -> None:
    story = Sparse(sparse())
    story.busy(30)
    untaught = story.kept_for()
    for _ in range(15):
        story.busy(20)
        story.period_s = lull_s / 10
        for _ in range(10):
            story.line(0.0)
        story.period_s = 10.0
    story.busy(20)

    taught = story.kept_for()

    assert (taught > 1.3 * untaught) if longer else (taught < 0.8 * untaught), why


def test_a_start_that_takes_longer_is_avoided_for_longer() -> None:
    kept = {}
    for takes_s in (COLD_S, 4 * COLD_S):
        story = Sparse(sparse(), takes_s=takes_s)
        for _ in range(6):
            story.busy(60)
            story.kept_for()
            story.now += 50_000.0
        story.busy(60)
        kept[takes_s] = story.kept_for()

    assert kept[4 * COLD_S] > 2 * kept[COLD_S], "four times the guess was measured"


@pytest.mark.parametrize(("idle_s", "kept"), [(60.0, 60.0), (2000.0, 2000.0), (0.0, 0.0)])
def test_what_the_file_says_wins_over_what_was_learned(idle_s: float, kept: float) -> None:
    story = Sparse(sparse(idle_s=idle_s))
    story.busy(30)

    assert story.kept_for() == pytest.approx(kept, abs=20.0)


def test_where_zero_is_not_allowed_no_lulls_are_kept() -> None:
    story = Sparse(sparse(min=1))
    story.busy(10)

    story.kept_for(most_s=2000.0)

    assert story.wanted == 1
    memory = story.known.memories[story.service.name]
    assert (memory.lull, memory.lulls) == (None, ())


def test_an_outage_of_signals_is_no_lull() -> None:
    story = Sparse(sparse())
    story.busy(30)
    for _ in range(1000):
        story.line(None, None)

    after = story.line(0.0)
    kept = story.kept_for()

    assert after >= 1
    assert kept >= RESTART_WEIGHT * COLD_S - 20.0, "the time in which nothing was known does not count"
    assert all(length_s < 1000.0 for _, length_s in story.known.memories[story.service.name].lulls)


def test_at_zero_an_outage_starts_nothing() -> None:
    story = Sparse(sparse())
    story.busy(30)
    story.kept_for()

    for _ in range(10):
        assert story.line(None, None) == 0
    assert story.line(0.0) == 0


def test_the_lulls_kept_are_bounded_and_what_the_rule_is_asked_with() -> None:
    service, memory, now = sparse(), Memory(busy_at=0.0), 0.0
    for index in range(LULLS_KEPT + 50):
        for seen in (NOTHING, replace(NOTHING, low=1.0, high=1.0)):
            now += 20.0 + index
            memory = noted(service, Inputs(at=now, load=seen, current=1, ready=1), seen, memory)
    began_at = now
    memory = noted(service, Inputs(at=now + 2.0, load=NOTHING, current=1, ready=1), NOTHING, memory)

    assert len(memory.lulls) == LULLS_KEPT
    assert memory.lulls[-1] == (began_at - 2 * (20.0 + LULLS_KEPT + 49), 2 * (20.0 + LULLS_KEPT + 49))
    past = [IdleGap(began_at=began, length_s=length_s) for began, length_s in memory.lulls]
    expected = kept_s(past, began_at, restart_s=COLD_S, restart_weight=RESTART_WEIGHT, most_s=KEPT_MOST_S)
    assert memory.lull == (began_at, expected)


# laws

LOADS = st.one_of(
    st.none(),
    st.builds(
        lambda low, more, unknown, queue_known: Load(
            low=low, high=low + more * unknown, queued=0.0, oldest_wait_s=0.0, unknown=unknown, queue_known=queue_known
        ),
        st.sampled_from([0.0, 0.0, 0.0, 0.5, 7.0]),
        st.just(10.0),
        st.sampled_from([0, 0, 0, 1]),
        st.sampled_from([True, True, True, False]),
    ),
)
TICKS = st.lists(st.tuples(LOADS, st.sampled_from([2.0, 30.0, 400.0]), st.integers(0, 2)), min_size=1, max_size=40)
RULES = st.sampled_from(
    [
        sparse(),
        sparse(idle_s=0.0),
        sparse(idle_s=60.0),
        sparse(policy="target_concurrency", idle_s=0.0),
        sparse(policy="target_concurrency"),
    ]
)


@given(RULES, TICKS)
def test_never_to_zero_while_anything_is_there_or_unknown(
    service: Service, ticks: list[tuple[Load | None, float, int]]
) -> None:
    now, current = 1e9, 1
    intent, memory, quiet_since = Intent(service=service, revision="r1", changed_at=now), Memory(), now
    for load, after_s, unready in ticks:
        now += after_s
        ready = max(0, current - unready)
        flow = Flow(span_s=after_s, arrivals=None if load is None else load.low)
        inputs = Inputs(
            at=now, load=load, why_unknown="" if load else "silent", current=current, ready=ready, flow=flow
        )

        decision, memory = decide(intent, inputs, memory)

        clear = load is not None and load.high == 0 and load.queue_known
        if not clear:
            quiet_since = now
            assert decision.desired >= 1 or (current == 0 and (load is None or load.low == 0)), decision.reason
        if load is not None and load.low > 0:
            assert decision.desired >= 1, "the first request wakes it"
        if current and decision.desired == 0 and service.scaling.idle_s:
            assert now - quiet_since >= service.scaling.idle_s
        again = msgspec.json.decode(msgspec.json.encode(memory), type=Memory)
        assert again == memory, "a restart forgets nothing"
        current = decision.desired
