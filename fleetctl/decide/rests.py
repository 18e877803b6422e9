"""How long to leave alone what has just failed."""

RETRY_FIRST_S = 2.0
RETRY_MOST_S = 120.0
"""Pause after a failed attempt at an Instance, doubled with each further one up to the second figure: a provider that
is out of something is asked often enough to notice when it has it again, and is not hammered."""


def too_soon(failures: int, last_at: float, now: float) -> bool:
    """Whether the last of so many failures in a row is too recent to try again."""
    return failures > 0 and now - last_at < rest_s(failures)


def rest_s(failures: int) -> float:
    """The pause after so many failures in a row, at least one."""
    return min(RETRY_MOST_S, RETRY_FIRST_S * 2.0 ** min(failures - 1, 16))
