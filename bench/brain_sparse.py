"""Scale to zero on a sparse trace: what retention costs, and what it spares. `python bench/brain_sparse.py [TRACE]`.

One service of one-GPU replicas (cold start 270 s) that may go to zero, over days of a trace with a request every few
minutes by day and none for hours at night. The last replica is kept for a *retention* once nothing is queued or
running. Fixed retentions of 5, 15 and 60 minutes are what people set today; `fleetctl.decide.zero` learns one for each
idle gap from those before it. Its one parameter is the price of a restart, here from half a cold start of idling to
thirty, which gives a curve: the more a restart is said to cost, the fewer there are and the longer replicas idle.

At equal cold starts (the curve read at the number that a fixed retention had, on a straight line between the two
prices next to it) ours must idle less. `idle` is the time replicas were kept without a request; replica-hours hold the
boots and the work as well. Break-even (keep for the price, learn nothing) is printed too: it shows what learning adds.
Both halves of the trace are played apart as well, without a goal: a gain in one could be chance.
"""

import argparse
import math
import os
import sys
from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from figures import report

from fleetctl.decide.lines import ServiceLine
from fleetctl.decide.zero import GAP_LEAST_S, IdleGap, kept_s, remember
from fleetctl.sim.scalers import Wish
from fleetctl.sim.service_world import play
from fleetctl.sim.traces import Trace, read_trace
from fleetctl.sim.worlds import World

TRACE = Path(__file__).resolve().parents[2] / "shared" / "traces" / "sparse_gentd_a.csv.gz"
FIXED_S = (300.0, 900.0, 3600.0)
WEIGHTS = tuple([round(1.3**step, 4) for step in range(-2, 14)])
"""Prices of a restart in cold starts, each a third above the one before: keep for minutes, keep for hours."""
MOST_S = 6 * 3600.0
"""Nobody keeps an idle GPU for longer than a working day's half; all rules are held to it."""
TICK_S = 5.0
WHOLE = "whole"
SHARE = 0.7
"""Of the batch that a replica is filled to, when more than one is needed."""

Retention = Callable[[Sequence[IdleGap], float], float]
"""From the idle gaps so far and the time at which this one began: how long to keep the last replica, in seconds."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same for every gap."""

    retention_s: float

    def __call__(self, gaps: Sequence[IdleGap], began_at: float) -> float:
        return self.retention_s


@dataclass(frozen=True, slots=True)
class Learned:
    """The fleet's own rule, at a price of a restart in cold starts."""

    weight: float
    restart_s: float

    def __call__(self, gaps: Sequence[IdleGap], began_at: float) -> float:
        return kept_s(gaps, began_at, restart_s=self.restart_s, restart_weight=self.weight, most_s=MOST_S)


