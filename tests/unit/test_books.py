"""Costs as they are told: sums by what is asked for, unknown prices and tokens, and the days to come."""

import pytest
from fleet_world import NO_STANDBY, START, World, a_service, an_offer, scaled

from fleetctl.model.history import Interval
from fleetctl.model.ledger import Account, Amount, Use
from fleetctl.model.names import PoolName
from fleetctl.model.services import Gpu, Pool, Schedule
from fleetctl.model.snapshots import State
from fleetctl.views.books import SHARED, TOTAL, book_lines, forecast_lines, now_lines, tokens_of
from fleetctl.views.fleet import FleetView, view_of


def an_amount(service: str, use: Use, hours: float, dollars: float, *, unpriced: float = 0.0) -> Amount:
    account = Account(service=service, pool="gpus", provider="aws", market="spot", use=use)
    return Amount(hour=1, account=account, gpu_s=hours * 3600, dollars=dollars, unpriced_gpu_s=unpriced * 3600)


def a_view(world: World) -> FleetView:
    snapshot = world.snapshot()
    state = State(instances=world.instances, replicas=world.replicas, memories=world.memories, counters={}, places={})
    decisions = {one.service: one for one in world.plan.decisions}
    wanted = (snapshot.intents, snapshot.pools)
    return view_of(wanted, state, decisions, None, listen="127.0.0.1:1", now=world.now)


BOOK = (
    an_amount("chat", Use.SERVING, 8.0, 16.0),
    an_amount("chat", Use.STARTING, 1.0, 2.0),
    an_amount("draw", Use.IDLE, 2.0, 0.0, unpriced=2.0),
    an_amount("", Use.STANDBY, 3.0, 6.0),
)


def test_a_report_by_service_ends_with_the_total() -> None:
    chat, draw, shared, total = book_lines(BOOK, "service", {"chat": 9e6, "draw": 1e6})

    assert (chat.name, chat.gpu_hours, chat.serving, chat.starting, chat.dollars) == ("chat", 9.0, 8.0, 1.0, 18.0)
    assert chat.dollars_per_million_tokens == pytest.approx(2.0)
    assert (draw.unpriced_gpu_hours, draw.dollars_per_million_tokens) == (2.0, None)
    assert (shared.name, shared.standby) == (SHARED, 3.0)
    assert (total.name, total.gpu_hours, total.dollars, total.unpriced_gpu_hours) == (TOTAL, 14.0, 24.0, 2.0)
    assert total.tokens == 1e7


@pytest.mark.parametrize(("by", "name"), [("pool", "gpus"), ("provider", "aws"), ("market", "spot")])
def test_a_report_by_anything_else(by: str, name: str) -> None:
    lines = book_lines(BOOK, by, {})  # type: ignore[arg-type]

    assert [one.name for one in lines] == [name, TOTAL]
    assert {one.dollars for one in lines} == {24.0}


def test_nothing_counted_is_no_line() -> None:
    assert book_lines((), "service", {}) == []


def test_tokens_that_were_not_counted_everywhere_are_unknown() -> None:
    counted = Interval(t_from=0.0, t_to=1.0, arrivals=1.0, input_tokens=5.0, output_tokens=7.0)
    not_counted = Interval(t_from=1.0, t_to=2.0, arrivals=1.0)

    assert tokens_of([counted, counted]) == 24.0
    assert tokens_of([counted, not_counted]) is None
    assert tokens_of([]) is None


def test_what_is_billed_now_by_machine_and_by_service() -> None:
    pool = Pool(name=PoolName("gpus"), gpu=(Gpu(name="L40S", count=4),), standby=NO_STANDBY)
    service = scaled(a_service(pool=pool.name), min=1, policy="fixed", replicas=1)
    world = World(service, pools=(pool,), offers=(an_offer(gpus=4, price=8.0),))
    world.settle()

    (machine,) = now_lines(a_view(world), None)
    chat, shared = now_lines(a_view(world), "service")

    assert (machine.price_per_hour, machine.price_source, machine.machines) == (8.0, "test", 1)
    assert machine.price_age_s == world.now - START
    assert (chat.name, chat.price_per_hour) == ("chat", 2.0)
    assert (shared.name, shared.price_per_hour) == (SHARED, 6.0)


def test_an_unknown_price_makes_the_line_unknown() -> None:
    world = World(scaled(a_service(), min=1, policy="fixed", replicas=1), offers=(an_offer(price=None),))
    world.settle()

    (line,) = now_lines(a_view(world), "pool")

    assert line.price_per_hour is None


def test_a_forecast_counts_the_hours_of_schedules() -> None:
    schedule = (Schedule(cron="0 8 * * *", duration_s=6 * 3600.0, min=4),)
    service = scaled(a_service(schedule=schedule), min=1, max=8, policy="fixed", replicas=1)
    world = World(service, offers=(an_offer(price=2.0),))
    world.run(100.0)
    world.now = START - START % 86_400.0 + 86_400.0
    world.settle()

    chat, total = forecast_lines(a_view(world))

    assert (chat.per_hour, chat.day, chat.month) == (2.0, 48.0, 1440.0)
    assert chat.day_by_schedule == pytest.approx(2.0 * (18 + 6 * 4))
    assert chat.month_by_schedule == pytest.approx(30 * 2.0 * (18 + 6 * 4))
    assert chat.most_month == 8 * 1440.0
    assert total.month == 1440.0


def test_a_forecast_of_an_unknown_price_is_unknown() -> None:
    world = World(scaled(a_service(), min=1, policy="fixed", replicas=1), offers=(an_offer(price=None),))
    world.settle()

    lines = forecast_lines(a_view(world))

    assert lines[0].month is None
    assert lines[-1].month is None
