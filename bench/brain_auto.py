"""The policy `auto`, one configuration for everything, over recorded traces and two cold starts, beside foresight.

    python bench/brain_auto.py ../shared/traces                  # a subset, in some minutes
    python bench/brain_auto.py ../shared/traces --hours 24 --seeds 5 --limit 7200

Each run begins with the fleet that would have kept the promise over the first half hour: an operator's first guess.
`ratio` is GPU-hours over the clairvoyant schedule's; `constant` is that of the best constant fleet known afterwards.
"""

import argparse
import math
import sys
import time
from array import array
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from fleetctl.decide.auto.brain import Parameters
from fleetctl.decide.lines import ServiceLine
from fleetctl.sim.auto_scaler import AutoScaler
from fleetctl.sim.clairvoyant import best_constant, clairvoyant
from fleetctl.sim.scalers import Wish
from fleetctl.sim.service_world import Report, Stage, World, play
from fleetctl.sim.traces import Trace, read_trace

TRACES = Path(__file__).resolve().parents[2] / "shared" / "traces"
SKIPPED = "sparse"
"""Traces for scale to zero have another measure."""
STARTED_S = 1800.0
BOOTS_S = (20.0, 60.0, 120.0, 270.0, 480.0)
STEP = 2.4


def one_gpu() -> World:
    return World()


def four_gpus() -> World:
    """A large model: 620 s from order to ready, 25 s from standby."""
    stages = (("procure", 120.0, 0.25), ("fetch", 280.0, 0.25), ("engine", 220.0, 0.1))
    return World(
        gpus=4,
        cold_start=tuple([Stage(name=name, median_s=median_s, spread=spread) for name, median_s, spread in stages]),
        standby_start=Stage(name="wake", median_s=25.0, spread=0.1),
    )


PROFILES = {"1": one_gpu, "4": four_gpus}


@dataclass(slots=True)
class Timed:
    """A scaler with a stopwatch."""

    scaler: AutoScaler
    ticks: int = 0
    spent_s: float = 0.0

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


def row(name: str, profile: str, seed: int, report: Report, ratio: float, constant: float, ms: float) -> str:
    return (
        f"{name:16} {profile:>4} {seed:>4} {'kept' if report.kept else 'MISS':4} {100 * report.share_within:7.2f} % "
        f"{report.wait.p50_s:6.2f} {report.wait.p95_s:6.2f} {report.wait.p99_s:6.1f} {report.gpu_hours:8.2f} "
        f"{ratio:6.2f} {constant:8.2f} {report.peak_ordered:5d} {report.scale_actions:8d} {ms:8.2f}"
    )


def steps() -> None:
    """Load that jumps: what is ordered at most, over what the new load needs."""
    print(f"\nStep x{STEP:g}: peak ordered over needed")
    random = Random("step")
    rows, at = [], 0.0
    while at < 9000:
        at += random.expovariate(8.0 if at < 4500 else 8.0 * STEP)
        rows.append(
            (at, max(1, round(random.lognormvariate(6.0, 0.8))), max(1, round(random.lognormvariate(4.5, 0.8))))
        )
    trace = Trace(
        arrivals_s=array("d", [one[0] for one in rows]),
        input_tokens=array("I", [one[1] for one in rows]),
        output_tokens=array("I", [one[2] for one in rows]),
        duration_s=rows[-1][0],
    )
    before = best_constant(World(), trace.slice(0, 4500))
    needed = best_constant(World(), trace.slice(4500, 4500))
    for boot_s in BOOTS_S:
        world = World(cold_start=(Stage(name="boot", median_s=boot_s, spread=0.1),), replicas_start=before)
        report = play(world, trace, timed(world, 0), seed=0)
        peak = max([moment.ordered for moment in report.timeline if moment.at > 4500])
        share = f"{100 * report.share_within:.2f} %"
        print(f"boot {boot_s:4.0f} s: peak {peak}, needed {needed} = {peak / needed:.2f}; {share} in time")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=TRACES, help="of the traces, CSV.gz")
    parser.add_argument("--only", default="", help="traces whose name begins so, comma-separated")
    parser.add_argument("--profiles", default="1,4")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--from-hour", type=float, default=8.0, help="where longer traces are cut from")
    parser.add_argument("--hours", type=float, default=3.0, help="what of longer traces is played")
    parser.add_argument("--start", type=int, default=0, help="replicas at first; 0: sized on the first half hour")
    parser.add_argument("--standby", type=int, default=0, help="most units on standby")
    parser.add_argument("--limit", type=float, default=420.0, help="seconds after which no further run begins")
    asked = parser.parse_args()
    began = time.monotonic()
    print(
        f"{'trace':16} {'gpus':>4} {'seed':>4} {'':4} {'in time':>9} {'p50':>6} {'p95':>6} {'p99 s':>6} {'GPU-h':>8} "
        f"{'ratio':>6} {'constant':>8} {'peak':>5} {'actions':>8} {'ms/tick':>8}"
    )
    if not asked.folder.is_dir():
        print(f"brain: no folder of traces at {asked.folder}; only the step is played", file=sys.stderr)
    ratios, kept, runs, left_out = [], 0, 0, []
    for path in sorted(asked.folder.glob("*.csv*")):
        name = path.name.split(".")[0]
        if name.startswith(SKIPPED) or not name.startswith(tuple(asked.only.split(","))):
            continue
        trace = read_trace(path)
        if trace.duration_s > asked.hours * 3600:
            start_s = min(asked.from_hour * 3600, trace.duration_s - asked.hours * 3600)
            trace = trace.slice(max(0.0, start_s), asked.hours * 3600)
        for profile in asked.profiles.split(","):
            if time.monotonic() - began > asked.limit:
                left_out.append(f"{name}/{profile}")
                continue
            world = PROFILES[profile]()
            first = trace.slice(0, min(STARTED_S, trace.duration_s))
            world = replace(world, replicas_start=asked.start or best_constant(world, first))
            best = clairvoyant(world, trace, polish_requests=3 * len(trace))
            for seed in range(asked.seeds):
                scaler = timed(world, asked.standby)
                report = play(world, trace, scaler, seed=seed)
                ratio = report.gpu_hours / best.gpu_hours
                runs, kept = runs + 1, kept + report.kept
                if report.kept:
                    ratios.append(ratio)
                constant = best.constant_hours / best.replica_hours
                ms = 1000 * scaler.spent_s / scaler.ticks
                print(row(name, profile, seed, report, ratio, constant, ms), flush=True)
    if ratios:
        mean = math.exp(sum([math.log(ratio) for ratio in ratios]) / len(ratios))
        print(f"kept {kept} of {runs}; geometric mean of those over the clairvoyant: {mean:.2f}")
    if left_out:
        print(f"left out for want of time: {', '.join(left_out)}")
    if time.monotonic() - began < asked.limit:
        steps()
    return 0


if __name__ == "__main__":
    sys.exit(main())
