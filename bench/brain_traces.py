"""What each autoscaler makes of the recorded traces, beside a schedule that knew them. `python bench/brain_traces.py`.

Every trace of the folder (`--traces-folder`, ../shared/traces by default; the sparse one is for scaling to zero) × two
kinds of replica × seeds of the cold starts. A policy keeps the promise in a run if 99 % of requests wait at most 5 s
beyond the reading of their own prompt; of the runs in which it does, its GPU-hours are set against the clairvoyant's
in the same world. A peer has one setting of its documented target for all runs: of those tried, the cheapest that keeps
the promise in most runs is reported.

    1gpu   cold start 270 s, standby 8 s; batch limit 16
    4gpu   cold start 620 s, standby 25 s; batch limit 32; four GPUs a replica

Both read a prompt token in 0.14 ms and make a token in 20 ms, 1.5 % longer per further sequence (an 8B model on an
L40S, and its like), times the *slowness* of the model served: that power of two, from 1/2 to 4, with which the
trace's mean work is nearest to two replicas. So each trace needs a handful, as services do, whatever its recorded
rate. A run starts with the smallest constant fleet that keeps the promise: what whoever had no autoscaler would have,
who knew. From less, nobody without foresight keeps it on the burstiest trace, whose first bursts come within one cold
start; `--start N` shows it.

`auto` is played beside them, with one configuration for everything. Three hours of each trace and two seeds are played
unless asked otherwise: `--hours H` (each seed plays another window of that length), `--seeds N`, `--traces a,b`,
`--profiles 1gpu`, `--policies knative,hpa`, `--standby N` units and `--start N` replicas for everyone. Clairvoyant
results are kept in the system's temporary folder, by a digest of trace, world and code.
"""

import argparse
import hashlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random

from figures import report

from fleetctl.decide.auto.brain import Parameters
from fleetctl.rehearsal.batching import Pace
from fleetctl.sim import clairvoyant as clairvoyance
from fleetctl.sim import engine_model, meters, replicas, request_flow, service_world
from fleetctl.sim.auto_scaler import AutoScaler
from fleetctl.sim.peers import PEERS, Capacity
from fleetctl.sim.reports import Report
from fleetctl.sim.scalers import Constant, Scaler
from fleetctl.sim.service_world import play
from fleetctl.sim.traces import Trace, read_trace
from fleetctl.sim.worlds import Stage, World

TRACES = Path(__file__).resolve().parents[2] / "shared" / "traces"
REPLICAS_MAX = 64
"""An operator's limit, some five times the most that any of these traces needs."""
MEAN_REPLICAS = 2.0
"""Peaks of two to four times that make a handful."""
HOURS, SEEDS = 3.0, 2
"""A few minutes on two cores; `--hours 24 --seeds 5` is all there is, and takes hours."""
PROCESSES = 2
POLISH_REQUESTS = 400_000
"""Played to polish each clairvoyant schedule: within a percent of what minutes of it find."""

