"""What time and money are counted under, and that each moment is counted once whatever clocks and controllers do."""

from dataclasses import replace

import pytest
from fleet_world import NO_STANDBY, World, a_service, an_offer, scaled
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.controller.ledger import GAP_MOST_S, HOUR_S, KEEP_EVERY_S, Ledger
from fleetctl.decide.uses import rates
from fleetctl.model.ledger import Account, Rate, Spent, Use
from fleetctl.model.names import PoolName
from fleetctl.model.services import Gpu, Pool, Service, Standby, Tier

NOON = 1_700_000_000.0 - 1_700_000_000.0 % HOUR_S
ACCOUNT = Account(service="chat", pool="chat", provider="cloud", market="on_demand", use=Use.SERVING)
TWO = (Rate(account=ACCOUNT, gpus=2.0, dollars_per_hour=6.0, unpriced_gpus=0.0),)


class Book:
    """What a store does with what it is given."""

    def __init__(self) -> None:
        self.until: float | None = None
        self.gpu_s: dict[int, float] = {}
        self.dollars = 0.0

    def take(self, ledger: Ledger, spent: Spent | None) -> None:
        if spent is None:
            return
        if spent.since == self.until:
            self.until = spent.until
            for one in spent.amounts:
                assert one.gpu_s >= 0
                self.gpu_s[one.hour] = self.gpu_s.get(one.hour, 0.0) + one.gpu_s
                self.dollars += one.dollars
        ledger.kept(spent)

    @property
    def seconds(self) -> float:
        return sum(self.gpu_s.values()) / 2.0


def run(book: Book, ledger: Ledger, *times: float) -> None:
    for now in times:
        book.take(ledger, ledger.add(now, TWO))


def test_every_second_is_counted_and_written_down_now_and_then() -> None:
    book, ledger = Book(), Ledger()
    written = []

    for second in range(61):
        spent = ledger.add(NOON + second, TWO)
        written += [] if spent is None else [second]
        book.take(ledger, spent)

    assert book.seconds == 60.0
    assert book.dollars == pytest.approx(6.0 / 60)
    assert len(written) <= 2 + 60 / KEEP_EVERY_S


