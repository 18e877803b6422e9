"""Other autoscalers' rules give the numbers that their published formulas give."""

from collections.abc import Sequence
from itertools import pairwise

import pytest

from fleetctl.decide.lines import ServiceLine, Signals, Starting
from fleetctl.sim.peers import PEERS, Capacity, aibrix, hpa, keda
from fleetctl.sim.peers.aibrix import Aibrix
from fleetctl.sim.peers.dynamo import Dynamo
from fleetctl.sim.peers.hpa import Hpa
from fleetctl.sim.peers.keda import Keda
from fleetctl.sim.peers.knative import Knative
from fleetctl.sim.peers.ray_serve import RayServe
from fleetctl.sim.peers.skyserve import SkyServe
from fleetctl.sim.scalers import Scaler

TICK_S = 5.0


def seen(
    *, ready: int, starting: int = 0, concurrency: float | None = None, queue: float = 0.0, arrivals: int = 0
) -> ServiceLine:
    known = Signals() if concurrency is None else Signals(concurrency=concurrency, queue=queue, arrivals=arrivals)
    return ServiceLine(
        name="chat",
        ready=ready,
        starting=tuple(Starting(age_s=1.0) for _ in range(starting)),
        draining=0,
        standby=0,
        signals=known,
    )


class Life:
    """A scaler in a world where whatever it orders is ready at the next tick, or never."""

    def __init__(self, scaler: Scaler, *, ready: int, boots: bool = True) -> None:
        self._scaler, self._ready, self._boots, self._starting = scaler, ready, boots, 0
        self.now = 0.0

    def live(self, seconds: float, **signals: float) -> list[int]:
        wishes = []
        for _ in range(round(seconds / TICK_S)):
            one = seen(ready=self._ready, starting=self._starting, **signals)  # type: ignore[arg-type] # by name
            wanted = self._scaler.observe(self.now, one).desired
            wishes.append(wanted)
            if self._boots or wanted < self._ready:
                self._ready, self._starting = wanted, 0
            else:
                self._starting = wanted - self._ready
            self.now += TICK_S
        return wishes


@pytest.mark.parametrize(
    ("current", "ready", "unready", "load", "wanted", "why"),
    [
        (4, 4, 0, 40.0, 4, "on target"),
        (4, 4, 0, 43.9, 4, "within the tolerance of 0.1"),
        (4, 4, 0, 45.0, 5, "ceil(1.125 · 4)"),
        (4, 4, 0, 36.1, 4, "within it below, too"),
        (4, 4, 0, 20.0, 2, "half"),
        (8, 4, 4, 80.0, 8, "unready ones count as 0 above the target: 80 / 8 is on it"),
        (8, 4, 4, 60.0, 8, "and they turn the direction: no change"),
        (8, 4, 4, 120.0, 12, "ceil(1.5 · 8)"),
        (8, 4, 4, 20.0, 2, "below the target they are left out: ceil(0.5 · 4)"),
        (3, 0, 3, 90.0, 3, "nobody reports: no change"),
    ],
)
def test_hpa_recommends(current: int, ready: int, unready: int, load: float, wanted: int, why: str) -> None:
    found = hpa.recommend(current=current, ready=ready, unready=unready, load=load, target=10.0)

    assert found == wanted, why


def test_hpa_goes_up_by_the_larger_of_four_and_double_in_fifteen_seconds() -> None:
    life = Life(Hpa(target=1.0), ready=1)

    wishes = life.live(60, concurrency=1000.0)

    # A sync each fifteen seconds, nothing in between.
    assert sorted(set(wishes)) == [5, 10, 20, 40]


def test_hpa_goes_down_by_the_largest_of_five_minutes() -> None:
    life = Life(Hpa(target=1.0), ready=8)
    life.live(65, concurrency=8.0)  # up to a sync

    wishes = life.live(400, concurrency=2.0)

    first = next(place for place, wish in enumerate(wishes) if wish == 2)
    assert set(wishes[:first]) == {8}
    assert 280 <= first * TICK_S <= 320


@pytest.mark.parametrize(
    ("current", "load", "wanted"),
    [(0, 3.0, 1), (0, 25.0, 3), (3, 32.9, 3), (3, 33.1, 4), (3, 27.5, 3), (3, 20.0, 2), (3, 0.0, 0)],
)
def test_keda_recommends_by_the_total(current: int, load: float, wanted: int) -> None:
    assert keda.recommend(current=current, load=load, target=10.0) == wanted


def test_keda_goes_to_zero_after_its_cooldown_and_wakes_within_a_poll() -> None:
    life = Life(Keda(target=10.0), ready=1)
    life.live(60, concurrency=5.0)

    asleep = life.live(400, concurrency=0.0)
    awake = life.live(35, concurrency=1.0)

    first = next(place for place, wish in enumerate(asleep) if wish == 0)
    assert 270 <= first * TICK_S <= 330
    assert awake[-1] == 1