PROFILES: Mapping[str, World] = {
    "1gpu": World(replicas_max=REPLICAS_MAX),
    "4gpu": World(
        pace=Pace(concurrency=32),
        gpus=4,
        cold_start=(
            Stage(name="procure", median_s=120.0),
            Stage(name="fetch", median_s=300.0),
            Stage(name="engine", median_s=200.0, spread=0.1),
        ),
        standby_start=Stage(name="wake", median_s=25.0, spread=0.1),
        replicas_max=REPLICAS_MAX,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run's world and traffic, and what foresight makes of it."""

    name: str
    world: World
    trace: Trace
    seed: int
    capacity: Capacity
    best_hours: float
    """GPU-hours of the clairvoyant…"""
    best_peak: int
    constant: int
    """…and the smallest constant fleet that keeps the promise."""
    floor_hours: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One policy at one setting over all cases."""

    policy: str
    setting: str
    reports: Sequence[Report]
    cases: Sequence[Case]
    cpu_s: float

    @property
    def kept(self) -> int:
        return sum(report.kept for report in self.reports)

    @property
    def ratio(self) -> float:
        """Geometric mean of GPU-hours over the clairvoyant's, of the runs that kept the promise."""
        return self._mean([report.gpu_hours / case.best_hours for report, case in self._kept()])

    @property
    def overshoot(self) -> float:
        """Geometric mean of the peak ordered over the clairvoyant's peak, of all runs."""
        pairs = zip(self.reports, self.cases, strict=True)
        return self._mean([report.peak_ordered / case.best_peak for report, case in pairs])

    def _kept(self) -> Iterator[tuple[Report, Case]]:
        return ((report, case) for report, case in zip(self.reports, self.cases, strict=True) if report.kept)

    @staticmethod
    def _mean(ratios: Sequence[float]) -> float:
        return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan


def mean_work_s(pace: Pace, trace: Trace) -> float:
    """Replica-seconds of the trace's mean request in a full batch."""
    batch = pace.concurrency
    token_s = pace.token_s * (1 + pace.growth * (batch - 1)) / batch
    return (pace.prefill_s_per_token * sum(trace.input_tokens) + token_s * sum(trace.output_tokens)) / len(trace)


def slowed(pace: Pace, trace: Trace) -> Pace:
    """The pace of a model whose slowness brings the trace's mean work near MEAN_REPLICAS."""
    replicas = mean_work_s(pace, trace) * len(trace) / trace.duration_s
    return pace.faster(2.0 ** -min(2, max(-1, round(math.log2(MEAN_REPLICAS / replicas)))))


def windowed(trace: Trace, hours: float, seed: int) -> Trace:
    """The whole trace, or that seed's window of it."""
    length_s = hours * 3600
    if trace.duration_s <= length_s:
        return trace
    return trace.slice(Random(f"window {seed}").uniform(0, trace.duration_s - length_s), length_s)


def foresight(world: World, trace: Trace) -> Mapping[str, float]:
    """The clairvoyant's figures, from the temporary folder where they were made before."""
    digest = hashlib.sha256(f"{world!r} {POLISH_REQUESTS}".encode())
    for module in (clairvoyance, engine_model, meters, replicas, request_flow, service_world):
        digest.update(Path(str(module.__file__)).read_bytes())
    for column in (trace.arrivals_s, trace.input_tokens, trace.output_tokens):
        digest.update(column.tobytes())
    kept = Path(tempfile.gettempdir()) / "fleetctl-bench-brain" / f"{digest.hexdigest()[:24]}.json"
    if kept.exists():
        return dict(json.loads(kept.read_text()))
    found = clairvoyance.clairvoyant(world, trace, polish_requests=POLISH_REQUESTS)
    figures = {
        "gpu_hours": found.gpu_hours,
        "peak": found.peak,
        "constant": found.constant,
        "floor_hours": found.work_floor_hours * world.gpus,
    }
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(figures))
    return figures


def cases(arguments: argparse.Namespace) -> Iterator[Case]:
    for path in sorted(arguments.traces_folder.glob("*.csv.gz")):
        name = path.name.removesuffix(".csv.gz")
        if name.startswith("sparse") or (arguments.traces and name not in arguments.traces):
            continue
        recorded = read_trace(path)
        for profile in arguments.profiles:
            for seed in range(arguments.seeds):
                trace = windowed(recorded, arguments.hours, seed)
                # One service, one engine: its pace follows from the whole recording.
                pace = slowed(PROFILES[profile].pace, recorded)
                work_s = mean_work_s(pace, trace)
                world = replace(PROFILES[profile], pace=pace)
                began = time.process_time()
                best = foresight(world, trace)
                start = arguments.start or int(best["constant"])
                world = replace(world, replicas_start=start, standby=arguments.standby)
                print(
                    f"{name:>16} {profile} seed {seed}: slowness {pace.token_s / 0.02:g}, starts with {start};"
                    f" clairvoyant {best['gpu_hours']:.2f} GPU-hours, peak {best['peak']:.0f};"
                    f" best constant {best['constant']:.0f} ="
                    f" {best['constant'] * trace.duration_s / 3600 * world.gpus / best['gpu_hours']:.2f}×;"
                    f" work alone {best['floor_hours'] / best['gpu_hours']:.2f}×"
                    f"  ({time.process_time() - began:.0f} s)",
                    file=sys.stderr,
                    flush=True,
                )
                yield Case(
                    name=f"{name} {profile}",
                    world=world,
                    trace=trace,
                    seed=seed,
                    capacity=Capacity(concurrency=pace.concurrency, requests_per_s=1 / work_s),
                    best_hours=best["gpu_hours"],
                    best_peak=int(best["peak"]),
                    constant=int(best["constant"]),
                    floor_hours=best["floor_hours"],
                )


def played(policy: str, share: float, case: Case) -> tuple[Report, float]:
    """One run, and the CPU seconds that it took. `share` is of no concern to the constant fleet and to `auto`."""
    began = time.process_time()
    world = case.world
    scaler: Scaler
    if policy == "constant":
        world, scaler = replace(world, replicas_start=case.constant), Constant(replicas=case.constant)
    elif policy == "auto":
        scaler = AutoScaler(
            Parameters(
                batch=world.pace.concurrency,
                maximum=world.replicas_max,
                cold_s=world.cold_start_s,
                standby_s=world.standby_start.median_s,
                standby_limit=world.standby,
                standby_share=world.standby_share,
            )
        )
    else:
        scaler = PEERS[policy].make(case.capacity, share, world.replicas_start)
    return play(world, case.trace, scaler, seed=case.seed), time.process_time() - began


def settings(policy: str) -> Sequence[tuple[str, float]]:
    """The settings at which a policy is tried, and a name for each."""
    if policy == "constant":
        return [("known afterwards", 0.0)]
    if policy == "auto":
        return [("nothing to set", 0.0)]
    return [(f"target {share:g} of capacity", share) for share in PEERS[policy].shares]


def scores(policy: str, everyone: Sequence[Case], pool: Executor) -> Iterator[Score]:
    for setting, share in settings(policy):
        runs = list(pool.map(partial(played, policy, share), everyone))
        yield Score(
            policy=policy,
            setting=setting,
            reports=[run for run, _ in runs],
            cases=everyone,
            cpu_s=sum([spent_s for _, spent_s in runs]),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=HOURS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--standby", type=int, default=0)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--traces-folder", type=Path, default=TRACES)
    parser.add_argument("--traces", type=lambda text: text.split(","), default=[])
    parser.add_argument("--profiles", type=lambda text: text.split(","), default=list(PROFILES))
    parser.add_argument("--policies", type=lambda text: text.split(","), default=["auto", "constant", *PEERS])
    arguments = parser.parse_args()
    if not arguments.traces_folder.is_dir():
        print(f"brain: no folder of traces at {arguments.traces_folder}; skipped", file=sys.stderr)
        return
    everyone = list(cases(arguments))
    print(f"\n{'policy':>10}  {'setting':<26} {'kept':>7} {'hours ×':>8} {'peak ×':>7} {'CPU s':>7}", file=sys.stderr)
    bests: dict[str, Score] = {}
    with ProcessPoolExecutor(PROCESSES) as pool:
        for policy in arguments.policies:
            found = []
            for one in scores(policy, everyone, pool):
                found.append(one)
                print(
                    f"{policy:>10}  {one.setting:<26} {one.kept:>3}/{len(everyone):<3} {one.ratio:>8.2f}"
                    f" {one.overshoot:>7.2f} {one.cpu_s:>7.1f}",
                    file=sys.stderr,
                    flush=True,
                )
            best = bests[policy] = min(found, key=lambda one: (-one.kept, one.ratio))
            for case, run in zip(everyone, best.reports, strict=True):
                print(
                    f"{'':>12}{case.name:<22} seed {case.seed}  {run.share_within:>8.2%} "
                    f"{'kept' if run.kept else '':<5}"
                    f" {run.gpu_hours / case.best_hours:>6.2f}× peak {run.peak_ordered:>3} of {case.best_peak}",
                    file=sys.stderr,
                )
    auto = bests.get("auto")
    for policy, best in bests.items():
        against = auto if policy in PEERS else None
        report(f"{policy}_kept_slowed", best.kept / len(everyone), f"share of runs, {best.setting}")
        measure, unit = f"{policy}_hours_over_clairvoyant_slowed", f"ratio, {best.setting}"
        if against is None:
            report(measure, best.ratio, unit)
        else:
            report(measure, best.ratio, unit, peer="auto", peer_value=against.ratio)


if __name__ == "__main__":
    main()
