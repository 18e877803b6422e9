"""Overshoot: load that jumps by 2.4, and what each autoscaler orders at most, over what the new load needs.

    python bench/brain_steps.py

One-GPU replicas that boot in 20 to 480 s; requests come at random at 8 a second, after 75 minutes at 19.2 a second. The
run begins with the constant fleet that keeps the promise at the first rate; `needed` is that of the second. Each peer
is set to a target of half a replica's capacity, what its users would take without a sweep; `bench/brain_traces.py`
tunes them.
"""

import sys
from array import array
from dataclasses import replace
from random import Random

from fleetctl.decide.auto.brain import Parameters
from fleetctl.sim.auto_scaler import AutoScaler
from fleetctl.sim.clairvoyant import best_constant
from fleetctl.sim.peers import PEERS, Capacity
from fleetctl.sim.scalers import Scaler
from fleetctl.sim.service_world import play
from fleetctl.sim.traces import Trace
from fleetctl.sim.worlds import Stage, World

BOOTS_S = (20.0, 60.0, 120.0, 270.0, 480.0)
STEP = 2.4
RATE_PER_S = 8.0
STEP_AT_S, END_S = 4500.0, 9000.0
REPLICAS_MAX = 64
"""Ten times the need: whoever runs away shows it, and the bench ends."""
PEER_SHARE = 0.5
GOAL = 1.3


def stepped() -> Trace:
    random = Random("step")
    arrivals_s, inputs, outputs = array("d"), array("I"), array("I")
    at = random.expovariate(RATE_PER_S)
    while at < END_S:
        arrivals_s.append(at)
        inputs.append(max(1, round(random.lognormvariate(6.0, 0.8))))
        outputs.append(max(1, round(random.lognormvariate(4.5, 0.8))))
        at += random.expovariate(RATE_PER_S if at < STEP_AT_S else RATE_PER_S * STEP)
    return Trace(arrivals_s=arrivals_s, input_tokens=inputs, output_tokens=outputs, duration_s=END_S)


def capacity(world: World, trace: Trace) -> Capacity:
    """What a load test with the trace's mean request would have told."""
    pace, count = world.pace, len(trace)
    step_s = pace.step_s(batch=pace.concurrency, prefill_tokens=0)
    request_s = sum(trace.output_tokens) / count * step_s / pace.concurrency
    request_s += sum(trace.input_tokens) / count * pace.prefill_s_per_token
    return Capacity(concurrency=pace.concurrency, requests_per_s=1 / request_s)


def main() -> int:
    calm = World(replicas_max=REPLICAS_MAX)
    trace = stepped()
    before = best_constant(calm, trace.slice(0, STEP_AT_S))
    needed = best_constant(calm, trace.slice(STEP_AT_S, END_S - STEP_AT_S))
    known = capacity(calm, trace)
    print(f"step ×{STEP:g}: {before} replicas, then {needed}; peak ordered over needed", file=sys.stderr)
    print(f"{'':>10}" + "".join([f"{f'{boot_s:g} s':>16}" for boot_s in BOOTS_S]), file=sys.stderr)
    worst = {}
    for policy in ("auto", *PEERS):
        cells = []
        for boot_s in BOOTS_S:
            world = replace(calm, cold_start=(Stage(name="boot", median_s=boot_s, spread=0.1),), replicas_start=before)
            scaler: Scaler
            if policy == "auto":
                scaler = AutoScaler(
                    Parameters(batch=world.pace.concurrency, maximum=REPLICAS_MAX, cold_s=world.cold_start_s)
                )
            else:
                scaler = PEERS[policy].make(known, PEER_SHARE, before)
            report = play(world, trace, scaler, seed=0)
            before_step = [moment.ordered for moment in report.timeline if moment.at <= STEP_AT_S][-1:]
            peak = max(before_step + [moment.ordered for moment in report.timeline if moment.at > STEP_AT_S])
            cells.append((peak / needed, report.share_within))
        worst[policy] = max([over for over, _ in cells])
        row = "".join([f"{f'{over:.2f} ({share:.1%})':>16}" for over, share in cells])
        print(f"{policy:>10}{row}", file=sys.stderr, flush=True)
    best_peer = min(PEERS, key=lambda peer: worst[peer])
    for policy, value in worst.items():
        measure, unit = f"{policy}_step_overshoot_worst", "peak ordered ÷ needed"
        if policy == "auto":
            report(measure, value, unit, at_most=GOAL, peer=best_peer, peer_value=worst[best_peer])
        else:
            report(measure, value, unit)
    return 0


if __name__ == "__main__":
    sys.exit(main())
