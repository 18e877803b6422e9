"""Memory of what is only held: 2,000 streams that say nothing, 2,000 connections between two requests.

The difference of the resident memory of the candidate's processes, over 2,000, while a first batch of the same kind
stands already: what is allocated once is not counted, nor what was free from the start.
`python bench/gateway_memory.py [--quick]`.
"""

import sys

from figures import report
from gateway.samples import Work, loading
from gateway.tables import asked, chosen
from gateway.world import Running, World, side_by_side

HELD = 2000
QUICK_HELD = 1000
FIRST = 500
"""Held before and throughout: they take what the process had free, and what is made at the first use."""
SETTLE_S = 1.0
GOAL_KB = 10.0
OURS = "fleetctl"
KINDS = {"hold": "held stream", "idle": "idle connection"}


def main() -> None:
    given = asked(__doc__.splitlines()[0])
    count = QUICK_HELD if given.quick else HELD
    found: dict[str, dict[str, float | None]] = {}
    for kind in KINDS:  # each in processes of its own: what is freed is rarely given back to the system
        with side_by_side(chosen(given)) as world:
            for one in world.running:
                if one.tree is not None:
                    found.setdefault(one.name, {})[kind] = each_kb(world, one, kind, count, given.seed)
    print(f"\n{'':24}{'kB a stream':>14}{'kB a connection':>18}", file=sys.stderr)
    for name, values in found.items():
        for kind, what in KINDS.items():
            goal = GOAL_KB if name == OURS else None
            report(f"{what}: {name}", values[kind], "kB", at_most=goal)
        shown = ["failed" if value is None else f"{value:.1f}" for value in values.values()]
        print(f"{name:24}{shown[0]:>14}{shown[1]:>18}", file=sys.stderr)


def each_kb(world: World, one: Running, kind: str, count: int, seed: int) -> float | None:
    """None: it does not hold that many."""
    assert one.tree is not None
    with loading(world, one, Work(mode=kind, count=FIRST, seconds=SETTLE_S), seed) as first:
        first.measured(SETTLE_S)
        before = one.tree.rss_bytes()
        with loading(world, one, Work(mode=kind, count=count, seconds=SETTLE_S), seed) as load:
            said = load.measured(SETTLE_S)
            after = one.tree.rss_bytes()
    if said.errors or said.there < count:
        print(f"  {one.name}, {kind}: {said.there} of {count}; {said.first_error}", file=sys.stderr)
        return None
    return (after - before) / count / 1000


if __name__ == "__main__":
    main()
