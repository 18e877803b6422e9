"""The policies, told as Knative's autoscaler tests are: a load, a moment, what is wanted then."""

from dataclasses import replace

import pytest
from fleet_world import START, a_service, scaled

from fleetctl.decide.policies import View, Wish, policy, policy_names
from fleetctl.decide.windows import push
from fleetctl.errors import UsageError
from fleetctl.model.decisions import Inputs, Memory
from fleetctl.model.services import Service
from fleetctl.model.signals import Load


class Story:
    """One policy, the time, and what it remembers."""

    def __init__(self, service: Service, *, current: int = 0, policy_name: str = "target_concurrency") -> None:
        self.service = service
        self.current = current
        self.now = START
        self.memory = Memory()
        self.name = policy_name

    def wish(self, load: float) -> Wish:
        """What is wanted now, at this load."""
        keep_s = max(self.service.scaling.window_s, self.service.scaling.panic_window_s)
        self.memory = replace(self.memory, load=push(self.memory.load, self.now, load, keep_s=keep_s))
        seen = Load(low=load, high=load, queued=0, oldest_wait_s=0.0, unknown=0)
        inputs = Inputs(at=self.now, load=seen, current=self.current, ready=self.current)
        wish = policy(self.name)(View(service=self.service, inputs=inputs, load=seen, memory=self.memory))
        self.memory = wish.memory
        return wish

    def hold(self, load: float, seconds: float) -> Wish:
        """The same load on every tick of two seconds; the last wish."""
        wish = self.wish(load)
        for _ in range(int(seconds // 2)):
            self.now += 2.0
            wish = self.wish(load)
        return wish


def service(**scaling: object) -> Service:
    """Ten requests a replica, a window of 60 s, a panic window of 6 s."""
    return scaled(
        a_service(),
        **{"target": 1.0, "window_s": 60.0, "panic_window_s": 6.0, "panic_threshold": 2.0, "tolerance": 0.1, **scaling},
    )


def test_a_steady_load_wants_load_divided_by_target() -> None:
    story = Story(service(), current=5)

    assert story.hold(50.0, 120.0).replicas == 5


def test_the_target_is_a_share_of_the_concurrency() -> None:
    story = Story(service(target=0.7, tolerance=0.0), current=5)

    assert story.hold(50.0, 120.0).replicas == 8  # 50 ÷ 7, rounded up


def test_a_slow_rise_is_followed_by_the_average_of_the_window() -> None:
    story = Story(service(), current=5)
    story.hold(50.0, 60.0)

    halfway = story.hold(80.0, 30.0)
    after = story.hold(80.0, 60.0)

    assert halfway.replicas == 7  # half a window at 50, half at 80
    assert after.replicas == 8


def test_one_short_spike_does_not_move_a_long_window() -> None:
    story = Story(service(panic_threshold=10.0), current=5)
    story.hold(50.0, 60.0)

    spike = story.hold(100.0, 2.0)
    later = story.hold(50.0, 60.0)

    assert spike.replicas == 5
    assert later.replicas == 5


def test_a_load_that_doubles_within_the_panic_window_panics() -> None:
    story = Story(service(), current=5)
    story.hold(50.0, 60.0)

    calm = story.hold(100.0, 2.0)  # averaged over six seconds it is not yet twice as much
    panic = story.hold(100.0, 4.0)

    assert calm.replicas == 5
    assert panic.replicas == 10
    assert "panic" in panic.reason


def test_in_panic_nothing_goes_down_until_a_whole_window_has_passed() -> None:
    story = Story(service(), current=5)
    story.hold(50.0, 60.0)
    assert story.hold(100.0, 6.0).replicas == 10
    story.current = 10

    during = story.hold(10.0, 50.0)
    after = story.hold(10.0, 62.0)

    assert during.replicas == 10
    assert after.replicas == 1


def test_in_panic_the_count_follows_a_load_that_goes_on_growing() -> None:
    story = Story(service(), current=5)
    story.hold(50.0, 60.0)
    story.hold(100.0, 6.0)
    story.current = 10

    assert story.hold(150.0, 6.0).replicas == 15


def test_replicas_on_their_way_count_so_that_panic_does_not_order_twice() -> None:
    story = Story(service(), current=5)
    story.hold(50.0, 60.0)
    story.hold(100.0, 6.0)
    until = story.memory.panic_until
    story.current = 10  # ordered, none of the five ready

    story.hold(100.0, 20.0)

    assert story.memory.panic_until == until  # the panic is not renewed


def test_a_panic_survives_a_restart_because_it_is_remembered() -> None:
    story = Story(service(), current=5)
    story.hold(50.0, 60.0)
    story.hold(100.0, 6.0)
    restarted = Story(service(), current=10)
    restarted.now, restarted.memory = story.now + 2.0, story.memory

    assert restarted.wish(0.0).replicas == 10


def test_from_zero_the_first_requests_want_what_they_need_at_once() -> None:
    story = Story(service())

    assert story.wish(25.0).replicas == 3


@pytest.mark.parametrize(
    ("load", "expected", "why"),
    [
        (54.0, 5, "8 % over what five are meant to carry"),
        (45.5, 5, "9 % under"),
        (56.0, 6, "12 % over"),
        (39.0, 4, "22 % under"),
    ],
)
def test_within_the_tolerance_nothing_changes(load: float, expected: int, why: str) -> None:
    story = Story(service(), current=5)

    assert story.hold(load, 120.0).replicas == expected, why


def test_no_load_wants_nothing() -> None:
    story = Story(service(), current=5)

    assert story.hold(0.0, 120.0).replicas == 0


@pytest.mark.parametrize(
    ("replicas", "least", "expected", "why"),
    [(3, 0, 3, "as stated"), (None, 2, 2, "nothing stated: min"), (0, 2, 0, "min is for the limits to enforce")],
)
def test_fixed_is_whatever_was_stated(replicas: int | None, least: int, expected: int, why: str) -> None:
    story = Story(service(replicas=replicas, min=least), policy_name="fixed")

    assert story.wish(1000.0).replicas == expected, why


def test_a_policy_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(UsageError) as raised:
        policy("crystal_ball")

    assert "target_concurrency" in raised.value.hint
    assert set(policy_names()) >= {"fixed", "target_concurrency"}
