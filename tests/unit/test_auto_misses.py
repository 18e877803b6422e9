"""What waits show: one replica more where a settled fleet let requests wait, and nothing where it was only late."""

from fleetctl.decide.auto.misses import CALM_S, counted, waited
from fleetctl.model.learning import Misses

TICK_S = 10.0


class Story:
    """A service of some load, its replicas, and how long its requests wait."""

    def __init__(self, ready: int) -> None:
        self.misses, self.now, self.ready, self.ordered, self.level = Misses(), 0.0, ready, ready, float(ready)

    def goes_on(self, seconds: float, *, waited_s: float = 0.0, arrivals: float = 50.0) -> int:
        """The floor after so long."""
        for _ in range(round(seconds / TICK_S)):
            self.now += TICK_S
            self.misses = counted(
                self.misses,
                span_s=TICK_S,
                now=self.now,
                arrivals=arrivals,
                waited_s=waited_s,
                wait_s=5.0,
                allowed=0.01,
                ready=self.ready,
                ordered=self.ordered,
                level=self.level,
            )
        return self.misses.floor


def test_a_settled_fleet_that_lets_requests_wait_is_one_too_small() -> None:
    story = Story(ready=6)
    assert story.goes_on(1000.0) == 0

    assert story.goes_on(200.0, waited_s=8.0) == 7, "once, however long the same backlog lasts"

    story.ready = story.ordered = 7
    story.goes_on(100.0)
    assert story.goes_on(100.0, waited_s=8.0) == 8, "it begins again with one more: that was not enough either"


def test_few_misses_are_what_the_promise_allows() -> None:
    story = Story(ready=6)
    story.goes_on(7200.0)

    assert story.goes_on(10.0, waited_s=30.0) == 0


def test_who_is_on_the_way_was_late_and_not_too_few() -> None:
    story = Story(ready=6)
    story.goes_on(1000.0)
    story.ordered = 9

    assert story.goes_on(400.0, waited_s=60.0) == 0
    story.ready = 9
    assert story.goes_on(400.0, waited_s=60.0) == 0, "the backlog of before"


def test_another_load_forgets_it_and_time_tries_one_less() -> None:
    story = Story(ready=6)
    story.goes_on(1000.0)
    assert story.goes_on(100.0, waited_s=8.0) == 7

    assert story.goes_on(CALM_S + 100.0) == 6
    story.level = 3.0
    assert story.goes_on(100.0) == 0


def test_how_long_a_request_waits_is_told_by_who_leaves() -> None:
    assert waited(0.0, 5.0, 10.0, 3.0) == 0.0
    assert waited(20.0, 40.0, 10.0, 3.0) == 5.0
    assert waited(20.0, 0.0, 10.0, 3.0) == 10.0, "nobody left all the time"
    assert waited(20.0, None, 10.0, 40.0) == 5.0
