"""What a fleet of a size would have missed, by the fluid rule: backlog ← max(0, backlog + work − fleet)."""

from collections.abc import Sequence

from fleetctl.model.learning import BIN_S


def misses(works: Sequence[float], arrivals: Sequence[float], fleet: Sequence[int], wait_s: float) -> float:
    """Requests that came while the backlog was more than the fleet of that bin does in the promised wait."""
    backlog = missed = 0.0
    for work, came, size in zip(works, arrivals, fleet, strict=True):
        backlog += work - size * BIN_S
        if backlog <= 0.0:
            backlog = 0.0
        elif backlog > wait_s * size:
            missed += came
    return missed


def misses_of_constant(works: Sequence[float], arrivals: Sequence[float], size: int, wait_s: float) -> float:
    backlog = missed = 0.0
    done, limit = size * BIN_S, wait_s * size
    for work, came in zip(works, arrivals, strict=True):
        backlog += work - done
        if backlog <= 0.0:
            backlog = 0.0
        elif backlog > limit:
            missed += came
    return missed


def smallest_constant(
    works: Sequence[float], arrivals: Sequence[float], allowed: float, wait_s: float, size_limit: int
) -> int:
    """The smallest constant fleet that misses no more than `allowed`; at most `size_limit`."""
    low, high = 0, 1
    while high < size_limit and misses_of_constant(works, arrivals, high, wait_s) > allowed:
        low, high = high, min(size_limit, high * 2)
    while high - low > 1:
        size = (low + high) // 2
        if misses_of_constant(works, arrivals, size, wait_s) > allowed:
            low = size
        else:
            high = size
    return high
