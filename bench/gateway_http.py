"""Small JSON through the gateway and its peers: 2 KB asked, 2 KB answered, 32 and 256 connections that are kept.

Requests for each CPU-second of the candidate's processes, which have one core; HAProxy with one thread is the unit.
`python bench/gateway_http.py [--quick]`.
"""

from figures import report
from gateway.candidates import UNIT
from gateway.samples import WARM_S, Samples, Work, middle, ranked, ratio, rotated
from gateway.tables import asked, chosen, table
from gateway.world import side_by_side

ROUNDS, SECONDS = 5, 1.0
QUICK_ROUNDS, QUICK_SECONDS, QUICK_WARM_S = 3, 0.7, 6.0
OURS = "fleetctl"
GOALS = {UNIT: 0.6, "vllm-router": 5.0, "smg": 5.0, "fastapi+httpx": 50.0}
"""Ours to theirs, per core."""


def main() -> None:
    given = asked(__doc__.splitlines()[0])
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if given.quick else (ROUNDS, SECONDS)
    works = [
        Work(mode="http", count=count, seconds=seconds, warm_s=QUICK_WARM_S if given.quick else WARM_S)
        for count in (32, 256)
    ]
    with side_by_side(chosen(given)) as world:
        found = rotated(world, works, rounds=rounds, seed=given.seed)
        names = [one.name for one in world.running]
    for work in works:
        table(found, names, work, f"small JSON, {work.count} connections: requests per CPU-second")
        for name in names:
            if name != "direct" and ranked(found[name, work.name]):
                report(f"{work.name}_per_core: {name}", middle(found[name, work.name], "per_core"), "1/s")
        for name in names:
            if name.startswith(OURS):
                against(found, name, work)


def against(found: Samples, ours: str, work: Work) -> None:
    """Goals are of the gateway as it is installed with uvloop; the others are said beside it."""
    for theirs, goal in GOALS.items():
        if (theirs, work.name) in found:
            value = ratio(found, ours, theirs, work)
            at_least = goal if ours == OURS else None
            report(f"{work.name}: {ours} to {theirs}", value, "x per core", at_least=at_least)


if __name__ == "__main__":
    main()
