"""The policy `auto`, one configuration for everything, over recorded traces and two cold starts, beside foresight.

    python bench/brain_auto.py                                   # all of each trace, five seeds: ten minutes
    python bench/brain_auto.py --hours 3 --seeds 2               # three hours of each, two seeds: two minutes

Two kinds of replica: one GPU (cold start 270 s, standby 8 s) and four (620 s, 25 s), both with the default engine. Each
run begins with the fleet that would have kept the promise over the first half hour: an operator's first guess after
a look at yesterday. `from_one` begins with one replica instead, as who only writes `min: 1` does. The traces are some
minutes to a day long, so that in the shortest, one cold start is all there is to lose or win.

`ratio` is GPU-hours over the clairvoyant schedule's, its geometric mean taken over the runs that kept the promise;
`constant` is that of the best constant fleet known afterwards.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from figures import report

from fleetctl.decide.auto.brain import Parameters
from fleetctl.decide.lines import ServiceLine
from fleetctl.sim.auto_scaler import AutoScaler
from fleetctl.sim.clairvoyant import best_constant, clairvoyant
from fleetctl.sim.scalers import Wish
from fleetctl.sim.service_world import play
from fleetctl.sim.traces import Trace, read_trace
from fleetctl.sim.worlds import Stage, World

TRACES = Path(__file__).resolve().parents[2] / "shared" / "traces"
SKIPPED = "sparse"
"""Traces for scale to zero have another measure."""
STARTED_S = 1800.0
PROCESSES = 2
POLISH_REQUESTS = 400_000
"""Played to polish each clairvoyant schedule: seconds of a core, and within a percent of what minutes find."""
GOAL_RATIO, GOAL_MS = 1.35, 10.0

ONE_GPU = World()
FOUR_GPUS = World(
    gpus=4,
    cold_start=(
        Stage(name="procure", median_s=120.0),
        Stage(name="fetch", median_s=280.0),
        Stage(name="engine", median_s=220.0, spread=0.1),
    ),
    standby_start=Stage(name="wake", median_s=25.0, spread=0.1),
)
PROFILES = {"1": ONE_GPU, "4": FOUR_GPUS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    name: str
    profile: str
    seed: int
    from_one: bool
    kept: bool
    share_within: float
    wait_p99_s: float
    gpu_hours: float
    ratio: float
    constant: float
    """Of the best constant fleet."""
    peak: int
    actions: int
    ms: float
    """CPU of a decision."""


class Timed:
    """A scaler with a stopwatch."""

    __slots__ = ("scaler", "spent_s", "ticks")

    def __init__(self, scaler: AutoScaler) -> None:
        self.scaler = scaler
        self.ticks = 0
        self.spent_s = 0.0

    def observe(self, now: float, seen: ServiceLine) -> Wish:
        began = time.process_time()
        wish = self.scaler.observe(now, seen)
        self.spent_s += time.process_time() - began
        self.ticks += 1
        return wish


def timed(world: World, standby: int) -> Timed:
    parameters = Parameters(
        batch=world.pace.concurrency,
        cold_s=world.cold_start_s,
        standby_s=world.standby_start.median_s,
        standby_limit=standby,
        standby_share=world.standby_share,
    )
    return Timed(AutoScaler(parameters))


def cut(trace: Trace, hours: float, from_hour: float) -> Trace:
    length_s = hours * 3600
    if trace.duration_s <= length_s:
        return trace
    return trace.slice(max(0.0, min(from_hour * 3600, trace.duration_s - length_s)), length_s)


def runs(path: Path, profile: str, asked: argparse.Namespace) -> list[Run]:
    """All runs of one trace on one kind of replica."""
    trace = cut(read_trace(path), asked.hours, asked.from_hour)
    world = PROFILES[profile]
    first = trace.slice(0, min(STARTED_S, trace.duration_s))
    start = asked.start or best_constant(world, first)
    best = clairvoyant(world, trace, polish_requests=min(3 * len(trace), POLISH_REQUESTS))
    found = []
    plays = [(seed, False) for seed in range(asked.seeds)] + ([(0, True)] if start > 1 else [])
    for seed, from_one in plays:
        scaler = timed(world, asked.standby)
        report = play(replace(world, replicas_start=1 if from_one else start), trace, scaler, seed=seed)
        found.append(
            Run(
                name=path.name.split(".")[0],
                profile=profile,
                seed=seed,
                from_one=from_one,
                kept=report.kept,
                share_within=report.share_within,
                wait_p99_s=report.wait.p99_s,
                gpu_hours=report.gpu_hours,
                ratio=report.gpu_hours / best.gpu_hours,
                constant=best.constant_hours / best.replica_hours,
                peak=report.peak_ordered,
                actions=report.scale_actions,
                ms=1000 * scaler.spent_s / scaler.ticks,
            )
        )
    return found


def mean(values: Sequence[float]) -> float:
    """Geometric."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def measures(found: Sequence[Run]) -> None:
    """Each with its goal, where it has one."""
    usual = [run for run in found if not run.from_one]
    kept = [run for run in usual if run.kept]
    share = len(kept) / len(usual)
    say("auto_kept", share, "share of runs", at_least=1.0)
    ratio = mean([run.ratio for run in kept])
    say("auto_hours_over_clairvoyant", ratio, "ratio", at_most=GOAL_RATIO)
    say("best_constant_hours_over_clairvoyant", mean([run.constant for run in usual]), "ratio")
    for name in sorted({run.name for run in usual}):
        say(f"auto_{name}", mean([run.ratio for run in kept if run.name == name]), "ratio")
    worst = min([run.share_within for run in usual])
    say("auto_worst_run_in_time", worst, "share of requests", at_least=0.99)
    young = [run for run in found if run.from_one]
    if young:
        kept_share = sum([run.kept for run in young]) / len(young)
        say("auto_from_one_replica_kept", kept_share, "share of runs")
        in_time = sum([run.share_within for run in young]) / len(young)
        say("auto_from_one_replica_in_time", in_time, "share of requests")
    ms = sum([run.ms for run in found]) / len(found)
    say("auto_cpu_per_decision", ms, "ms", at_most=GOAL_MS)


