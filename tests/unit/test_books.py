"""Costs as they are told: sums by what is asked for, unknown prices and tokens, and the days to come."""

import pytest
from fleet_world import NO_STANDBY, START, World, a_service, an_offer, scaled

from fleetctl.model.history import Interval
from fleetctl.model.ledger import Account, Amount, Use
from fleetctl.model.names import PoolName
from fleetctl.model.services import Gpu, Pool, Schedule
from fleetctl.model.snapshots import State
from fleetctl.views.books import SHARED, TOTAL, book_lines, forecast_lines, now_lines
from fleetctl.views.fleet import FleetView, view_of
from fleetctl.views.token_counts import TokenCount, tokens_of


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
    counts = {"chat": TokenCount(tokens=9e6, requests=90.0), "draw": TokenCount(tokens=1e6, requests=10.0)}

    chat, draw, shared, total = book_lines(BOOK, "service", counts)

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


COUNTED = Interval(
    t_from=0.0, t_to=1.0, arrivals=1.0, input_tokens=9.0, output_tokens=9.0, read_tokens=5.0, written_tokens=7.0
)
OLDER = Interval(t_from=1.0, t_to=2.0, arrivals=1.0, input_tokens=4.0, output_tokens=6.0)
NOT_COUNTED = Interval(t_from=2.0, t_to=3.0, arrivals=2.0)


@pytest.mark.parametrize(
    ("intervals", "tokens", "whole", "why"),
    [
        ([COUNTED, COUNTED], 24.0, True, "what engines counted, not what is thought to have been asked for"),
        ([COUNTED, OLDER], 22.0, True, "an older fleetctl kept only what was asked for"),
        ([COUNTED, NOT_COUNTED], 12.0, False, "the first prompts may come before the first tokens are told"),
        ([NOT_COUNTED], None, False, "nobody counts"),
        ([], None, True, "nothing came"),
        ([Interval(t_from=0.0, t_to=1.0, arrivals=0.0)], None, True, "nor here"),
    ],
)
def test_tokens_are_those_that_were_counted(
    intervals: list[Interval], tokens: float | None, whole: bool, why: str
) -> None:
    found = tokens_of(intervals)

    assert (found.tokens, found.whole) == (tokens, whole), why


@pytest.mark.parametrize(
    ("count", "price", "says"),
    [
        (tokens_of([COUNTED]), 18.0 / 12.0 * 1e6, ""),
        (tokens_of([COUNTED, NOT_COUNTED]), 18.0 / 12.0 * 1e6, "for 2 of 3 requests to chat: a million cost at most"),
        (tokens_of([NOT_COUNTED]), None, "nobody counts the tokens of chat"),
        (tokens_of([]), None, "no request came to chat"),
    ],
)
def test_a_price_of_tokens_that_is_not_known_says_why(count: TokenCount, price: float | None, says: str) -> None:
    chat, draw, *_ = book_lines(BOOK, "service", {"chat": count})

    assert chat.dollars_per_million_tokens == price
    assert chat.at_most is ("at most" in says)
    assert says in chat.note if says else chat.note == ""
    assert "the price of draw is not known" in draw.note


def test_tokens_of_a_pool_are_those_of_its_services_and_of_a_split_service_nobodys() -> None:
    here = Account(service="chat", pool="gpus", provider="aws", market="spot", use=Use.SERVING)
    there = Account(service="chat", pool="gpus", provider="gcp", market="spot", use=Use.SERVING)
    book = [Amount(hour=1, account=one, gpu_s=3600.0, dollars=3.0, unpriced_gpu_s=0.0) for one in (here, there)]
    counts = {"chat": TokenCount(tokens=2e6, requests=4.0)}

    pool, total = book_lines(book, "pool", counts)
    aws, gcp, _ = book_lines(book, "provider", counts)

    assert (pool.dollars_per_million_tokens, total.dollars_per_million_tokens) == (3.0, 3.0)
    assert (aws.tokens, gcp.tokens) == (None, None)
    assert aws.note == "tokens are counted by service, and chat was served by more than aws"


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
