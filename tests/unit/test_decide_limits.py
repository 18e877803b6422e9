"""Rates as the HorizontalPodAutoscaler's, and steps."""

from typing import Literal

import pytest

from fleetctl.decide.limits import rate_limited, stepped
from fleetctl.model.services import Behavior, RatePolicy

NOW = 1000.0


def replicas(value: int, period_s: float = 60.0) -> RatePolicy:
    return RatePolicy(kind="replicas", value=value, period_s=period_s)


def percent(value: int, period_s: float = 60.0) -> RatePolicy:
    return RatePolicy(kind="percent", value=value, period_s=period_s)


@pytest.mark.parametrize(
    ("current", "wanted", "policies", "select", "moves", "expected", "why"),
    [
        (3, 9, [], "max", [], 9, "no policies, no limit"),
        (3, 9, [replicas(2)], "max", [], 5, "two a minute"),
        (5, 9, [replicas(2)], "max", [(990.0, 2)], 5, "those two were added ten seconds ago"),
        (5, 9, [replicas(2)], "max", [(930.0, 2)], 7, "that was more than a minute ago"),
        (5, 9, [replicas(4)], "max", [(990.0, 2)], 7, "two of four are used up"),
        (3, 9, [replicas(9)], "max", [], 9, "a rate is no wish"),
        (4, 50, [percent(100)], "max", [], 8, "doubling, from where the period began"),
        (8, 50, [percent(100)], "max", [(990.0, 4)], 8, "it has doubled within this minute"),
        (3, 50, [percent(50)], "max", [], 5, "a share is rounded up when adding, as the HPA does"),
        (0, 9, [percent(100)], "max", [], 1, "from zero a percentage adds one, or it never got anywhere"),
        (3, 50, [replicas(4), percent(100)], "max", [], 7, "max takes the policy that allows more"),
        (3, 50, [replicas(4), percent(100)], "min", [], 6, "min takes the one that allows less"),
        (3, 50, [replicas(4)], "disabled", [], 3, "disabled forbids the direction"),
        (9, 0, [replicas(2)], "max", [], 7, "two fewer a minute"),
        (9, 0, [replicas(2), percent(50)], "max", [], 4, "down, max is the policy that removes more"),
        (9, 0, [replicas(2), percent(50)], "min", [], 7, "down, min is the policy that removes less"),
        (9, 0, [percent(10)], "max", [], 8, "a share is rounded so that something goes"),
        (7, 0, [replicas(2)], "max", [(990.0, -2)], 7, "two have gone within this minute"),
        (9, 0, [replicas(2)], "disabled", [], 9, "disabled forbids the direction"),
        (9, 0, [percent(100)], "max", [], 0, "all at once may be allowed"),
        (6, 9, [replicas(2)], "max", [(990.0, -2)], 9, "what was just taken away may come back besides"),
        (4, 4, [replicas(1)], "disabled", [], 4, "nothing wanted, nothing limited"),
        (9, 12, [replicas(2)], "max", [(990.0, 5)], 9, "more than the rate was added by hand: wait, never go back"),
    ],
)
def test_rates(
    current: int,
    wanted: int,
    policies: list[RatePolicy],
    select: Literal["max", "min", "disabled"],
    moves: list[tuple[float, int]],
    expected: int,
    why: str,
) -> None:
    behavior = Behavior(policies=tuple(policies), select=select)

    assert rate_limited(current, wanted, behavior, moves, NOW) == expected, why


@pytest.mark.parametrize(
    ("current", "wanted", "step", "lowest", "expected", "why"),
    [
        (3, 4, 1, 0, 4, "a step of one is no step"),
        (2, 3, 2, 0, 4, "up is rounded away from what there is"),
        (2, 6, 2, 0, 6, "whole steps stay as they are"),
        (6, 5, 2, 0, 6, "down, less than a step changes nothing"),
        (6, 3, 2, 0, 4, "down, only whole steps go"),
        (5, 1, 2, 1, 1, "the least can always be reached"),
        (5, 0, 2, 1, 0, "what is below the least is for the limits to say"),
        (0, 1, 4, 1, 1, "the least is reached without a whole step"),
        (4, 4, 3, 0, 4, "nothing to do"),
    ],
)
def test_steps(current: int, wanted: int, step: int, lowest: int, expected: int, why: str) -> None:
    assert stepped(current, wanted, step, lowest) == expected, why