def say(measure: str, value: float, unit: str, *, at_least: float | None = None, at_most: float | None = None) -> None:
    print(f"{measure:40} {value:8.3f} {unit}", file=sys.stderr)
    report(measure, value, unit, at_least=at_least, at_most=at_most)


def show(run: Run) -> None:
    start = "from one" if run.from_one else ""
    print(
        f"{run.name:16} {run.profile:>4} {run.seed:>4} {'kept' if run.kept else 'MISS':4} {run.share_within:9.2%} "
        f"{run.wait_p99_s:7.1f} {run.gpu_hours:8.2f} {run.ratio:6.2f} {run.constant:8.2f} {run.peak:5d} "
        f"{run.actions:8d} {run.ms:8.2f} {start}",
        file=sys.stderr,
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=TRACES, help="of the traces, CSV.gz")
    parser.add_argument("--only", default="", help="traces whose name begins so, comma-separated")
    parser.add_argument("--profiles", default="1,4")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--from-hour", type=float, default=8.0, help="where longer traces are cut from")
    parser.add_argument("--hours", type=float, default=24.0, help="what of longer traces is played")
    parser.add_argument("--start", type=int, default=0, help="replicas at first; 0: sized on the first half hour")
    parser.add_argument("--standby", type=int, default=0, help="most units on standby")
    asked = parser.parse_args()
    if not asked.folder.is_dir():
        print(f"brain_auto: no folder of traces at {asked.folder}; give its path", file=sys.stderr)
        return 0
    print(
        f"{'trace':16} {'gpus':>4} {'seed':>4} {'':4} {'in time':>9} {'p99 s':>7} {'GPU-h':>8} {'ratio':>6} "
        f"{'constant':>8} {'peak':>5} {'actions':>8} {'ms/tick':>8}",
        file=sys.stderr,
    )
    found: list[Run] = []
    with ProcessPoolExecutor(PROCESSES) as pool:
        pending = [
            pool.submit(runs, path, profile, asked)
            for path in sorted(asked.folder.glob("*.csv*"))
            if not path.name.startswith(SKIPPED) and path.name.startswith(tuple(asked.only.split(",")))
            for profile in asked.profiles.split(",")
        ]
        for one in pending:
            for run in one.result():
                show(run)
                found.append(run)
    if not found:
        print("brain_auto: no trace was played", file=sys.stderr)
        return 0
    measures(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