def test_an_interval_over_the_hour_is_counted_in_both() -> None:
    book, ledger = Book(), Ledger()

    run(book, ledger, NOON - 30.0, NOON + 90.0)

    hour = int(NOON // HOUR_S)
    assert book.gpu_s == {hour - 1: 60.0, hour: 180.0}


def test_the_next_controller_goes_on_where_the_book_ends() -> None:
    book, first = Book(), Ledger()
    run(book, first, NOON, NOON + 20.0)
    first.add(NOON + 25.0, TWO)  # not written down when it crashes

    run(book, Ledger(book.until), NOON + 100.0)

    assert book.seconds == 100.0


def test_a_commit_that_failed_is_counted_with_the_next() -> None:
    book, ledger = Book(), Ledger()
    run(book, ledger, NOON)
    assert ledger.add(NOON + 20.0, TWO) is not None  # and the store refused

    run(book, ledger, NOON + 40.0)

    assert book.seconds == 40.0


def test_one_that_was_displaced_adds_nothing() -> None:
    book, old = Book(), Ledger()
    run(book, old, NOON)
    run(book, Ledger(book.until), NOON + 60.0)

    late = old.add(NOON + 61.0, TWO)
    book.take(old, late)

    assert book.seconds == 60.0


def test_a_clock_that_is_set_back_counts_nothing_until_it_has_caught_up() -> None:
    book, ledger = Book(), Ledger()

    run(book, ledger, NOON, NOON + 100.0, NOON + 40.0, NOON + 90.0, NOON + 130.0)

    assert book.seconds == 130.0


@pytest.mark.parametrize("leap_s", [GAP_MOST_S + 90.0, -GAP_MOST_S - 1.0])
def test_a_clock_that_leaps_counts_nothing_of_the_leap(leap_s: float) -> None:
    book, ledger = Book(), Ledger()

    run(book, ledger, NOON, NOON + 60.0, NOON + leap_s, NOON + leap_s + 60.0)

    assert book.seconds == 120.0


@given(
    st.lists(st.floats(min_value=-3 * 86_400.0, max_value=3 * 86_400.0, allow_nan=False), min_size=1, max_size=30),
    st.lists(st.booleans(), min_size=30, max_size=30),
)
def test_whatever_the_clock_does_nothing_is_negative_or_counted_twice(steps: list[float], crashes: list[bool]) -> None:
    book, ledger = Book(), Ledger()
    now = first = most = NOON
    run(book, ledger, now)

    for step, crash in zip(steps, crashes, strict=False):
        now = max(NOON - GAP_MOST_S / 2, min(NOON + GAP_MOST_S / 2, now + step))
        most = max(most, now)
        if crash:
            ledger = Ledger(book.until)
        run(book, ledger, now)

    assert book.seconds <= most - first + 1e-6
    assert all(gpu_s <= 2 * HOUR_S + 1e-6 for gpu_s in book.gpu_s.values())


# what it is counted under


def held_at(count: int, **changes: object) -> Service:
    service = scaled(a_service(), min=count, max=count + 2, policy="fixed", replicas=count)
    return replace(service, **changes)  # type: ignore[arg-type]


def by_use(world: World) -> dict[tuple[str, Use], float]:
    return {(one.account.service, one.account.use): one.gpus for one in rates(world.snapshot())}


def test_a_cold_start_then_work_then_nothing_to_do() -> None:
    world = World(held_at(1))
    world.run(10.0)
    assert by_use(world) == {("chat", Use.STARTING): 1.0}

    world.load(4)
    world.until(lambda: bool(world.ready()))
    world.run(20.0)
    assert by_use(world) == {("chat", Use.SERVING): 1.0}

    world.load(0)
    world.run(20.0)
    assert by_use(world) == {("chat", Use.IDLE): 1.0}


def test_a_load_that_is_unknown_is_no_idleness() -> None:
    world = World(held_at(1))
    world.settle()

    world.unreadable = True

    assert by_use(world) == {("chat", Use.SERVING): 1.0}


def test_warm_standby_is_told_from_idle_gpus_and_shared_ones_are_nobodys() -> None:
    pool = Pool(
        name=PoolName("gpus"), gpu=(Gpu(name="L40S", count=4),), standby=Standby(tier=Tier.WARM, slots=1), max=4
    )
    one = replace(held_at(1, standby=None), pool=pool.name)
    other = replace(scaled(a_service("draw"), min=0), pool=pool.name, standby=None)
    world = World(one, other, pools=(pool,), offers=(an_offer(gpus=4, price=8.0),))
    world.run(200.0)

    found = {(r.account.service, r.account.use): (r.gpus, r.dollars_per_hour) for r in rates(world.snapshot())}

    assert found[("", Use.STANDBY)] == (1.0, 2.0)
    assert found[("", Use.IDLE)] == (2.0, 4.0)
    assert sum(gpus for gpus, _ in found.values()) == 4.0


def test_hot_standby_is_standby() -> None:
    world = World(held_at(1, standby=Standby(tier=Tier.HOT, slots=1)))
    world.until(lambda: sum(gpus for (_, use), gpus in by_use(world).items() if use is Use.STANDBY) == 1.0)

    assert by_use(world)[("chat", Use.STANDBY)] == 1.0


def test_an_unknown_price_is_unknown_and_not_zero() -> None:
    world = World(held_at(1, standby=NO_STANDBY), offers=(an_offer(price=None),))
    world.settle()

    (rate,) = rates(world.snapshot())

    assert (rate.gpus, rate.dollars_per_hour, rate.unpriced_gpus) == (1.0, 0.0, 1.0)
