"""Orders and the ledger in every store: what is asked is kept until its subject is no more, nothing counts twice."""

import pytest
from test_store_contract import fence, postgres_server, postgres_url, store, url  # noqa: F401 - fixtures

from fleetctl.errors import LeaseLost
from fleetctl.model.decisions import Plan
from fleetctl.model.ledger import Account, Amount, Spent, Use
from fleetctl.model.names import ReplicaId
from fleetctl.model.orders import Order, Wish
from fleetctl.store.retention import Retention
from fleetctl.store.sqlstore import SqlStore

NOON = 1_700_000_000.0 - 1_700_000_000.0 % 3600.0
HOUR = int(NOON // 3600.0)
CHAT = Account(service="chat", pool="gpus", provider="aws", market="spot", use=Use.SERVING)
DRAW = Account(service="draw", pool="gpus", provider="aws", market="spot", use=Use.STANDBY)


def spent(since: float | None, until: float, *amounts: Amount) -> Spent:
    return Spent(since=since, until=until, amounts=amounts)


def amount(gpu_s: float, account: Account = CHAT, hour: int = HOUR) -> Amount:
    return Amount(hour=hour, account=account, gpu_s=gpu_s, dollars=gpu_s / 1000.0, unpriced_gpu_s=gpu_s / 2.0)


def commit(into: SqlStore, newest: int, one: Spent | None, **plan: object) -> None:
    into.commit(Plan(at=NOON, **plan), fence=newest, journal=b"", spent=one)  # type: ignore[arg-type]


def test_amounts_of_one_hour_add_up(store: SqlStore) -> None:  # noqa: F811
    newest = fence(store)
    commit(store, newest, spent(None, NOON))

    commit(store, newest, spent(NOON, NOON + 10.0, amount(10.0), amount(4.0, DRAW)))
    commit(store, newest, spent(NOON + 10.0, NOON + 20.0, amount(20.0)))

    found = store.ledger(since=NOON, until=NOON + 1.0)
    assert {one.account: (one.gpu_s, round(one.dollars, 9), one.unpriced_gpu_s) for one in found} == {
        CHAT: (30.0, 0.03, 15.0),
        DRAW: (4.0, 0.004, 2.0),
    }
    assert store.load().counted_until == NOON + 20.0


def test_what_does_not_join_the_book_is_not_taken(store: SqlStore) -> None:  # noqa: F811
    newest = fence(store)
    commit(store, newest, spent(None, NOON))
    commit(store, newest, spent(NOON, NOON + 10.0, amount(10.0)))

    commit(store, newest, spent(NOON, NOON + 10.0, amount(10.0)))
    commit(store, newest, spent(None, NOON + 50.0, amount(10.0)))

    assert [one.gpu_s for one in store.ledger(since=NOON, until=NOON + 1.0)] == [10.0]
    assert store.load().counted_until == NOON + 10.0


def test_who_has_lost_the_lease_writes_nothing_into_the_book(store: SqlStore) -> None:  # noqa: F811
    newest = fence(store)

    with pytest.raises(LeaseLost):
        commit(store, newest - 1, spent(None, NOON, amount(10.0)))

    assert store.load().counted_until is None
    assert not store.ledger(since=0.0, until=NOON * 2)


def test_hours_are_asked_for_by_time_and_forgotten_by_age(store: SqlStore) -> None:  # noqa: F811
    newest = fence(store)
    keep_s = Retention().ledger_age_s
    old = HOUR - int(keep_s // 3600.0) - 5
    commit(store, newest, spent(None, NOON, amount(1.0, hour=HOUR - 2), amount(2.0, hour=HOUR), amount(3.0, hour=old)))

    def hours(since: float, until: float) -> list[float]:
        return [one.gpu_s for one in store.ledger(since=since, until=until)]

    assert hours(NOON - 7200.0, NOON + 1.0) == [1.0, 2.0]
    assert hours(NOON - 7100.0, NOON) == [1.0]
    assert hours(NOON - 3600.0, NOON + 3600.0) == [2.0]
    for _ in range(64):
        commit(store, newest, None)
    assert not hours(0.0, NOON - keep_s)


def test_orders_hold_until_they_are_taken_back_or_their_subject_is_gone(store: SqlStore) -> None:  # noqa: F811
    newest = fence(store)
    before = store.intents_version()
    store.put_order(Order(subject="pool/gpus", wish=Wish.CORDON, at=1.0))
    store.put_order(Order(subject="pool/gpus", wish=Wish.DRAIN, at=2.0))
    store.put_order(Order(subject="replica/chat-1", wish=Wish.STOP, at=3.0))
    assert store.intents_version() > before

    commit(store, newest, None, removed_replicas=(ReplicaId("chat-1"),))

    assert store.orders() == (Order(subject="pool/gpus", wish=Wish.DRAIN, at=2.0),)
    assert store.drop_order("pool/gpus")
    assert not store.drop_order("pool/gpus")
    assert store.orders() == ()
