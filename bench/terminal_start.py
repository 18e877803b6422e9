"""What a command costs before it says anything: CPU beside `python -c pass`. `python bench/terminal_start.py`.

Medians of RUNS, all commands by turns, so that what else the machine does falls on all of them alike. The figures are
of bytecode, as an installed fleetctl has it. Other tools that are installed stand beside it, with commands that
need no network.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import report

from fleetctl.model.decisions import Decision, Event, Memory, Plan, StageNote
from fleetctl.model.instances import Instance, InstancePhase, Offer, Wanted
from fleetctl.model.names import InstanceId, PoolName, ProviderName, ReplicaId, ServiceName
from fleetctl.model.replicas import Replica, ReplicaPhase
from fleetctl.model.services import Gpu, Market, Scaling, Service
from fleetctl.store import open_store

RUNS = 15
SMALL, LARGE = (20, 1, 0), (20, 50, 100_000)
"""Services, Replicas of each, events."""
PASS = "python -c pass"
OURS = (  # name, words, which store, goal in multiples of PASS
    ("version", ("--version",), SMALL, 2.5),
    ("help", ("--help",), SMALL, 2.5),
    ("complete", ("__complete", "describe", "ser"), SMALL, 2.5),
    ("ps_json", ("ps", "-o", "json"), SMALL, 7.0),
    ("ps_table", ("ps",), SMALL, 10.0),
    ("ps_large", ("ps",), LARGE, None),
    ("ps_replicas_large", ("ps", "-r"), LARGE, None),
    ("complete_large", ("__complete", "describe", "replica/"), LARGE, 2.5),
)
LARGE_GOAL_MS = 300.0
"""Wall time of `ps` on the large store."""
OTHERS = {
    "kubectl": ("version", "--client"),
    "gh": ("--version",),
    "terraform": ("version",),
    "dstack": ("--version",),
    "sky": ("--version",),
    "modal": ("--version",),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        homes = {size: filled(Path(folder) / str(size[1]), *size) for size in (SMALL, LARGE)}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLEETCTL_", "PYTHON"))}
        lines = {PASS: ([sys.executable, "-c", "pass"], kept)}
        for name, words, size, _ in OURS:
            lines[name] = ([sys.executable, "-m", "fleetctl", *words], {**kept, "FLEETCTL_HOME": str(homes[size])})
        for tool, words in OTHERS.items():
            if (path := shutil.which(tool)) is None:
                print(f"{tool}: not installed here", file=sys.stderr)
            else:
                lines |= {
                    f"{tool} --help": ([path, "--help"], kept),
                    f"{tool} {' '.join(words)}": ([path, *words], kept),
                }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in lines}
        for run in range(RUNS + 1):
            for name, (words, environment) in lines.items():
                spent = once(words, environment, checked=name in {PASS, *(one[0] for one in OURS)})
                if run:  # the first compiles what is not yet, and fills the machine's caches
                    taken[name].append(spent)
    tell(taken)


def tell(taken: dict[str, list[tuple[float, float]]]) -> None:
    goals = {name: goal for name, _, _, goal in OURS}
    base = statistics.median(cpu for cpu, _ in taken[PASS])
    print(f"{'':<28}{'CPU ms':>8}{'x pass':>8}{'goal':>8}{'wall ms':>9}", file=sys.stderr)
    for name, spent in taken.items():
        cpu, wall = (statistics.median(column) for column in zip(*spent, strict=True))
        goal = goals.get(name)
        report(name.replace(" ", "_"), cpu / base, f"x {PASS}", at_most=goal)
        if name == "ps_large":
            report("ps_large_wall", wall, "ms", at_most=LARGE_GOAL_MS)
        shown = f"{goal:.1f}" if goal is not None else ""
        print(f"{name:<28}{cpu:>8.1f}{cpu / base:>8.2f}{shown:>8}{wall:>9.1f}", file=sys.stderr)


def once(words: list[str], environment: dict[str, str], *, checked: bool) -> tuple[float, float]:
    """CPU and wall time of one run, in ms."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ran = subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if checked and ran.returncode:
        raise SystemExit(f"{' '.join(words)}: {ran.stderr.decode(errors='replace')}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu * 1000, wall * 1000


def filled(home: Path, services: int, replicas: int, events: int) -> Path:
    """A home whose store has this fleet, with decisions and memories as a controller leaves them."""
    home.mkdir()
    store = open_store(str(home / "fleet.db"))
    lease = store.acquire("bench", ttl_s=60.0, now=time.time())
    assert lease is not None
    now = time.time()
    names = [ServiceName(f"service-{number:02}") for number in range(services)]
    for name in names:
        service = Service(
            name=name, engine="rehearsal", model="m", gpu=(Gpu(name="L40S"),), concurrency=8,
            scaling=Scaling(min=1, max=max(2, replicas)),
        )  # fmt: skip
        store.put_service(service, revision="0123456789ab", at=now)
    held = [machine(name, number, now) for name in names for number in range(replicas)]
    rows = [
        Replica(
            id=ReplicaId(f"{one.pool}-{index}"), service=ServiceName(one.pool), revision="0123456789ab",
            phase=ReplicaPhase.READY, instance=one.id, gpus=(0,), address="10.0.0.1:8000", created_at=now, ready_at=now,
        )
        for index, one in enumerate(held)
    ]  # fmt: skip
    notes = tuple(StageNote(stage=stage, value=replicas, note="held by it") for stage in ("policy", "limits"))
    decisions = tuple(
        Decision(
            service=name, at=now, current=replicas, ready=replicas, desired=replicas, binding="policy",
            reason="it fits", stages=notes, concurrency=12.0, concurrency_most=12.0, unknown=0, queued=0, target=44.8,
            price_per_hour=1.8,
        )
        for name in names
    )  # fmt: skip
    memories = tuple((name, Memory(load=tuple((now - 60 + at, 12.0) for at in range(60)))) for name in names)
    told = tuple(
        Event(at=now - index * 0.01, kind="scale", subject="service/a", message="1 to 2") for index in range(events)
    )
    plan = Plan(
        at=now, instances=tuple(held), replicas=tuple(rows), decisions=decisions, memories=memories, events=told
    )
    store.commit(plan, fence=lease.fence, journal=b"")
    store.close()
    return home


def machine(pool: ServiceName, number: int, now: float) -> Instance:
    offer = Offer(
        provider=ProviderName("aws"), region="r", zone="z", instance_type="g6e.xlarge", gpu=Gpu(name="L40S"),
        price_per_hour=1.8, market=Market.ON_DEMAND, price_source="bench", price_as_of=now,
    )  # fmt: skip
    return Instance(
        id=InstanceId(f"i-{pool}-{number}"), pool=PoolName(pool), offer=offer, phase=InstancePhase.READY,
        wanted=Wanted.RUNNING, created_at=now, phase_at=now,
    )  # fmt: skip


if __name__ == "__main__":
    main()
