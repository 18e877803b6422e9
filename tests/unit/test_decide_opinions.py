"""Several signals and one policy: up on any, down only when all agree, unknown ones hold; and who is named for it."""

from dataclasses import replace

import pytest
from fleet_world import START, a_service, scaled

from fleetctl.decide.counterfactuals import counterfactuals
from fleetctl.decide.scaling import decide
from fleetctl.model.decisions import Decision, Inputs, Memory
from fleetctl.model.outside import Signal
from fleetctl.model.services import Service
from fleetctl.model.signals import Flow, Histogram, Load, OutsideReading, Utilization
from fleetctl.model.snapshots import Intent
from fleetctl.store.documents import decode, encode

ORDERS = Signal(name="orders", target=10.0, command=("count-orders",))
DELAY = Signal(name="delay", target=2.0, per="service", command=("measure-delay",))
BUSY = Signal(name="gpu_utilization", policy="gpu_utilization")
QUEUE = Signal(name="queue_depth", policy="queue_depth")


def service(*signals: Signal, **scaling: object) -> Service:
    calm: dict[str, object] = {
        "policy": "target_concurrency",
        "max": 30,
        "window_s": 10.0,
        "panic_threshold": 1000.0,
        "tolerance": 0.0,
        "scale_down_delay_s": 0.0,
        "idle_s": 0.0,
        **scaling,
    }
    return replace(scaled(a_service(), **calm), signals=signals)


def read(name: str, value: float | None, *, why: str = "", at: float = START) -> OutsideReading:
    return OutsideReading(name=name, value=value, why_unknown=why, at=at)


def decided(
    of: Service,
    load: float | None,
    *outside: OutsideReading,
    current: int = 5,
    ready: int | None = None,
    share: float | None = None,
    at: float = START,
    memory: Memory | None = None,
) -> Decision:
    seen = None if load is None else Load(low=load, high=load, queued=0.0, oldest_wait_s=0.0, unknown=0)
    inputs = Inputs(
        at=at,
        load=seen,
        why_unknown="nobody answers" if seen is None else "",
        current=current,
        ready=current if ready is None else ready,
        outside=outside,
        utilization=None if share is None else Utilization(low=share, high=share),
    )
    intent = Intent(service=of, revision="r", changed_at=START - 1e6)
    return decide(intent, inputs, memory or Memory())[0]


@pytest.mark.parametrize(
    ("load", "orders", "desired", "binding", "says", "why"),
    [
        (50.0, 90.0, 9, "orders", "orders 90 ÷ 10 a replica = 9", "up on any"),
        (80.0, 60.0, 8, "target_concurrency", "= 8", "the one that wants most binds"),
        (20.0, 40.0, 4, "orders", "= 4", "down only as far as both agree"),
        (40.0, 20.0, 4, "target_concurrency", "= 4", "whichever of them wants more"),
        (20.0, 50.0, 5, "orders", "= 5", "one that wants what is there keeps it"),
        (0.0, 0.0, 0, "target_concurrency", "= 0", "nothing anywhere"),
        (0.0, 1.0, 1, "orders", "= 1", "and one order keeps one"),
    ],
)
def test_the_largest_wish_counts_and_is_named(
    load: float, orders: float, desired: int, binding: str, says: str, why: str
) -> None:
    decision = decided(service(ORDERS), load, read("orders", orders))

    assert (decision.desired, decision.binding) == (desired, binding), why
    assert says in decision.reason


@pytest.mark.parametrize(
    ("reading", "says"),
    [
        ((), "it was not read yet"),
        ((read("orders", None, why="HTTP 500 from http://shop/queue"),), "HTTP 500 from http://shop/queue"),
        ((read("orders", float("nan")),), "nan is no amount"),
        ((read("orders", float("inf")),), "inf is no amount"),
        ((read("orders", -1.0),), "-1 is no amount"),
        ((read("orders", 0.0, at=START - 61.0),), "measured 61 s ago, and max_age is 60 s"),
        ((read("odrers", 0.0),), "it was not read yet"),
    ],
)
def test_an_unknown_signal_holds_what_is_there_and_says_why(reading: tuple[OutsideReading, ...], says: str) -> None:
    down = decided(service(ORDERS), 10.0, *reading)
    up = decided(service(ORDERS), 90.0, *reading)

    assert (down.desired, down.binding) == (5, "orders")
    assert "hold: orders is unknown" in down.reason
    assert says in down.reason
    assert (up.desired, up.binding) == (9, "target_concurrency")
    assert up.trouble == (
        "" if says.endswith("yet") else f"orders is unknown, so nothing is taken away: {down_why(down)}"
    )


def down_why(decision: Decision) -> str:
    """What the hold says of the reason."""
    return decision.reason.partition("(")[2].partition("), so")[0]


def test_a_decision_with_all_that_it_was_made_from_can_be_stored() -> None:
    of = service(ORDERS, BUSY)
    made = decided(of, 20.0, read("orders", 90.0), share=0.5)
    assert made.inputs is not None
    taken = Histogram(bounds_s=(1.0, 5.0), counts=(1.0, 0.0, 2.0))
    made = replace(made, inputs=replace(made.inputs, flow=Flow(ttft=taken), fullest=4.0))

    assert decode(Decision, encode(made)) == made


def test_a_signal_may_raise_while_the_load_is_unknown_and_never_lower() -> None:
    more = decided(service(ORDERS), None, read("orders", 90.0))
    less = decided(service(ORDERS), None, read("orders", 10.0))

    assert (more.desired, more.binding) == (9, "orders")
    assert (less.desired, less.binding) == (5, "signal")


