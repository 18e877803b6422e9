"""How much of the past the store keeps, and how it forgets the rest a little at a time."""

from collections.abc import Collection
from datetime import UTC, datetime

from fleetctl.model.records import dataclass
from fleetctl.store.database import Transaction

PRUNE_EVERY_COMMITS = 64
"""Pruning is looked at once in so many ticks, beginning with a process's first: its cost per tick is then nothing."""
JOURNAL_PRUNE_ROWS_MAX = 256
"""Four times what is written between two prunings, so that a backlog melts, and no tick waits long for it."""
EVENTS_PRUNE_ROWS_MAX = 4096
"""The same for events, which are small: 64 events a tick are kept up with."""
CALENDAR_ENDS_AT = 253_402_300_800.0
"""Unix time of the year 10000: a clock that is set so has no month."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Bounds of what is kept; what lies beyond any one of them may be forgotten."""

    journal_age_s: float = 7 * 86_400.0
    """A week: an incident is looked into in the days that follow it."""
    journal_rows: int = 200_000
    """Two days of ticks of one second."""
    journal_bytes: int = 1 << 30
    """Compressed, to within one entry. Any disk has room for a GiB; a large fleet's week would fill a small one."""
    events: int = 100_000
    """More than a person reads, few enough that every list of them is quick."""
    history_age_s: float = 35 * 86_400.0
    """Five weeks: last month's busiest day can be played again."""
    history_rows: int = 6_000_000
    """Some 400 MB: a hundred busy Services for a week, ten for ten weeks."""
    starts_per_service: int = 1000
    """A p95 by tier and stage out of the newest is then firm; some 2 MB a Service."""
    starts_age_s: float = 30 * 86_400.0
    """What a start took a month ago says little of the next: images, models and clouds have changed."""
    revoked_keys_age_s: float = 400 * 86_400.0
    """Over a year: who asks a year later which key it was, finds it."""
    use_months: int = 13
    """Of Tenants' tokens by month: this month, and the year before it."""
    ledger_age_s: float = 100 * 86_400.0
    """Over a quarter: last quarter's costs can be told by the hour. Some 10,000 rows a Service, a megabyte."""
    over_instances_age_s: float = 86_400.0
    """Longer than any Provider still lists what it has terminated, so that none is taken for an Orphan."""


def prune(transaction: Transaction, keep: Retention, *, now: float) -> None:
    """Forget a bounded part of what lies beyond `keep`."""
    transaction.run("DELETE FROM instances WHERE over_at < ?", (now - keep.over_instances_age_s,))
    _prune_events(transaction, keep)
    _prune_journal(transaction, keep, now=now)
    _prune_history(transaction, keep, now=now)
    _prune_starts(transaction, keep, now=now)
    prune_keys(transaction, keep, now=now)
    if 0 <= now < CALENDAR_ENDS_AT:
        transaction.run("DELETE FROM ledger WHERE hour < ?", (int((now - keep.ledger_age_s) // 3600.0),))


def keep_newest_starts(transaction: Transaction, keep: Retention, *, services: Collection[str]) -> None:
    """Forget all but the newest Starts of these Services, to which some were added."""
    for service in sorted(services):
        transaction.run(
            "DELETE FROM starts WHERE service = ? AND id <="
            " (SELECT id FROM starts WHERE service = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
            (service, service, keep.starts_per_service),
        )


def prune_keys(transaction: Transaction, keep: Retention, *, now: float) -> None:
    """Forget keys that were revoked long ago, and months that nobody asks for any more."""
    transaction.run("DELETE FROM api_keys WHERE over_at < ?", (now - keep.revoked_keys_age_s,))
    if not 0 <= now < CALENDAR_ENDS_AT:
        return
    at = datetime.fromtimestamp(now, UTC)
    months = at.year * 12 + at.month - 1 - keep.use_months
    transaction.run("DELETE FROM tenant_use WHERE month <= ?", (f"{months // 12:04}-{months % 12 + 1:02}",))


def _prune_starts(transaction: Transaction, keep: Retention, *, now: float) -> None:
    transaction.run(
        "DELETE FROM starts WHERE id IN (SELECT id FROM starts WHERE ended_at < ? ORDER BY ended_at LIMIT ?)",
        (now - keep.starts_age_s, EVENTS_PRUNE_ROWS_MAX),
    )


def _prune_events(transaction: Transaction, keep: Retention) -> None:
    ((oldest, newest),) = transaction.rows("SELECT (SELECT MIN(id) FROM events), (SELECT MAX(id) FROM events)")
    if newest is not None:
        beyond = min(newest - keep.events, oldest + EVENTS_PRUNE_ROWS_MAX - 1)
        transaction.run("DELETE FROM events WHERE id <= ?", (beyond,))


def _prune_history(transaction: Transaction, keep: Retention, *, now: float) -> None:
    (oldest, newest) = transaction.rows("SELECT MIN(id), MAX(id) FROM history")[0]
    if newest is None:
        return
    last = oldest + EVENTS_PRUNE_ROWS_MAX - 1
    transaction.run(
        "DELETE FROM history WHERE id <= ? AND (id <= ? OR until < ?)",
        (last, newest - keep.history_rows, now - keep.history_age_s),
    )


def _prune_journal(transaction: Transaction, keep: Retention, *, now: float) -> None:
    newest = transaction.rows("SELECT id, end_bytes FROM journal ORDER BY id DESC LIMIT 1")
    if not newest:
        return
    newest_id, newest_end = newest[0]
    last: int | None = None
    for row_id, at, end in transaction.rows(
        "SELECT id, at, end_bytes FROM journal WHERE id < ? ORDER BY id LIMIT ?", (newest_id, JOURNAL_PRUNE_ROWS_MAX)
    ):
        beyond = (
            at < now - keep.journal_age_s
            or row_id <= newest_id - keep.journal_rows
            or end <= newest_end - keep.journal_bytes
        )
        if not beyond:
            break
        last = row_id
    if last is not None:
        transaction.run("DELETE FROM journal WHERE id <= ?", (last,))
