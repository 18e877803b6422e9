"""Speed: a day of requests through the simulated world, every decision of `auto` included, on one core.

python bench/brain_speed.py [TRACE]
"""

import argparse
import sys
import time
from pathlib import Path

from figures import report

from fleetctl.decide.auto.brain import Parameters
from fleetctl.sim.auto_scaler import AutoScaler
from fleetctl.sim.scalers import Constant, Scaler
from fleetctl.sim.service_world import play
from fleetctl.sim.traces import read_trace
from fleetctl.sim.worlds import World

TRACE = Path(__file__).resolve().parents[2] / "shared" / "traces" / "sg_large_wed.csv.gz"
START = 4
GOAL_S = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path, nargs="?", default=TRACE)
    asked = parser.parse_args()
    if not asked.trace.is_file():
        print(f"brain_speed: no trace at {asked.trace}; give its path", file=sys.stderr)
        return 0
    trace = read_trace(asked.trace)
    world = World(replicas_start=START)
    parameters = Parameters(batch=world.pace.concurrency, cold_s=world.cold_start_s)
    scalers: dict[str, Scaler] = {"constant": Constant(replicas=START), "auto": AutoScaler(parameters)}
    spent_s = {}
    for name, scaler in scalers.items():
        began = time.process_time()
        play(world, trace, scaler, seed=0)
        spent_s[name] = time.process_time() - began
        print(
            f"{name:>10}: {len(trace):,} requests over {trace.duration_s / 3600:.1f} h in {spent_s[name]:.1f} s of CPU",
            file=sys.stderr,
            flush=True,
        )
    value = spent_s["auto"]
    report("replay_24h", value, "s CPU", at_most=GOAL_S, peer="constant fleet", peer_value=spent_s["constant"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
