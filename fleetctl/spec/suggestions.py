"""The nearest right word for a wrong one."""

import re
from collections.abc import Iterable

LIKENESS_MIN = 0.7
"""Likeness from which two words may mean the same: `mx` and `max` have 0.8, `gup` and `gpu` 0.83, `cpu` and `gpu` 0.67,
`on` and `down` 0.67."""
PROVIDER_LIKENESS = 0.6
"""Names of providers are so short that one slip already makes 0.67, as from `gpc` to `gcp`."""


def nearest(word: str, choices: Iterable[str], *, likeness: float = LIKENESS_MIN) -> str | None:
    """The choice most like `word`, whatever its case and whether it is written camelCase, kebab-case or snake_case."""
    plain = {snake_case(choice): choice for choice in choices}
    meant = snake_case(word)
    best = max(plain, key=lambda one: alike(meant, one), default=None)
    return plain[best] if best is not None and alike(meant, best) >= likeness else None


def alike(one: str, other: str) -> float:
    """How alike two words are, from 0 to 1: 1 - slips ÷ (letters of both).

    A letter too many, too few, or two neighbours that changed places are one slip each (Damerau 1964, in the restricted
    form of optimal string alignment); a letter in place of another is two, one too many and one too few: in short words
    it makes another word more often than it is a slip.
    """
    above: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        above, before, row = row, above, [i]
        for j, its in enumerate(other, 1):
            cost = above[j - 1] if letter == its else min(above[j], row[j - 1]) + 1
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == its:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
    return 1 - row[-1] / ((len(one) + len(other)) or 1)


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing."""
    found = nearest(word, choices)
    return f"; did you mean {found!r}?" if found else ""


def write_one_of(word: str, choices: Iterable[str]) -> str:
    """What to write instead of `word`: the nearest choice, or the list of all."""
    known = tuple(choices)
    found = nearest(word, known)
    return f"write {found}" if found else f"write one of: {', '.join(known)}"


def snake_case(word: str) -> str:
    """`scaleDownDelay` and `scale-down-delay` as `scale_down_delay`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word).replace("-", "_").lower()
