"""Each Tenant's limits: what is taken, what is given back, and what a refusal says."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fleetctl.errors import UsageError
from fleetctl.gateway.replies import Refusal
from fleetctl.gateway.scheduler.quotas import MONTH_RESERVED_WAIT_S, STAY_AT_FIRST_S, TENANTS_MAX, Quotas
from fleetctl.gateway.scheduler.ticket import Ticket
from fleetctl.gateway.scheduler.token_buckets import TokenBucket
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Identity, TenantEntry, TenantLimits, TenantUse

AT = datetime(2026, 11, 30, 23, 0, tzinfo=UTC).timestamp()
"""An hour before a month ends."""
HOUR = 3600.0


def ticket(tenant: str = "acme", *, tokens: int = 10, most: int = 0) -> Ticket:
    made = Ticket(ServiceName("chat"))
    made.tenant, made.input_tokens, made.output_tokens = tenant, tokens, most
    return made


def entry(name: str = "acme", **limits: float | None) -> TenantEntry:
    return TenantEntry(name=name, limits=TenantLimits(**limits))  # type: ignore[arg-type]


def quotas(*tenants: TenantEntry) -> Quotas:
    made = Quotas()
    made.identify(Identity(tenants=tenants), 0.0, AT)
    return made


def admitted(made: Quotas, *, now: float = 0.0, tokens: int = 10, most: int = 0) -> Ticket:
    one = ticket(tokens=tokens, most=most)
    assert made.admit(one, now) is None
    return one


def refused(made: Quotas, *, now: float = 0.0, tokens: int = 10, most: int = 0) -> Refusal:
    one = ticket(tokens=tokens, most=most)
    refusal = made.admit(one, now)
    assert refusal is not None
    assert refusal.status == 429
    assert one.held is None, "what is refused holds nothing"
    return refusal


# ---------------------------------------------------------------- in flight


def test_a_tenant_has_at_most_so_many_requests_waiting_or_running() -> None:
    made = quotas(entry(in_flight=2))
    first, second = admitted(made), admitted(made)
    made.dispatched(first, 1.0)

    refusal = refused(made, now=1.0)
    made.ended(second, 2.0)

    assert refusal.code == "tenant_in_flight"
    assert refusal.message == "Tenant acme may have 2 requests waiting or running at once, and has 2."
    admitted(made, now=2.0)
    assert made.in_flight("acme") == 2


def test_the_wait_for_a_place_is_told_from_how_long_requests_stay() -> None:
    made = quotas(entry(in_flight=1))
    at_first = refused_after(made, stays_s=STAY_AT_FIRST_S)
    for _ in range(200):
        one = admitted(made)
        made.ended(one, 30.0)

    assert at_first == 1
    assert refused_after(made, stays_s=30.0) == 30


def refused_after(made: Quotas, *, stays_s: float) -> int | None:
    one = admitted(made)
    refusal = refused(made)
    made.ended(one, stays_s)
    return refusal.retry_after_s


def test_what_ends_twice_is_given_back_once() -> None:
    made = quotas(entry(in_flight=2))
    one, _ = admitted(made), admitted(made)

    made.ended(one, 1.0)
    made.ended(one, 1.0)

    assert made.in_flight("acme") == 1


# ---------------------------------------------------------------- requests per minute


def test_a_minutes_worth_of_requests_may_come_at_once_and_then_only_at_the_rate() -> None:
    made = quotas(entry(requests_per_minute=60))
    for _ in range(60):
        made.dispatched(admitted(made), 0.0)

    refusal = refused(made, now=0.5)

    assert refusal.code == "tenant_requests"
    assert refusal.message == "Tenant acme may send 60 requests per minute, and has."
    assert refusal.retry_after_s == 1
    admitted(made, now=1.0)
    refused(made, now=1.0)


def test_a_rate_below_one_a_minute_still_lets_one_through() -> None:
    made = quotas(entry(requests_per_minute=0.5))
    admitted(made)

    refusal = refused(made)

    assert refusal.retry_after_s == 120
    admitted(made, now=120.0)


@pytest.mark.parametrize("dispatched", [False, True])
def test_only_what_was_dispatched_costs_a_request(dispatched: bool) -> None:
    made = quotas(entry(requests_per_minute=1))
    one = admitted(made)
    if dispatched:
        made.dispatched(one, 0.0)

    made.ended(one, 0.0)

    assert (made.admit(ticket(), 0.0) is None) is not dispatched


def test_one_that_its_replica_returned_and_that_was_then_cancelled_costs_nothing() -> None:
    made = quotas(entry(requests_per_minute=1, tokens_per_minute=10))
    one = admitted(made)
    made.dispatched(one, 0.0)
    made.returned(one, 0.0)

    made.ended(one, 0.0)

    admitted(made)
    assert made.used() == ()


# ---------------------------------------------------------------- tokens per minute


def test_tokens_are_reserved_by_the_estimate_and_settled_by_what_was_used() -> None:
    made = quotas(entry(tokens_per_minute=600))
    one = admitted(made, tokens=100, most=400)
    made.dispatched(one, 0.0)

    while_it_runs = refused(made, tokens=101)
    made.ended(one, 0.0, 90, 10)

    assert while_it_runs.code == "tenant_tokens"
    assert while_it_runs.retry_after_s == 1
    assert "600 tokens per minute" in while_it_runs.message
    admitted(made, tokens=500)
    refused(made, tokens=1)


def test_what_was_used_beyond_the_estimate_is_owed() -> None:
    made = quotas(entry(tokens_per_minute=60))
    one = admitted(made, tokens=60)
    made.dispatched(one, 0.0)
    made.ended(one, 0.0, 60, 60)

    refusal = refused(made, tokens=1)

    assert refusal.retry_after_s == 61
    refused(made, now=60.0, tokens=1)
    admitted(made, now=61.0, tokens=1)


def test_a_request_larger_than_the_limit_waits_for_all_of_it_and_then_goes() -> None:
    made = quotas(entry(tokens_per_minute=60))
    made.dispatched(admitted(made, tokens=30), 0.0)

    refusal = refused(made, tokens=1000)

    assert refusal.retry_after_s == 30
    admitted(made, now=30.0, tokens=1000)


@pytest.mark.parametrize(
    ("answered", "counted", "cost"),
    [
        pytest.param(True, (0, 0), 20, id="the engine did not say: the prompt's estimate"),
        pytest.param(True, (7, 5), 12, id="as the engine counted"),
        pytest.param(False, (0, 0), 0, id="a replica failed it: nothing"),
        pytest.param(False, (7, 0), 7, id="a replica failed it after it had counted"),
    ],
)
def test_what_an_end_costs(answered: bool, counted: tuple[int, int], cost: int) -> None:
    made = quotas(entry(tokens_per_minute=60))
    one = admitted(made, tokens=20, most=30)
    made.dispatched(one, 0.0)

    made.ended(one, 0.0, *counted, answered=answered)

    assert sum(use.tokens for use in made.used()) == cost
    admitted(made, tokens=60 - cost)
    refused(made, tokens=1)


def test_of_two_limits_the_one_that_lasts_longer_is_told() -> None:
    made = quotas(entry(requests_per_minute=1, tokens_per_minute=60))
    made.dispatched(admitted(made, tokens=60), 0.0)

    requests_last_longer = refused(made, tokens=10)
    tokens_last_as_long = refused(made, tokens=60)

    assert (requests_last_longer.code, requests_last_longer.retry_after_s) == ("tenant_requests", 60)
    assert (tokens_last_as_long.code, tokens_last_as_long.retry_after_s) == ("tenant_tokens", 60)


# ---------------------------------------------------------------- the month


def test_a_month_that_is_used_up_is_over_until_the_next_one() -> None:
    made = quotas(entry(tokens_per_month=100))
    one = admitted(made, tokens=100)
    made.dispatched(one, 0.0)
    made.ended(one, 0.0, 60, 40)

    refusal = refused(made, now=600.0)

    assert (refusal.code, refusal.retry_after_s) == ("tenant_month", HOUR - 600.0)
    assert "used its 100 tokens of 2026-11 (100 by now)" in refusal.message
    refused(made, now=HOUR - 1.0)
    admitted(made, now=HOUR)


def test_what_runs_may_use_the_month_up_so_others_wait_a_moment() -> None:
    made = quotas(entry(tokens_per_month=100))
    one = admitted(made, tokens=10, most=80)
    made.dispatched(one, 0.0)

    refusal = refused(made, tokens=11)
    made.ended(one, 1.0, 10, 5)

    assert (refusal.code, refusal.retry_after_s) == ("tenant_month", MONTH_RESERVED_WAIT_S)
    admitted(made, now=1.0, tokens=85)


def test_the_last_request_of_a_month_may_be_larger_than_what_is_left() -> None:
    made = quotas(entry(tokens_per_month=100))

    admitted(made, tokens=10_000)


def test_the_store_knows_what_earlier_gateways_counted_and_this_one_goes_on_from_there() -> None:
    made = Quotas()
    used = TenantEntry(name="acme", limits=TenantLimits(tokens_per_month=100), tokens_used=70, month="2026-11")
    made.identify(Identity(tenants=(used,)), 0.0, AT)
    one = admitted(made, tokens=30)
    made.dispatched(one, 0.0)
    made.ended(one, 0.0, 30, 0)

    # an Identity that does not know of these 30 yet takes nothing back, and last month's says nothing of this one
    made.identify(Identity(tenants=(used,)), 1.0, AT + 1.0)

    assert refused(made, now=1.0).code == "tenant_month"
    assert made.used() == (TenantUse(tenant="acme", month="2026-11", tokens=30),)
    made.identify(Identity(tenants=(used,)), HOUR, AT + HOUR)
    admitted(made, now=HOUR)


def test_what_is_used_is_told_by_month_also_after_it_has_ended() -> None:
    made = quotas(entry())
    for now, tokens in ((0.0, 5), (HOUR + 1.0, 7)):
        one = admitted(made, now=now)
        made.dispatched(one, now)
        made.ended(one, now, tokens, 0)

    assert made.used() == (
        TenantUse(tenant="acme", month="2026-11", tokens=5),
        TenantUse(tenant="acme", month="2026-12", tokens=7),
    )


def test_a_clock_that_was_set_moves_the_end_of_the_month() -> None:
    made = quotas(entry(tokens_per_month=1))
    one = admitted(made, tokens=1)
    made.dispatched(one, 0.0)
    made.ended(one, 0.0, 1, 0)

    made.set_clock(10.0, AT - 90.0)

    assert refused(made, now=10.0).retry_after_s == HOUR + 90.0


# ---------------------------------------------------------------- who is known


def test_a_request_of_nobody_has_no_limits_and_holds_nothing() -> None:
    made = quotas(entry(in_flight=1))
    for name in ("", "unheard-of"):
        one = ticket(name)
        assert made.admit(one, 0.0) is None
        made.dispatched(one, 0.0)
        made.ended(one, 0.0, 5, 5)
        assert one.held is None

    assert made.used() == ()


def test_tenants_that_stay_keep_what_they_have_taken_and_get_their_new_limits() -> None:
    made = quotas(entry(in_flight=1, requests_per_minute=1))
    one = admitted(made)
    made.dispatched(one, 0.0)

    made.identify(Identity(tenants=(entry(in_flight=2, requests_per_minute=3),)), 0.0, AT)

    second = admitted(made)
    assert refused(made).code == "tenant_in_flight"
    made.ended(second, 0.0)
    made.ended(one, 0.0)
    admitted(made)
    admitted(made)


def test_a_limit_that_is_set_later_does_not_ask_for_what_was_used_before() -> None:
    made = quotas(entry())
    one = admitted(made, tokens=1000)
    made.dispatched(one, 0.0)
    made.identify(Identity(tenants=(entry(requests_per_minute=1, tokens_per_minute=60),)), 0.0, AT)

    made.ended(one, 0.0, 1000, 1000)

    admitted(made, tokens=60)


def test_a_tenant_that_left_and_came_back_finds_its_running_requests_and_its_count() -> None:
    made = quotas(entry(in_flight=2))
    one = admitted(made)
    made.dispatched(one, 0.0)
    made.identify(Identity(), 1.0, AT + 1.0)
    assert made.admit(ticket(), 1.0) is None, "it is known no more, so it has no limit"

    made.identify(Identity(tenants=(entry(in_flight=1),)), 2.0, AT + 2.0)

    assert made.in_flight("acme") == 2
    made.ended(one, 2.0, 3, 4)
    assert made.used() == (TenantUse(tenant="acme", month="2026-11", tokens=7),)


def test_the_tenants_are_bounded_and_too_many_change_nothing() -> None:
    made = quotas(entry(in_flight=1))
    many = tuple(entry(f"t{number}") for number in range(TENANTS_MAX + 1))

    with pytest.raises(UsageError, match="10001 tenants are more than the 10000"):
        made.identify(Identity(tenants=many), 0.0, AT)

    admitted(made)
    refused(made)


# ---------------------------------------------------------------- laws

AMOUNTS = st.integers(0, 400)


class Life(RuleBasedStateMachine):
    """Against a model that knows every request: what is taken is exactly what those in flight and the past explain."""

    LIMIT = 5
    PER_MINUTE = 600

    def __init__(self) -> None:
        super().__init__()
        self.made = quotas(entry(in_flight=self.LIMIT, tokens_per_minute=self.PER_MINUTE))
        self.now = 0.0
        self.waiting: list[Ticket] = []
        self.running: list[Ticket] = []
        self.over: list[Ticket] = []
        self.paid = 0
        self.level = float(self.PER_MINUTE)

    def give(self, amount: float) -> None:
        self.level = min(self.PER_MINUTE, self.level + amount)

    @rule(tokens=AMOUNTS, most=AMOUNTS)
    def ask(self, tokens: int, most: int) -> None:
        one = ticket(tokens=tokens, most=most)
        full = len(self.waiting) + len(self.running) >= self.LIMIT
        short = self.level + 1e-6 < min(tokens + most, self.PER_MINUTE)

        refusal = self.made.admit(one, self.now)

        assert (refusal is None) is not (full or short)
        if refusal is None:
            self.waiting.append(one)
            self.level -= tokens + most
        elif short:
            assert refusal.code == "tenant_tokens"
            assert refusal.retry_after_s is not None
            missing = min(tokens + most, self.PER_MINUTE) - self.level
            assert refusal.retry_after_s - 1 <= missing / (self.PER_MINUTE / 60) <= refusal.retry_after_s + 1e-6
        else:
            assert refusal.code == "tenant_in_flight"

    @rule(seconds=st.floats(0.0, 30.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.give(seconds * self.PER_MINUTE / 60)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def dispatch(self, data: st.DataObject) -> None:
        one = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
        self.running.append(one)
        self.made.dispatched(one, self.now)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def come_back(self, data: st.DataObject) -> None:
        one = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        self.waiting.append(one)
        self.made.returned(one, self.now)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), counted=AMOUNTS)
    def cancel(self, data: st.DataObject, counted: int) -> None:
        one = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
        self.made.ended(one, self.now, counted, 0)
        self.over.append(one)
        self.give(one.input_tokens + one.output_tokens)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), read=AMOUNTS, made=AMOUNTS, answered=st.booleans())
    def finish(self, data: st.DataObject, read: int, made: int, answered: bool) -> None:
        one = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        self.made.ended(one, self.now, read, made, answered=answered)
        self.over.append(one)
        cost = read + made or (one.input_tokens if answered else 0)
        self.paid += cost
        self.give(one.input_tokens + one.output_tokens - cost)

    @precondition(lambda self: self.over)
    @rule(data=st.data())
    def end_again(self, data: st.DataObject) -> None:
        one = self.over[data.draw(st.integers(0, len(self.over) - 1))]
        self.made.dispatched(one, self.now)
        self.made.ended(one, self.now, 50, 50)

    @invariant()
    def what_is_taken_is_explained(self) -> None:
        assert self.made.in_flight("acme") == len(self.waiting) + len(self.running)
        assert sum(use.tokens for use in self.made.used()) == self.paid


TestLife = Life.TestCase


@given(per_minute=st.floats(0.1, 1e6), taken=st.lists(st.floats(0.0, 1e6), max_size=20), amount=st.floats(0.0, 1e6))
def test_the_wait_that_is_told_suffices(per_minute: float, taken: list[float], amount: float) -> None:
    bucket = TokenBucket(per_minute, least=1.0, now=0.0)
    for one in taken:
        bucket.take(one, 0.0)

    wait_s = bucket.wait_s(amount, 0.0)

    assert bucket.wait_s(amount, wait_s * (1 + 1e-9) + 1e-6) == 0.0
    assert bucket.level <= bucket.burst


def test_a_bucket_into_which_nothing_flows_is_never_full_again() -> None:
    bucket = TokenBucket(0.0, least=1.0, now=0.0)
    bucket.take(1.0, 0.0)

    assert bucket.wait_s(1.0, 1e9) == float("inf")
    assert refused_for_ever() is None


def refused_for_ever() -> int | None:
    made = quotas(entry(requests_per_minute=0))
    made.dispatched(admitted(made), 0.0)
    return refused(made).retry_after_s
