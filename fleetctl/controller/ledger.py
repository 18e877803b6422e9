"""The ledger's clock: what is used tick by tick, made into amounts by the hour, each moment counted once.

The store keeps up to when it has counted. Whoever controls the fleet next goes on from there, so that neither a restart
nor a crash loses or repeats a moment. A clock that is set back is waited for; one that leaps counts nothing.
"""

from collections.abc import Sequence

from fleetctl.model.ledger import Account, Amount, Rate, Spent

HOUR_S = 3600.0
KEEP_EVERY_S = 15.0
"""Unchanged machines are written down this often: four small upserts a minute for each account."""
GAP_MOST_S = 7 * 86_400.0
"""Between two ticks. So long a controller may be away while its machines run on, and they are counted as it left them;
after more nobody knows what they did, or the clock was wrong, so nothing is counted."""


class Ledger:
    """One controller's amounts in the making."""

    def __init__(self, until: float | None = None) -> None:
        """`until`: up to when the store has counted; None: its book is empty."""
        self._stored = until
        self._at = until
        self._amounts: dict[tuple[int, Account], list[float]] = {}
        self._held: frozenset[tuple[str, str, float, float]] = frozenset()
        """Machines as they were when last written down."""

    def add(self, now: float, rates: Sequence[Rate]) -> Spent | None:
        """Count up to `now`, at the rates that held since the tick before; what is to be stored with this tick."""
        leapt = self._at is None or abs(now - self._at) > GAP_MOST_S
        if self._at is None or leapt:
            self._at = now
        elif now > self._at:
            self._count(self._at, now, rates)
            self._at = now
        held = _machines(rates)
        due = leapt or held != self._held or self._at - (self._stored or 0.0) >= KEEP_EVERY_S
        if not due or self._at == self._stored:
            return None
        self._held = held
        return Spent(
            since=self._stored,
            until=self._at,
            amounts=tuple(
                Amount(hour=hour, account=account, gpu_s=gpu_s, dollars=dollars, unpriced_gpu_s=unpriced)
                for (hour, account), (gpu_s, dollars, unpriced) in self._amounts.items()
            ),
        )

    def kept(self, spent: Spent) -> None:
        """The store has it."""
        self._stored = spent.until
        self._amounts.clear()

    def _count(self, since: float, until: float, rates: Sequence[Rate]) -> None:
        while since < until:
            hour = int(since // HOUR_S)
            end = min(until, (hour + 1) * HOUR_S)
            seconds = end - since
            for rate in rates:
                sums = self._amounts.setdefault((hour, rate.account), [0.0, 0.0, 0.0])
                sums[0] += rate.gpus * seconds
                sums[1] += rate.dollars_per_hour * seconds / HOUR_S
                sums[2] += rate.unpriced_gpus * seconds
            since = end


def _machines(rates: Sequence[Rate]) -> frozenset[tuple[str, str, float, float]]:
    """The rates without what the GPUs are used for: requests come and go, machines rarely do."""
    sums: dict[tuple[str, str], tuple[float, float]] = {}
    for one in rates:
        key = (one.account.pool, one.account.provider)
        gpus, dollars = sums.get(key, (0.0, 0.0))
        sums[key] = (gpus + one.gpus, dollars + one.dollars_per_hour)
    return frozenset((*key, round(gpus, 6), round(dollars, 6)) for key, (gpus, dollars) in sums.items())
