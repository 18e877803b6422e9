"""Samples over time, as a peer's metric windows keep them."""

from collections import deque
from math import inf


class History:
    """Values by the second they were taken at; those older than `keep_s` are forgotten."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._samples: deque[tuple[float, float]] = deque()

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, now: float, value: float) -> None:
        self._samples.append((now, value))
        while self._samples[0][0] <= now - self._keep_s:
            self._samples.popleft()

    def mean(self, now: float, window_s: float) -> float | None:
        """Of the samples later than `now - window_s`; None without any. A short history is averaged as it is."""
        values = self._within(now, window_s)
        return sum(values) / len(values) if values else None

    def total(self, now: float, window_s: float) -> float:
        return sum(self._within(now, window_s))

    def most(self, now: float, window_s: float) -> float:
        return max(self._within(now, window_s), default=-inf)

    def least(self, now: float, window_s: float) -> float:
        return min(self._within(now, window_s), default=inf)

    def _within(self, now: float, window_s: float) -> list[float]:
        since = now - window_s
        return [value for at, value in self._samples if at > since]
