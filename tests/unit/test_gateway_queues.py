"""Several gateways' queues told as one: what waits now, and counters that never jump as gateways come and go."""

from fleetctl.decide.gateway_queues import OTHERS, PARTS_MAX, Counted, as_one, counted
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.signals import Histogram, QueuePart, QueueStats

CHAT = ServiceName("chat")


def stats(
    arrived: int = 0,
    *,
    queued: int = 0,
    wait_s: float = 0.0,
    running: int = 0,
    ttft: tuple[float, float] = (0.0, 0.0),
    tokens: float | None = None,
    sheds: tuple[tuple[str, int], ...] = (),
    tenants: tuple[QueuePart, ...] = (),
) -> dict[ServiceName, QueueStats]:
    one = QueueStats(
        at=1.0,
        service=CHAT,
        queued=queued,
        oldest_wait_s=wait_s,
        in_flight=((ReplicaId("r"), running),),
        arrived=arrived,
        completed=arrived,
        failed=0,
        ttft=Histogram(bounds_s=(1.0,), counts=ttft),
        output_tokens=tokens,
        sheds=sheds,
        tenants=tenants,
    )
    return {CHAT: one}


def test_what_waits_and_runs_is_added_up() -> None:
    found = as_one(Counted(), [stats(queued=2, wait_s=3.0, running=4), stats(queued=1, wait_s=7.0, running=1)])[CHAT]

    assert (found.queued, found.oldest_wait_s, found.in_flight) == (3, 7.0, ((ReplicaId("r"), 5),))


def test_what_came_before_a_controller_looked_is_not_told() -> None:
    first = counted(None, {"a": stats(100)})
    second = counted(first, {"a": stats(107)})

    assert as_one(first, [stats(100)])[CHAT].arrived == 0
    assert as_one(second, [stats(107)])[CHAT].arrived == 7


def test_counters_only_grow_whoever_comes_and_goes() -> None:
    looks = [
        {"a": stats(10, ttft=(10, 0))},
        {"a": stats(12, ttft=(11, 1)), "b": stats(5, ttft=(0, 5), tokens=50.0, sheds=(("queue_full", 2),))},
        {"b": stats(9, ttft=(4, 5), tokens=90.0, sheds=(("queue_full", 3),))},
        {"b": stats(3, ttft=(3, 0), tokens=30.0), "a": stats(13, ttft=(12, 1))},
    ]
    before = Counted(last=looks[0], sums=looks[0]["a"])
    told = []
    for look in looks:
        before = counted(before, look)
        told.append(as_one(before, look.values())[CHAT])

    assert [one.arrived for one in told] == [10, 17, 21, 25], "of a, which was away, only what is new; of b anew all"
    assert [one.ttft.counts for one in told if one.ttft is not None] == [(10, 0), (11, 6), (15, 6), (19, 6)]
    assert [one.output_tokens for one in told] == [None, 50.0, 90.0, 120.0]
    assert [dict(one.sheds).get("queue_full", 0) for one in told] == [0, 2, 3, 3]


def test_tenants_are_told_by_name_up_to_a_bound() -> None:
    many = tuple(QueuePart(name=f"t{number:03}", queued=number, running=0) for number in range(PARTS_MAX + 10))
    other = QueuePart(name=OTHERS, queued=1000, running=3)

    found = as_one(Counted(), [stats(tenants=many), stats(tenants=(*many, other))])[CHAT].tenants

    assert len(found) == PARTS_MAX
    assert found[0] == QueuePart(name=f"t{PARTS_MAX + 9:03}", queued=2 * (PARTS_MAX + 9), running=0)
    assert found[-1].name == OTHERS
    assert sum(one.queued for one in found) == 1000 + 2 * sum(one.queued for one in many)
