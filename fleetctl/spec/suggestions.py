"""The nearest right word for a wrong one."""

import re
from collections.abc import Iterable

LIKENESS_MIN = 0.7
"""Ratio of difflib from which two words may mean the same: `mx` and `max` have 0.8, `on` and `down` 0.67."""
PROVIDER_LIKENESS = 0.6
"""Names of providers are so short that one slip already makes 0.67, as from `gpc` to `gcp`."""


def nearest(word: str, choices: Iterable[str], *, likeness: float = LIKENESS_MIN) -> str | None:
    """The choice most like `word`, whatever its case and whether it is written camelCase, kebab-case or snake_case."""
    from difflib import get_close_matches  # only wrong files pay for it

    plain = {snake_case(choice): choice for choice in choices}
    found = get_close_matches(snake_case(word), plain, n=1, cutoff=likeness)
    return plain[found[0]] if found else None


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
