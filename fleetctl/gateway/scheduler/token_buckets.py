"""A rate with a burst: so much at once, and so much a minute from then on."""

from typing import Final

BURST_MINUTES: Final = 1.0
"""What a full bucket holds, in minutes of its rate. With one, whoever was quiet may use a whole minute's worth at once,
as "per minute" reads; no minute ever sees more than twice the limit."""
SLACK: Final = 1e-6
"""Sums of times are not exact; without this, coming back after the time that was told would fail by a hair."""


class TokenBucket:
    """Holds `burst` when full and refills by `per_minute`. What is owed (a level below zero) is paid back first."""

    __slots__ = ("_filled_s", "burst", "level", "rate_per_s")

    def __init__(self, per_minute: float, *, least: float, now: float) -> None:
        """Full. `least`: the smallest burst, so that the smallest thing there is fits in."""
        self.rate_per_s = per_minute / 60.0
        self.burst = max(per_minute * BURST_MINUTES, least)
        self.level = self.burst
        self._filled_s = now

    def wait_s(self, amount: float, now: float) -> float:
        """How long until `amount` can be taken; 0: now. More than the bucket holds needs a full one, and leaves a debt.

        Infinite where nothing ever flows in.
        """
        self._fill(now)
        missing = min(amount, self.burst) - self.level
        if missing <= SLACK:
            return 0.0
        return missing / self.rate_per_s if self.rate_per_s > 0 else float("inf")

    def take(self, amount: float, now: float) -> None:
        self._fill(now)
        self.level -= amount

    def give_back(self, amount: float, now: float) -> None:
        """Less than nothing: more was used than was taken."""
        self._fill(now)
        self.level = min(self.burst, self.level + amount)

    def change(self, per_minute: float, *, least: float, now: float) -> None:
        """Another limit from now on; what was taken stays taken."""
        self._fill(now)
        burst = max(per_minute * BURST_MINUTES, least)
        self.level = min(burst, self.level + max(0.0, burst - self.burst))
        self.rate_per_s = per_minute / 60.0
        self.burst = burst

    def _fill(self, now: float) -> None:
        if now > self._filled_s:
            self.level = min(self.burst, self.level + (now - self._filled_s) * self.rate_per_s)
            self._filled_s = now
