"""What several gateways and the controller say to each other through the store, SQLite and PostgreSQL alike."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fleetctl.errors import LeaseLost
from fleetctl.model.gateways import GatewayBeat, GatewayGrant
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Identity, KeyEntry, Route, Routes, Upstream
from fleetctl.model.signals import Histogram, QueueStats
from fleetctl.store import SqlStore, open_store
from tests.contract.test_store_contract import fence, postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]  # fixtures


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlStore]:
    url = str(tmp_path / "fleet.db") if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    with closing(open_store(url)) as opened:
        yield opened


def beat(name: str, incarnation: str, number: int) -> GatewayBeat:
    return GatewayBeat(
        name=name,
        incarnation=incarnation,
        address="10.0.0.1:8080",
        host="h",
        version="1",
        number=number,
        follows=3,
        queues=(
            QueueStats(
                at=1.0,
                service=ServiceName("chat"),
                queued=2,
                oldest_wait_s=0.5,
                in_flight=((ReplicaId("r"), 3),),
                arrived=9,
                completed=4,
                failed=0,
                ttft=Histogram(bounds_s=(1.0,), counts=(3.0, 1.0)),
            ),
        ),
    )


GRANT = GatewayGrant(name="a", incarnation="a/1", number=3, slots={ReplicaId("r"): 2}, held={ReplicaId("r"): 4})
ROUTES = Routes(
    fence=1,
    epoch="e",
    routes=(
        Route(
            service=ServiceName("chat"),
            models=("m",),
            upstreams=(Upstream(replica=ReplicaId("r"), address="10.0.0.2:80", slots=4),),
        ),
    ),
)


def test_beats_and_grants_come_back_as_they_were_said(store: SqlStore) -> None:
    store.join_gateway(beat("a", "a/1", 1))
    joined = store.gateway_orders("a", "a/1")
    store.put_grants([GRANT], over={}, routes=ROUTES, fence=fence(store))
    kept = store.beat_gateway(beat("a", "a/1", 2))

    orders = store.gateway_orders("a", "a/1")
    again = store.gateway_orders("a", "a/1", routes_number=orders.routes_number)
    beats, grants = store.gateways()

    assert (joined.holder, joined.grant, joined.routes) == ("a/1", None, None)
    assert kept
    assert (orders.holder, orders.grant, orders.routes) == ("a/1", GRANT, ROUTES)
    assert (again.grant, again.routes, again.routes_number) == (GRANT, None, orders.routes_number)
    assert beats == (beat("a", "a/1", 2),)
    assert grants == (GRANT,)


def test_new_routes_have_another_number(store: SqlStore) -> None:
    store.put_grants([], over={}, routes=ROUTES, fence=fence(store))
    first = store.gateway_orders("a", "a/1").routes_number
    store.put_grants([], over={}, routes=ROUTES, fence=fence(store))

    assert store.gateway_orders("a", "a/1", routes_number=first).routes == ROUTES


def test_who_may_enter_is_told_once(store: SqlStore) -> None:
    identity = Identity(required=True, keys=(KeyEntry(id="k", sha256="0" * 64, tenant="t"),))
    store.put_gateway_identity(identity, fence=fence(store))

    first = store.gateway_orders("a", "a/1")
    again = store.gateway_orders("a", "a/1", identity_number=first.identity_number)

    assert first.identity == identity
    assert (again.identity, again.identity_number) == (None, first.identity_number)


def test_who_joins_takes_the_name_and_the_one_before_hears_of_it(store: SqlStore) -> None:
    store.join_gateway(beat("a", "a/1", 7))
    store.join_gateway(beat("a", "a/2", 1))

    assert not store.beat_gateway(beat("a", "a/1", 8))
    assert store.gateway_orders("a", "a/1").holder == "a/2"
    assert store.gateways()[0] == (beat("a", "a/2", 1),)


def test_slots_are_taken_back_only_from_who_has_said_nothing_since(store: SqlStore) -> None:
    store.join_gateway(beat("a", "a/1", 7))
    store.put_grants([GRANT], over={}, routes=None, fence=fence(store))

    store.beat_gateway(beat("a", "a/1", 8))
    refused = store.put_grants([], over={"a/1": 7}, routes=ROUTES, fence=fence(store))
    there = store.gateway_orders("a", "a/1")
    taken = store.put_grants([], over={"a/1": 8}, routes=None, fence=fence(store))

    assert (refused, taken) == (False, True)
    assert there.grant == GRANT
    assert there.routes is None, "nothing of it was stored"
    assert store.gateways() == ((), ())
    assert not store.beat_gateway(beat("a", "a/1", 9))


def test_a_gateway_that_leaves_leaves_nothing(store: SqlStore) -> None:
    store.join_gateway(beat("a", "a/1", 1))
    store.put_grants([GRANT], over={}, routes=None, fence=fence(store))

    store.leave_gateway("a/1")

    assert store.gateways() == ((), ())


def test_a_controller_without_the_lease_grants_nothing(store: SqlStore) -> None:
    with pytest.raises(LeaseLost):
        store.put_grants([GRANT], over={}, routes=None, fence=fence(store) + 1)

    assert store.gateways() == ((), ())
