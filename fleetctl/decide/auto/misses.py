"""What really happened: requests that waited too long with every replica there that had been thought enough.

The record says what a fleet would have needed if the learned pace is right. Where it is not (prefills that stall the
answers beside them, lengths that come together), requests wait although nothing is on its way. Then one replica more
than those that were there is needed for such load, whatever the record says, until the load is gone for good or such
waits have not come again for long.
"""

from dataclasses import replace

from fleetctl.model.learning import Misses

HALF_LIFE_S = 3600.0
"""What is counted fades: the promise is a share of the requests of an hour or two."""
SPENT_SHARE = 0.6
"""From this share of the misses that the promise allows: below it, they are what was saved on purpose."""
LEVEL_S = 1200.0
"""Load is compared as a mean over so long: bursts that come again belong to it."""
GONE = 0.7
"""Under this share of the load at which requests waited, it is another load."""
CALM_S = 4 * 3600.0
"""Without another wait for so long, one replica less is tried."""


def counted(
    misses: Misses,
    *,
    span_s: float,
    now: float,
    arrivals: float,
    waited_s: float,
    wait_s: float,
    allowed: float,
    ready: int,
    ordered: int,
    level: float,
) -> Misses:
    """With one more step. `waited_s` is what a request that came in it waits, as the queue and who leaves it tell.

    `allowed` is the share of requests that may wait longer than `wait_s`, `level` the load in replicas' work a second.
    """
    fade = 0.5 ** (span_s / HALF_LIFE_S)
    late = waited_s > wait_s
    misses = replace(
        misses,
        arrivals=misses.arrivals * fade + arrivals,
        late=misses.late * fade + (arrivals if late else 0.0),
    )
    if misses.floor and (level < GONE * misses.level or now - misses.at > CALM_S):
        misses = replace(misses, floor=misses.floor - 1 if level >= GONE * misses.level else 0, at=now)
    if not late:
        return replace(misses, waiting=False, settled=0) if misses.waiting else misses
    if not misses.waiting:
        # Where others are on their way, they were ordered too late, which one replica more would not have mended.
        settled = ready if ordered <= ready else 0
        misses = replace(misses, waiting=True, settled=settled, settled_level=level)
    if not misses.settled or misses.late <= SPENT_SHARE * allowed * misses.arrivals:
        return misses
    # Once for each time that it begins: what waits on is the same backlog.
    floor = max(misses.floor, misses.settled + 1)
    return replace(misses, floor=floor, level=misses.settled_level, at=now, settled=0)


def waited(queue: float, left: float | None, span_s: float, running: float) -> float:
    """Seconds that a request waits behind `queue` others while `left` leave the service in `span_s`. None: unknown."""
    if queue <= 0:
        return 0.0
    rate = (left if left is not None else running) / span_s
    return queue / rate if rate > 0 else span_s