class ToZero:
    """As many replicas as the load fills, and the last one kept for the retention once there is none."""

    def __init__(self, batch: int, retention: Retention) -> None:
        self.idle_s = 0.0
        self._carried = batch * SHARE
        self._retention = retention
        self._gaps: tuple[IdleGap, ...] = ()
        self._idle_since: float | None = None
        self._kept_s = 0.0

    def observe(self, now: float, seen: ServiceLine) -> Wish:
        load = seen.signals.concurrency
        if load is None:
            return Wish(desired=seen.ordered)
        if load > 0 or seen.signals.arrivals:
            if self._idle_since is not None:
                gap_s = now - self._idle_since
                self.idle_s += min(gap_s, self._kept_s)
                self._gaps = remember(self._gaps, IdleGap(began_at=self._idle_since, length_s=gap_s))
                self._idle_since = None
            return Wish(desired=max(1, math.ceil(load / self._carried)))
        if self._idle_since is None:
            self._idle_since = now
            self._kept_s = max(GAP_LEAST_S, self._retention(self._gaps, now))
        return Wish(desired=min(1, seen.ordered) if now - self._idle_since < self._kept_s else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """One rule over one trace."""

    rule: str
    starts: int
    replica_hours: float
    idle_hours: float
    within: float


def played(name: str, retention: Retention, world: World, trace: Trace) -> Played:
    scaler = ToZero(world.pace.concurrency, retention)
    report = play(world, trace, scaler, seed=1)
    return Played(
        rule=name,
        starts=report.launches,
        replica_hours=report.replica_hours,
        idle_hours=scaler.idle_s / 3600,
        within=report.share_within,
    )


def at_starts(curve: Sequence[Played], starts: int) -> tuple[float, float]:
    """Replica-hours and idle hours of the curve where it has that many starts; NaN beyond its ends."""
    known = sorted(curve, key=lambda one: (one.starts, one.replica_hours))
    place = bisect_left([one.starts for one in known], starts)
    if place == len(known) or (place == 0 and known[0].starts != starts):
        return math.nan, math.nan
    above = known[place]
    if above.starts == starts:
        return above.replica_hours, above.idle_hours
    below = known[place - 1]
    share = (starts - below.starts) / (above.starts - below.starts)
    return (
        below.replica_hours + share * (above.replica_hours - below.replica_hours),
        below.idle_hours + share * (above.idle_hours - below.idle_hours),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path, nargs="?", default=TRACE)
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    asked = parser.parse_args()
    if not asked.trace.is_file():
        print(f"brain_sparse: no trace at {asked.trace}; give its path", file=sys.stderr)
        return 0
    whole = read_trace(asked.trace)
    half_s = whole.duration_s / 2
    parts = {WHOLE: whole, "first_half": whole.slice(0.0, half_s), "second_half": whole.slice(half_s, half_s)}
    world = replace(World(), replicas_start=0, replicas_max=8, tick_s=TICK_S)
    restart_s = world.cold_start_s
    rules: list[tuple[str, Retention]] = [(f"fixed {kept / 60:.0f} min", Fixed(kept)) for kept in FIXED_S]
    rules += [(f"break-even × {weight:g}", Fixed(min(MOST_S, weight * restart_s))) for weight in WEIGHTS]
    rules += [(f"learned × {weight:g}", Learned(weight, restart_s)) for weight in WEIGHTS]
    with ProcessPoolExecutor(asked.processes) as pool:
        going = {
            part: [pool.submit(played, name, rule, world, trace) for name, rule in rules]
            for part, trace in parts.items()
        }
        found = {part: [one.result() for one in runs] for part, runs in going.items()}
    for part, rows in found.items():
        show(part, rows)
    return 0


def show(part: str, rows: Sequence[Played]) -> None:
    say = sys.stderr.write
    fixed, rest = rows[: len(FIXED_S)], rows[len(FIXED_S) :]
    plain, learned = rest[: len(WEIGHTS)], rest[len(WEIGHTS) :]
    say(f"\n{part}\n{'rule':20} {'cold starts':>11} {'replica-h':>10} {'idle h':>8} {'within':>8}\n")
    for row in (*fixed, *learned):
        figures = f"{row.replica_hours:10.2f} {row.idle_hours:8.2f} {100 * row.within:7.2f} %"
        say(f"{row.rule:20} {row.starts:11d} {figures}\n")
    for row in fixed:
        hours, idle = at_starts(learned, row.starts)
        plain_hours, plain_idle = at_starts(plain, row.starts)
        say(
            f"at {row.starts} cold starts, as {row.rule}: "
            f"{hours:.2f} replica-h, {hours / row.replica_hours:.3f} of it; "
            f"idle {idle:.2f} h, {idle / row.idle_hours:.3f} of it; "
            f"break-even {plain_hours / row.replica_hours:.3f} and {plain_idle / row.idle_hours:.3f}\n"
        )
        name = row.rule.replace(" ", "_")
        goal = 1.0 if part == WHOLE else None
        for what, value, peer in (("idle", idle, row.idle_hours), ("replica", hours, row.replica_hours)):
            measure = f"{what}_hours_at_{row.starts}_cold_starts_{part}"
            report(measure, value / peer, f"of {peer:.4g} h", at_most=goal, peer=name)


if __name__ == "__main__":
    sys.exit(main())
