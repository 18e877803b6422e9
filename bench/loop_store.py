"""What one tick costs to store: CPU per commit, at two sizes of fleet. `python bench/loop_store.py [URL]`."""

import random
import sys
import tempfile
import time
from pathlib import Path

from figures import report

from fleetctl.model.decisions import Decision, Event, Memory, Plan, StageNote
from fleetctl.model.names import InstanceId, ReplicaId, ServiceName
from fleetctl.model.replicas import Replica, ReplicaPhase, Stage
from fleetctl.store import open_store

COMMITS = 200
SIZES = (  # services, those that change in a tick, bytes of journal, goal in ms of CPU
    (100, 100, 0, 10.0),
    (100, 100, 300_000, 10.0),
    (1000, 10, 0, 10.0),
    (1000, 1000, 0, 100.0),
)


def memory(at: float) -> Memory:
    """About 2 kB of JSON."""
    points = tuple((at - 60 + second, random.random() * 64) for second in range(60))
    return Memory(load=points, wishes=tuple((at - second, second % 7) for second in range(20)), busy_at=at)


def decision(service: ServiceName, at: float) -> Decision:
    stages = tuple(StageNote(stage=stage, value=10, note="held by it") for stage in ("policy", "stabilise", "limits"))
    return Decision(
        service=service, at=at, current=10, ready=10, desired=10, binding="policy", reason="it fits", stages=stages,
        concurrency=512.0, concurrency_most=512.0, unknown=0, queued=0, target=44.8, price_per_hour=12.5,
    )  # fmt: skip


def replica(service: ServiceName, number: int, at: float) -> Replica:
    names = ("queued", "boot", "image", "weights", "engine")
    return Replica(
        id=ReplicaId(f"{service}-ab3d-{number}"), service=service, revision="0123456789ab", phase=ReplicaPhase.READY,
        instance=InstanceId(f"i-ab3d-{number}"), gpus=(0,), address="10.0.0.1:8000", created_at=at, ready_at=at,
        stages=tuple(Stage(name=name, started_at=at, ended_at=at + 1.0) for name in names),
    )  # fmt: skip


def measure(url: str, services: int, changing: int, journal_bytes: int, goal_ms: float) -> None:
    names = [ServiceName(f"service-{number}") for number in range(services)]
    words = [str(random.random()) for _ in range(200)]
    journal = ",".join(random.choice(words) for _ in range(journal_bytes // 19)).encode()
    store = open_store(url)
    lease = store.acquire("bench", ttl_s=60.0, now=time.time())
    assert lease is not None
    rows = tuple(replica(name, number, 1.0) for name in names for number in range(10))
    store.commit(Plan(at=0.0, replicas=rows), fence=lease.fence, journal=journal)
    plans = [
        Plan(
            at=float(tick),
            decisions=tuple(decision(name, float(tick)) for name in names[:changing]),
            memories=tuple((name, memory(float(tick))) for name in names[:changing]),
            replicas=tuple(random.sample(rows, 10)),
            events=(Event(at=float(tick), kind="scale", subject="service/service-0", message="10 to 11"),),
        )
        for tick in range(1, COMMITS + 1)
    ]
    walls = []
    cpu = time.process_time()
    for plan in plans:
        began = time.perf_counter()
        store.commit(plan, fence=lease.fence, journal=journal)
        walls.append((time.perf_counter() - began) * 1000)
    cpu_ms = (time.process_time() - cpu) * 1000 / COMMITS
    began = time.perf_counter()
    store.load()
    load_ms = (time.perf_counter() - began) * 1000
    store.close()
    walls.sort()
    name = f"commit_{services}x10_{changing}_changing_{journal_bytes // 1000}kB_journal"
    print(
        f"{name}: {cpu_ms:.2f} ms CPU, {walls[COMMITS // 2]:.2f} ms median, {walls[-2]:.2f} ms slowest but one;"
        f" load {load_ms:.0f} ms",
        file=sys.stderr,
    )
    report(name, cpu_ms, "ms CPU", at_most=goal_ms)


def main() -> None:
    random.seed(1)
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            measure(sys.argv[1] if sys.argv[1:] else str(Path(folder) / "fleet.db"), *size)


if __name__ == "__main__":
    main()
