"""Event streams through the gateway and its peers: 50 chunks of 250 bytes a second each, in 20 phases.

Streams per core are chunks delivered for each CPU-second of the candidate, over 50. A chunk's delay is from the stamp
that the upstream wrote into it to its arrival. `python bench/gateway_streams.py [--quick]`.
"""

from figures import report
from gateway.candidates import UNIT
from gateway.samples import STREAM_CHUNKS_PER_S, Samples, Work, middle, ranked, ratio, rotated
from gateway.tables import asked, chosen, table
from gateway.world import side_by_side

ROUNDS, SECONDS, UP_S = 4, 1.5, 20.0
QUICK_ROUNDS, QUICK_SECONDS, QUICK_UP_S = 3, 1.0, 6.0
COUNTS = (500, 1000, 2000)
TIMELY = 1000
"""Streams at which 99 % of the chunks are to be less than DELAY_GOAL_MS late."""
DELAY_GOAL_MS = 20.0
SHARE_GOAL = 0.6
OURS = "fleetctl"


def main() -> None:
    given = asked(__doc__.splitlines()[0])
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if given.quick else (ROUNDS, SECONDS)
    works = [
        Work(mode="sse", count=count, seconds=seconds, warm_s=QUICK_UP_S if given.quick else UP_S) for count in COUNTS
    ]
    with side_by_side(chosen(given)) as world:
        found = rotated(world, works, rounds=rounds, seed=given.seed)
        names = [one.name for one in world.running]
    for work in works:
        table(found, names, work, f"{work.count} streams at {STREAM_CHUNKS_PER_S:g} chunks/s: chunks per CPU-second")
        for name in names:
            if name != "direct" and ranked(found[name, work.name]):
                of(found, name, work)
        for name in names:
            if name.startswith(OURS) and (UNIT, work.name) in found:
                value = ratio(found, name, UNIT, work)
                goal = SHARE_GOAL if name == OURS and work.count != TIMELY else None
                report(f"{work.name}: {name} to {UNIT}", value, "x per core", at_least=goal)


def of(found: Samples, name: str, work: Work) -> None:
    samples = found[name, work.name]
    per_core = middle(samples, "per_core") / STREAM_CHUNKS_PER_S
    report(f"{work.name}_streams_per_core: {name}", per_core, "streams")
    goal = DELAY_GOAL_MS if name == OURS and work.count == TIMELY else None
    delay = middle(samples, "p99_us") / 1e3
    report(f"{work.name}_delay_p99: {name}", delay, "ms", at_most=goal)


if __name__ == "__main__":
    main()
