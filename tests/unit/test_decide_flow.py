"""What came in between two readings of the counters, and what `auto` makes of a stream that was broken off."""

import pytest
from fleet_world import START, a_service, scaled

from fleetctl.decide.flow import measured
from fleetctl.decide.load import measure
from fleetctl.decide.scaling import decide
from fleetctl.model.decisions import Decision, Inputs, Memory
from fleetctl.model.names import ReplicaId
from fleetctl.model.replicas import Replica, ReplicaPhase
from fleetctl.model.services import Service
from fleetctl.model.signals import Flow, Load, QueueStats, Reading, Tally
from fleetctl.model.snapshots import Intent

SERVICE = scaled(a_service(), policy="auto", min=1, scale_down_delay_s=0.0)
TICK_S = 2.0
REPLICA = Replica(id=ReplicaId("r0"), service=SERVICE.name, revision="1", phase=ReplicaPhase.READY, created_at=0.0)


class Served:
    """One replica behind a gateway: counters that requests move, and a tick that reads them."""

    def __init__(self) -> None:
        self.now = START
        self.arrived = self.completed = self.in_flight = self.queued = 0
        self.prompts = self.outputs = self.ended = 0.0
        self.tally: Tally | None = None

    def come(self, requests: int, tokens: float) -> None:
        """Requests that are read at once and under way from now."""
        self.arrived += requests
        self.in_flight += requests
        self.prompts += tokens
        self.outputs += requests

    def end(self, requests: int) -> None:
        self.in_flight -= requests
        self.completed += requests
        self.ended += requests

    def break_off(self) -> None:
        """The client of one goes away: nobody counts it as completed."""
        self.in_flight -= 1

    def look(self) -> tuple[Flow, Load]:
        self.now += TICK_S
        readings = {
            REPLICA.id: Reading(
                at=self.now,
                running=self.in_flight,
                waiting=0.0,
                input_tokens=self.prompts,
                output_tokens=self.outputs,
                completed=self.ended,
            )
        }
        queue = QueueStats(
            at=self.now,
            service=SERVICE.name,
            queued=self.queued,
            oldest_wait_s=0.0,
            in_flight=((REPLICA.id, self.in_flight),),
            arrived=self.arrived,
            completed=self.completed,
            failed=0,
        )
        load = measure(SERVICE, [REPLICA], readings, queue, self.now)
        assert isinstance(load, Load)
        flow, self.tally = measured(self.tally, [REPLICA], readings, queue, load, self.now)
        return flow, load


class Scaled:
    """The Service's decisions over what is served."""

    def __init__(self, service: Service = SERVICE) -> None:
        self.served = Served()
        self.intent = Intent(service=service, revision="1", changed_at=START)
        self.memory = Memory()

    def hold(self, seconds: float) -> Decision:
        """The last decision after that long without anything new."""
        made = self._decided()
        for _ in range(int(seconds / TICK_S) - 1):
            made = self._decided()
        return made

    def _decided(self) -> Decision:
        flow, load = self.served.look()
        inputs = Inputs(at=self.served.now, load=load, current=1, ready=1, flow=flow)
        made, self.memory = decide(self.intent, inputs, self.memory)
        return made


def test_who_does_not_come_asks_for_nothing_however_long_prompts_are() -> None:
    served = Served()
    served.look()
    served.come(1, 300.0)

    broken, _ = served.look()
    served.break_off()
    quiet, _ = served.look()

    assert (broken.arrivals, broken.input_tokens) == (1, None), "no prompt's length is known yet"
    assert (quiet.arrivals, quiet.input_tokens) == (0, 0.0)


def test_prompts_are_as_long_as_those_that_ended() -> None:
    served = Served()
    served.look()
    served.come(2, 600.0)
    served.end(2)
    served.look()
    served.come(3, 0.0)

    flow, _ = served.look()

    assert (flow.arrivals, flow.input_tokens) == (3, 900.0)


def test_a_first_stream_that_was_broken_off_does_not_hold_the_service_for_ever() -> None:
    scaled_by_auto = Scaled()
    scaled_by_auto.hold(10.0)
    scaled_by_auto.served.come(1, 300.0)
    scaled_by_auto.hold(4.0)
    scaled_by_auto.served.break_off()

    after = scaled_by_auto.hold(20.0)

    assert "unknown" not in after.reason
    assert after.binding != "auto/signal"


@pytest.mark.parametrize("batches", [1, 12])
def test_until_a_prompts_length_is_known_a_usual_one_is_taken(batches: int) -> None:
    scaled_by_auto = Scaled()
    scaled_by_auto.hold(4.0)
    for _ in range(batches):
        scaled_by_auto.served.come(10, 3000.0)
        made = scaled_by_auto.hold(2.0)
    learning = scaled_by_auto.memory.learning

    assert "unknown" not in made.reason
    assert learning is not None
    assert learning.tokens_known
    assert not learning.prompts_known


def test_what_is_known_of_prompts_is_not_made_up_again() -> None:
    scaled_by_auto = Scaled()
    scaled_by_auto.hold(4.0)
    scaled_by_auto.served.come(10, 3000.0)
    scaled_by_auto.served.end(10)
    scaled_by_auto.hold(6.0)
    learning = scaled_by_auto.memory.learning
    flow = Flow(span_s=TICK_S, arrivals=4.0, output_tokens=4.0, completed=0.0)
    load = Load(low=4.0, high=4.0, queued=0.0, oldest_wait_s=0.0, unknown=0)

    for place in range(4):
        at = scaled_by_auto.served.now + TICK_S * (place + 1)
        inputs = Inputs(at=at, load=load, current=1, ready=1, flow=flow)
        made, scaled_by_auto.memory = decide(scaled_by_auto.intent, inputs, scaled_by_auto.memory)

    assert learning is not None
    assert learning.prompts_known
    assert made.reason.startswith("hold: the number of input tokens is unknown")


def test_a_gateway_that_counts_tokens_speaks_for_engines_that_say_nothing_of_them() -> None:
    def look(at: float, arrived: int, tokens: float | None, before: Tally | None) -> tuple[Flow, Tally]:
        queue = QueueStats(
            at=at,
            service=SERVICE.name,
            queued=0,
            oldest_wait_s=0.0,
            in_flight=(),
            arrived=arrived,
            completed=arrived,
            failed=0,
            input_tokens=tokens,
            output_tokens=None if tokens is None else 2 * tokens,
        )
        readings = {REPLICA.id: Reading(at=at, running=0, waiting=0)}
        load = measure(SERVICE, [REPLICA], readings, queue, at)
        return measured(before, [REPLICA], readings, queue, load, at)

    _, first = look(START, 0, 100.0, None)
    flow, _ = look(START + TICK_S, 10, 600.0, first)
    unknown, _ = look(START + TICK_S, 10, None, first)

    assert (flow.input_tokens, flow.output_tokens) == (500.0, 1000.0)
    assert (unknown.input_tokens, unknown.output_tokens) == (None, None)