def test_what_is_on_its_way_is_part_of_the_count_that_a_signal_wants() -> None:
    assert decided(service(ORDERS), 0.0, read("orders", 90.0), current=9, ready=2).desired == 9


@pytest.mark.parametrize(
    ("delay", "current", "ready", "desired", "why"),
    [
        (2.0, 5, 5, 5, "as aimed at"),
        (3.0, 5, 5, 8, "half as many again, rounded up"),
        (60.0, 5, 5, 10, "at most twice what is ready"),
        (60.0, 10, 5, 10, "which are on their way already"),
        (1.0, 5, 5, 3, "half of it, rounded up"),
        (0.0, 5, 5, 1, "nothing of it; the load keeps one"),
        (3.0, 0, 0, 1, "from zero"),
    ],
)
def test_a_value_that_does_not_add_up_goes_by_its_ratio(
    delay: float, current: int, ready: int, desired: int, why: str
) -> None:
    decision = decided(service(DELAY), 1.0, read("delay", delay), current=current, ready=ready)

    assert decision.desired == desired, why


@pytest.mark.parametrize(
    ("load", "share", "desired", "binding", "why"),
    [
        (20.0, 0.1, 2, "target_concurrency", "idle GPUs agree"),
        (20.0, 0.7, 5, "gpu_utilization", "busy ones do not"),
        (20.0, 0.5, 4, "gpu_utilization", "half busy ones agree to a part of it"),
        (20.0, None, 5, "gpu_utilization", "unknown ones hold"),
        (50.0, 1.0, 5, "target_concurrency", "they raise nothing by themselves"),
        (80.0, 0.0, 8, "target_concurrency", "and hold nobody back from rising"),
    ],
)
def test_utilisation_only_confirms(load: float, share: float | None, desired: int, binding: str, why: str) -> None:
    decision = decided(service(BUSY), load, share=share)

    assert (decision.desired, decision.binding) == (desired, binding), why


def test_a_further_policy_is_a_signal_too() -> None:
    load = Load(low=90.0, high=90.0, queued=60.0, oldest_wait_s=0.0, unknown=0)
    inputs = Inputs(at=START, load=load, current=3, ready=3)
    of = service(QUEUE, policy="fixed", replicas=3)

    decision, _ = decide(Intent(service=of, revision="r", changed_at=START - 1e6), inputs, Memory())

    assert (decision.desired, decision.binding) == (6, "queue_depth")
    assert [note.stage for note in decision.stages][:3] == ["signal", "fixed", "queue_depth"]


def test_every_signal_is_told_and_without_it_there_is_another_count() -> None:
    of = service(ORDERS, DELAY)
    decision = decided(of, 20.0, read("orders", 90.0), read("delay", 2.0))
    intent = Intent(service=of, revision="r", changed_at=START - 1e6)
    assert decision.inputs is not None

    without = counterfactuals(intent, decision.inputs, Memory())

    told = {note.stage: note.note for note in decision.stages}
    assert told["orders"] == "orders 90 ÷ 10 a replica = 9"
    assert told["delay"] == "5: delay 2, 2 is aimed at: within the tolerance"
    assert {one.without: one.desired for one in without}["the signal orders"] == 5


def test_down_waits_out_the_delay_after_a_signal_too() -> None:
    of = service(ORDERS, scale_down_delay_s=60.0)
    intent = Intent(service=of, revision="r", changed_at=START - 1e6)
    memory, current = Memory(), 5
    desired = {}
    for second in range(0, 120, 2):
        at = START + second
        load = Load(low=10.0, high=10.0, queued=0.0, oldest_wait_s=0.0, unknown=0)
        orders = read("orders", 80.0 if second < 20 else 0.0, at=at)
        inputs = Inputs(at=at, load=load, current=current, ready=current, outside=(orders,))
        decision, memory = decide(intent, inputs, memory)
        current = desired[second] = decision.desired

    assert desired[0] == 8
    assert desired[70] == 8
    assert desired[118] == 1


def test_under_auto_a_signal_is_followed_down_only_after_a_while() -> None:
    of = service(ORDERS, policy="auto", min=1)
    intent = Intent(service=of, revision="r", changed_at=START - 1e6)
    memory, current, desired = Memory(), 1, {}
    for second in range(0, 400, 2):
        at = START + second
        load = Load(low=1.0, high=1.0, queued=0.0, oldest_wait_s=0.0, unknown=0)
        orders = read("orders", 90.0 if second < 20 else 40.0, at=at)
        inputs = Inputs(at=at, load=load, current=current, ready=current, outside=(orders,))
        decision, memory = decide(intent, inputs, memory)
        current = desired[second] = decision.desired

    assert (desired[0], desired[300], desired[398]) == (9, 9, 4)


def test_orders_keep_a_service_from_zero_until_idle_has_passed() -> None:
    of = service(ORDERS, min=0, idle_s=60.0)
    busy = decided(of, 0.0, read("orders", 1.0), current=1)
    intent = Intent(service=of, revision="r", changed_at=START - 1e6)
    load = Load(low=0.0, high=0.0, queued=0.0, oldest_wait_s=0.0, unknown=0)
    memory = Memory()
    counts = []
    for second, orders in ((0, 1.0), (30, 0.0), (100, 0.0)):
        at = START + second
        inputs = Inputs(at=at, load=load, current=1, ready=1, outside=(read("orders", orders, at=at),))
        decision, memory = decide(intent, inputs, memory)
        counts.append(decision.desired)

    assert busy.desired == 1
    assert counts == [1, 1, 0]
