"""What `ps`, `describe` and `doctor` say of gateways that have joined."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fleetctl.cli.fleet_gateways import gateway_checks, gateway_lines, told
from fleetctl.model.gateways import GatewayBeat, GatewayGrant
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.replicas import Replica, ReplicaPhase
from fleetctl.model.signals import QueueStats
from fleetctl.store import SqlStore, open_store

CHAT, CODE = ServiceName("chat"), ServiceName("code")
NOW = 1000.0


def replica(name: str, service: ServiceName, address: str) -> Replica:
    return Replica(
        id=ReplicaId(name),
        service=service,
        revision="1",
        phase=ReplicaPhase.READY,
        created_at=0.0,
        address=address,
    )


REPLICAS = [replica("r", CHAT, "10.0.0.9:80"), replica("c", CODE, "127.0.0.1:4001")]


def queue(service: ServiceName, replica: str, running: int, *, at: float) -> QueueStats:
    return QueueStats(
        at=at,
        service=service,
        queued=1,
        oldest_wait_s=0.0,
        in_flight=((ReplicaId(replica), running),),
        arrived=9,
        completed=4,
        failed=0,
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with closing(open_store(str(tmp_path / "fleet.db"))) as opened:
        yield opened


def joined(store: SqlStore, *, at: float = NOW - 1.0) -> None:
    lease = store.acquire("tests", ttl_s=60.0, now=0.0)
    assert lease is not None
    store.join_gateway(
        GatewayBeat(
            name="b",
            incarnation="there/1/1.00",
            address="10.0.0.2:8080",
            host="there",
            version="1",
            number=1,
            queues=(queue(CHAT, "r", 3, at=at), queue(CODE, "c", 2, at=at)),
        )
    )
    own = {ReplicaId("r"): 6, ReplicaId("c"): 8}
    theirs = {ReplicaId("r"): 2}
    store.put_grants(
        [
            GatewayGrant(name="controller@here", incarnation="controller@here", number=1, slots=own, held=own),
            GatewayGrant(name="b", incarnation="there/1/1.00", number=1, slots=theirs, held=theirs),
        ],
        over={},
        routes=None,
        fence=lease.fence,
    )


def test_one_gateway_is_not_worth_a_word(store: SqlStore) -> None:
    assert gateway_lines(store, NOW) == []
    assert gateway_checks(store, REPLICAS, NOW) == []


def test_each_is_told_with_its_slots(store: SqlStore) -> None:
    joined(store)

    assert told(gateway_lines(store, NOW)) == [
        "gateway of the controller on here: 14 slots",
        "gateway b at 10.0.0.2:8080 on there: 2 slots, 5 running, 2 queued",
    ]
    assert told(gateway_lines(store, NOW, REPLICAS[:1])) == [
        "gateway of the controller on here: 6 slots",
        "gateway b at 10.0.0.2:8080 on there: 2 slots, 3 running, 1 queued",
    ]


def test_doctor_says_what_it_cannot_reach(store: SqlStore) -> None:
    joined(store)

    (check,) = gateway_checks(store, REPLICAS, NOW)

    assert (check.check, check.status) == ("gateway/b", "warn")
    assert check.detail.startswith("it has no way to 1 of 2 replicas")
    assert gateway_checks(store, REPLICAS[:1], NOW)[0].status == "ok"


def test_doctor_and_ps_say_who_is_silent(store: SqlStore) -> None:
    joined(store, at=NOW - 40.0)

    (check,) = gateway_checks(store, REPLICAS, NOW)

    assert (check.status, check.detail) == ("fail", "10.0.0.2:8080 on there was last heard 40s ago")
    assert told(gateway_lines(store, NOW))[1].endswith("last heard 40s ago")
