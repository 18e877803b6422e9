"""What is learned by watching: how fast prompts are computed, how fast the queue drains, how long answers are."""

from typing import Final

PREFILL_HORIZON_S: Final = 0.5
"""H: a replica is given prompts for at most this long ahead. Enough that it never runs dry between two messages of the
gateway; what comes later waits in the one queue, where the best of all is still free to be chosen."""
TYPICAL_PREFILL_TOKENS_PER_S: Final = 8000.0
"""Only to weigh prompts against slots while nothing is known: a mid-size model on one GPU."""
SAMPLE_TOKENS_LEAST: Final = 512
"""Less is computed in no time beside everything else that a first byte waits for, and says nothing about speed."""
SAMPLES_LEAST: Final = 4
"""A rate is believed after so many samples."""
OUTPUT_TOKENS_AT_FIRST: Final = 256.0
"""How long an answer is, as long as none was counted: a few paragraphs."""
OUTPUT_SHARE: Final = 0.05
"""Weight of the newest answer in the mean: about the last forty count."""
DRAIN_SHARE: Final = 0.05
"""Weight of the newest quarter of a second in the drain rate: the last five seconds decide."""
DRAIN_SAMPLES_LEAST: Final = 4
"""A drain rate is believed after a second of backlog: refusing on less would turn a first burst away."""
_UNLIMITED: Final = float(1 << 60)


class PrefillRate:
    """How fast one replica computes prompts, and how many tokens of them it is given at once, its window.

    A sample is what was computed between a grant and its first byte, over that time. As in BBR's model of a link
    (Cardwell et al., 2016), a sample below the rate says nothing where the replica had too little to do, and the window
    covers twice the shortest time to a first byte, so that an engine that is slow to answer but wide is found out.
    """

    __slots__ = (
        "_configured",
        "_least_s",
        "_samples",
        "_seconds",
        "_tokens",
        "delivered",
        "load_per_token",
        "rate",
        "window",
    )

    def __init__(self) -> None:
        self.rate = 0.0
        """Tokens per second; 0: not known."""
        self.window: float = _UNLIMITED
        """Tokens that may be in computation when one more prompt is given."""
        self.load_per_token = 1.0 / (TYPICAL_PREFILL_TOKENS_PER_S * PREFILL_HORIZON_S)
        self.delivered = 0
        """Tokens that it has computed in all."""
        self._least_s = 0.0
        self._samples = 0
        self._tokens = 0.0
        self._seconds = 0.0
        self._configured = 0.0

    def configure(self, rate: float) -> None:
        """What the user knows is believed, and not learned; 0: nothing."""
        if rate > 0 and rate != self._configured:
            self.rate = rate
            self._least_s = 0.0
            self._open()
        self._configured = rate

    def learn(self, tokens: int, seconds: float, *, alone: bool, busy: bool) -> None:
        """`alone`: nothing else was in computation when the time began; `busy`: something is, now that it is over."""
        if self._configured > 0 or tokens < SAMPLE_TOKENS_LEAST or seconds <= 0:
            return
        if alone:
            self._least_s = min(seconds, self._least_s * 1.02) if self._least_s else seconds
        kept = 0.95
        if self._samples >= SAMPLES_LEAST:
            if tokens > self.rate * seconds:
                kept = 0.85
            elif not busy:
                return
        self._samples += 1
        self._tokens = self._tokens * kept + tokens
        self._seconds = self._seconds * kept + seconds
        if self._samples >= SAMPLES_LEAST:
            self.rate = self._tokens / self._seconds
            self._open()

    def _open(self) -> None:
        self.window = self.rate * max(PREFILL_HORIZON_S, 2 * self._least_s)
        self.load_per_token = 1.0 / self.window


class DrainRate:
    """How many requests leave the queue per second and slot, while there is a queue."""

    __slots__ = ("_backlogged", "_first", "_granted", "_samples", "_since_s", "per_slot")

    def __init__(self) -> None:
        self.per_slot = 0.0
        """0: not known."""
        self._granted = 0
        self._since_s = 0.0
        self._backlogged = False
        """At the last look."""
        self._samples = 0
        self._first = 0.0

    def look(self, granted: int, slots: int, now: float, *, backlogged: bool) -> None:
        """Called every quarter of a second with the grants so far. A time without a backlog is only a lower bound, and
        so is one in which the backlog began: what was granted before it came says nothing of how fast it goes."""
        passed = now - self._since_s
        if passed <= 0:
            return
        if slots and self._since_s:
            sample = (granted - self._granted) / passed / slots
            whole = backlogged and self._backlogged
            if self._samples < DRAIN_SAMPLES_LEAST:
                if whole:
                    self._samples += 1
                    self._first += sample / DRAIN_SAMPLES_LEAST
                    if self._samples == DRAIN_SAMPLES_LEAST:
                        self.per_slot = self._first
            elif whole or sample > self.per_slot:
                self.per_slot += min(1.0, DRAIN_SHARE * passed / 0.25) * (sample - self.per_slot)
        self._granted = granted
        self._since_s = now
        self._backlogged = backlogged