def test_knative_wants_the_mean_of_a_minute_over_its_target() -> None:
    life = Life(Knative(target=7.0, start=1), ready=1)

    wishes = life.live(120, concurrency=10.0)

    assert wishes[-1] == 2


def test_knative_panics_at_twice_what_is_ready_and_does_not_come_down_in_panic() -> None:
    life = Life(Knative(target=10.0, start=1), ready=1, boots=False)
    life.live(60, concurrency=10.0)

    burst = life.live(10, concurrency=45.0)
    after = life.live(40, concurrency=5.0)
    later = life.live(70, concurrency=5.0)

    assert burst[-1] == 5
    assert set(after) == {5}
    assert later[-1] == 1


def test_knative_comes_down_by_half_at_most_and_starts_in_panic() -> None:
    life = Life(Knative(target=10.0, start=16), ready=16)

    wishes = life.live(100, concurrency=10.0)

    assert set(wishes[:12]) == {16}
    assert [wish for place, wish in enumerate(wishes) if place and wish != wishes[place - 1]] == [8, 4, 2, 1]


def test_ray_waits_thirty_seconds_up_and_ten_minutes_down() -> None:
    life = Life(RayServe(target=2.0), ready=1)

    up = life.live(60, concurrency=8.0)
    down = life.live(700, concurrency=2.0)

    assert up.index(4) * TICK_S == 30.0
    assert 600.0 <= down.index(1) * TICK_S <= 640.0


def test_ray_starts_its_delay_anew_at_any_other_tick() -> None:
    life = Life(RayServe(target=2.0), ready=1)
    life.live(5, concurrency=8.0)

    # The mean falls to the target within the delay, and rises again.
    calm = life.live(60, concurrency=0.0)
    again = life.live(55, concurrency=8.0)

    assert set(calm) == {1}
    assert again.index(4) * TICK_S > 30.0


def test_skyserve_takes_fifteen_decisions_up_and_sixty_down() -> None:
    life = Life(SkyServe(target=1.0, start=1), ready=1)

    up = life.live(400, concurrency=1.0, arrivals=20)
    down = life.live(1400, concurrency=1.0, arrivals=5)

    assert 280.0 <= up.index(4) * TICK_S <= 320.0
    assert 1180.0 <= down.index(1) * TICK_S <= 1280.0


def test_skyserve_forgets_its_count_at_one_other_sample() -> None:
    life = Life(SkyServe(target=1.0, start=1), ready=1)
    life.live(240, concurrency=1.0, arrivals=20)
    life.live(60, concurrency=1.0, arrivals=0)

    wishes = life.live(280, concurrency=1.0, arrivals=20)

    assert set(wishes) == {1}


@pytest.mark.parametrize(
    ("current", "average", "wanted", "why"),
    [
        (4, 10.0, 4, "on target"),
        (4, 10.9, 4, "within the tolerance"),
        (4, 12.0, 5, "ceil(4 · 1.2)"),
        (4, 90.0, 8, "at most double"),
        (4, 8.0, 4, "ceil(4 · 0.8)"),
        (4, 1.0, 2, "at most half"),
    ],
)
def test_aibrix_recommends(current: int, average: float, wanted: int, why: str) -> None:
    assert aibrix.recommend(current=current, average=average, target=10.0) == wanted, why


def test_aibrix_orders_the_same_load_again_while_pods_boot() -> None:
    life = Life(Aibrix(target=10.0), ready=1, boots=False)

    wishes = life.live(60, concurrency=20.0)

    # aibrix#2670: what it ordered reports nothing yet, and the average of the one that does stays twice the target.
    assert wishes[-1] >= 16


def test_dynamo_follows_the_rate_each_three_minutes_and_the_queue_one_by_one() -> None:
    life = Life(Dynamo(target=1.0), ready=1)

    calm = life.live(175, concurrency=1.0, arrivals=5)
    waiting = life.live(60, concurrency=50.0, queue=20.0, arrivals=5)
    busy = life.live(400, concurrency=1.0, arrivals=30)

    assert set(calm) == {1}
    assert all(later - earlier in (0, 1) for earlier, later in pairwise(waiting))
    assert waiting[-1] > 1
    assert busy[-1] == 6


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_holds_what_it_has_while_nothing_is_known(name: str) -> None:
    peer = PEERS[name]
    scaler = peer.make(Capacity(concurrency=16, requests_per_s=2.0), peer.shares[0], 3)

    wishes: Sequence[int] = Life(scaler, ready=3).live(120)

    # SkyServe and Dynamo count requests, and none reported is none to them.
    assert set(wishes) == {3} or name in ("skyserve", "dynamo")
