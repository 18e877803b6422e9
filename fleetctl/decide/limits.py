"""Rates, steps and bounds: what stands between a wish and the count."""

from collections.abc import Sequence
from math import ceil, floor

from fleetctl.decide.windows import total
from fleetctl.model.services import Behavior, RatePolicy

NO_LIMIT = 10_000
"""Above any fleet of one Service."""


def rate_limited(current: int, wanted: int, behavior: Behavior, moves: Sequence[tuple[float, int]], now: float) -> int:
    """`wanted`, brought as near to `current` as the direction's rate policies demand; never beyond `current`.

    As in the HorizontalPodAutoscaler: each policy counts from where its period began, `select` chooses among them.
    """
    if wanted == current:
        return current
    if behavior.select == "disabled":
        return current
    if not behavior.policies:
        return wanted
    choose = max if (behavior.select == "max") == (wanted > current) else min
    allowed = choose(_reach(policy, current, moves, now, up=wanted > current) for policy in behavior.policies)
    if wanted > current:
        return max(current, min(wanted, allowed))
    return min(current, max(wanted, allowed))


def eases_at(
    current: int, allowed: int, behavior: Behavior, moves: Sequence[tuple[float, int]], now: float, *, up: bool
) -> float | None:
    """When the rate policies that allow `allowed` now will allow more of the way; None: never by themselves."""
    taken = (*moves, (now, allowed - current)) if allowed != current else tuple(moves)
    beyond = allowed + NO_LIMIT if up else 0
    times = sorted({at + policy.period_s for policy in behavior.policies for at, _ in taken})
    for at in times:
        if at > now and rate_limited(allowed, beyond, behavior, taken, at) != allowed:
            return at
    return None


def _reach(policy: RatePolicy, current: int, moves: Sequence[tuple[float, int]], now: float, *, up: bool) -> int:
    """The count that one policy lets the Replicas reach now."""
    start = current - total(moves, now, policy.period_s, sign=1) + total(moves, now, policy.period_s, sign=-1)
    start = max(0, start)
    match policy.kind:
        case "replicas":
            return start + policy.value if up else max(0, start - policy.value)
        case "percent":
            share = policy.value / 100
            # From zero a percentage would never get anywhere; one Replica is the least that can be added.
            return max(1, ceil(start * (1 + share))) if up else max(0, floor(start * (1 - share)))


def stepped(current: int, wanted: int, step: int, lowest: int) -> int:
    """`wanted` in whole steps: up is rounded away from `current`, down towards it; `lowest` can always be reached."""
    if step <= 1 or wanted == current or wanted <= lowest:
        return wanted
    if wanted > current:
        return current + ceil((wanted - current) / step) * step
    return current - (current - wanted) // step * step
