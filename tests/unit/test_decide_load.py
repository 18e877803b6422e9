"""The concurrency of a Service: what is known, and how far it may be from what is true."""

import pytest
from fleet_world import a_service

from fleetctl.decide.load import STALE_S, Load, measure
from fleetctl.model.names import ReplicaId
from fleetctl.model.replicas import Replica, ReplicaPhase
from fleetctl.model.signals import QueueStats, Reading, Unknown

NOW = 1000.0
SERVICE = a_service()  # ten requests a replica
SILENT = Unknown(reason="no answer", since=990.0)


def read(running: float, waiting: float = 0.0, at: float = NOW) -> Reading:
    return Reading(at=at, running=running, waiting=waiting)


def queue(queued: int, **in_flight: int) -> QueueStats:
    return QueueStats(
        at=NOW,
        service=SERVICE.name,
        queued=queued,
        oldest_wait_s=0.0,
        in_flight=tuple((ReplicaId(key), count) for key, count in in_flight.items()),
        arrived=0,
        completed=0,
        failed=0,
    )


def ready(count: int) -> list[Replica]:
    return [
        Replica(
            id=ReplicaId(f"r{number}"),
            service=SERVICE.name,
            revision="1",
            phase=ReplicaPhase.READY,
            created_at=0.0,
        )
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("readings", "stats", "low", "high", "why"),
    [
        ([read(3), read(4, 2)], queue(5), 14, 14, "running, waiting in the engine and queued before it"),
        ([read(3), read(4, 2)], None, 9, 9, "no gateway: the engines know everything"),
        ([], queue(5), 5, 5, "at zero replicas the queue is the load"),
        ([], None, 0, 0, "at zero replicas and without a gateway nothing asks"),
        ([read(3), SILENT], queue(5), 8, 18, "a silent engine may be idle or full"),
        ([read(3), SILENT], queue(5, r1=4), 12, 18, "the gateway knows of four requests inside the silent one"),
        ([read(3), SILENT], queue(0, r1=25), 28, 28, "more than full is known, so more than full it is"),
        ([read(3), read(9, at=NOW - STALE_S - 1)], queue(0), 3, 13, "an old reading says nothing of now"),
        ([SILENT, SILENT], queue(5), 5, 25, "no engine answers, the queue does"),
        ([read(3), read(4)], SILENT, 7, 7, "a silent gateway: what is in the engines is still known"),
        ([read(3), SILENT], SILENT, 3, 13, "both in part"),
    ],
)
def test_partial_knowledge(
    readings: list[Reading | Unknown], stats: QueueStats | Unknown | None, low: float, high: float, why: str
) -> None:
    rows = ready(len(readings))

    load = measure(SERVICE, rows, {row.id: seen for row, seen in zip(rows, readings, strict=True)}, stats, NOW)

    assert isinstance(load, Load), why
    assert (load.low, load.high) == (low, high), why
    assert load.queue_known is not isinstance(stats, Unknown)


@pytest.mark.parametrize(
    ("count", "stats", "why"),
    [
        (2, None, "no gateway and no engine answers"),
        (0, SILENT, "the gateway alone would know who waits for the first replica"),
    ],
)
def test_nothing_known_is_unknown_and_never_zero(count: int, stats: Unknown | None, why: str) -> None:
    rows = ready(count)

    load = measure(SERVICE, rows, {row.id: SILENT for row in rows}, stats, NOW)

    assert isinstance(load, Unknown), why


@pytest.mark.parametrize(
    ("low", "high", "carried", "expected", "why"),
    [
        (30.0, 50.0, 20.0, 30.0, "scaling up: what is missing counts as 0"),
        (5.0, 15.0, 40.0, 15.0, "scaling down: what is missing counts as 100 % of the target"),
        (5.0, 45.0, 40.0, 40.0, "it might be exactly right: no change"),
    ],
)
def test_missing_metrics_count_as_in_the_horizontal_pod_autoscaler(
    low: float, high: float, carried: float, expected: float, why: str
) -> None:
    load = Load(low=low, high=high, queued=0, oldest_wait_s=0.0, unknown=1)

    assert load.nearest(carried) == expected, why


def test_a_replica_that_is_not_ready_has_no_load() -> None:
    rows = [Replica(id=ReplicaId("r0"), service=SERVICE.name, revision="1", phase=ReplicaPhase.LOADING, created_at=0.0)]

    load = measure(SERVICE, rows, {}, queue(0), NOW)

    assert isinstance(load, Load)
    assert (load.low, load.high, load.unknown) == (0.0, 0.0, 0)
