"""The ledger's table: what each account used in each hour, and up to when all of it is counted."""

from collections.abc import Sequence
from math import ceil

from fleetctl.model.ledger import Account, Amount, Spent, Use
from fleetctl.store.database import Transaction

HOUR_S = 3600.0


def until(transaction: Transaction) -> float | None:
    """Up to when the book is written; None: it is empty."""
    at = transaction.rows("SELECT at FROM ledger_until")[0][0]
    return None if at is None else float(at)


def put(transaction: Transaction, spent: Spent) -> None:
    """Add it to the book, unless the book does not end where it begins."""
    if until(transaction) != spent.since:
        return
    transaction.run("UPDATE ledger_until SET at = ?", (spent.until,))
    transaction.many(
        "INSERT INTO ledger (hour, service, pool, provider, market, used_for, gpu_s, dollars, unpriced_gpu_s)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (hour, service, pool, provider, market, used_for) DO UPDATE SET"
        " gpu_s = ledger.gpu_s + excluded.gpu_s, dollars = ledger.dollars + excluded.dollars,"
        " unpriced_gpu_s = ledger.unpriced_gpu_s + excluded.unpriced_gpu_s",
        [
            (
                one.hour,
                one.account.service,
                one.account.pool,
                one.account.provider,
                one.account.market,
                one.account.use.value,
                one.gpu_s,
                one.dollars,
                one.unpriced_gpu_s,
            )
            for one in spent.amounts
        ],
    )


def amounts(transaction: Transaction, *, since: float, until: float) -> Sequence[Amount]:
    """Those of every hour that lies, or partly lies, between the two moments, oldest first."""
    rows = transaction.rows(
        "SELECT hour, service, pool, provider, market, used_for, gpu_s, dollars, unpriced_gpu_s FROM ledger"
        " WHERE hour >= ? AND hour < ? ORDER BY hour, service, pool, provider, market, used_for",
        (int(since // HOUR_S), ceil(until / HOUR_S)),
    )
    return [
        Amount(
            hour=int(hour),
            account=Account(service=service, pool=pool, provider=provider, market=market, use=Use(use)),
            gpu_s=gpu_s,
            dollars=dollars,
            unpriced_gpu_s=unpriced,
        )
        for hour, service, pool, provider, market, use, gpu_s, dollars, unpriced in rows
    ]
