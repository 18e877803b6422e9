"""Latency that the gateway and its peers add: 500 requests a second at random moments, timed from when each was due.

What is added is the difference to the same requests straight to the upstream, in the same rounds.
`python bench/gateway_latency.py [--quick]`.
"""

import statistics

from figures import report
from gateway.samples import Samples, Work, ranked, rotated
from gateway.tables import asked, chosen, table
from gateway.world import side_by_side

RATE = 500
ROUNDS, SECONDS = 5, 2.0
QUICK_ROUNDS, QUICK_SECONDS = 3, 1.0
P50_GOAL_MS, P99_GOAL_MS = 0.25, 1.0
DIRECT, OURS = "direct", "fleetctl"


def main() -> None:
    given = asked(__doc__.splitlines()[0])
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if given.quick else (ROUNDS, SECONDS)
    work = Work(mode="open", count=RATE, seconds=seconds)
    with side_by_side(chosen(given, always=(DIRECT,))) as world:
        found = rotated(world, [work], rounds=rounds, seed=given.seed)
        names = [one.name for one in world.running]
    table(found, names, work, f"{RATE} requests a second, open loop")
    for name in names:
        if name != DIRECT and ranked(found[name, work.name]) and ranked(found[DIRECT, work.name]):
            ours = name == OURS
            p50, p99 = added(found, work, name, "p50_us"), added(found, work, name, "p99_us")
            report(f"added_p50: {name}", p50, "ms", at_most=P50_GOAL_MS if ours else None)
            report(f"added_p99: {name}", p99, "ms", at_most=P99_GOAL_MS if ours else None)


def added(found: Samples, work: Work, name: str, figure: str) -> float:
    """Milliseconds; the median of the rounds' differences."""
    pairs = zip(found[name, work.name], found[DIRECT, work.name], strict=True)
    return (
        statistics.median(float(getattr(through, figure)) - float(getattr(direct, figure)) for through, direct in pairs)
        / 1e3
    )


if __name__ == "__main__":
    main()
