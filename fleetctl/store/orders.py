"""The orders' table: what the user asks of single Pools, Instances and Replicas."""

from collections.abc import Iterable

from fleetctl.model.orders import Order
from fleetctl.store.database import Transaction
from fleetctl.store.documents import decode, encode


def put(transaction: Transaction, order: Order) -> None:
    """Keep it, in place of an earlier one on the same subject."""
    transaction.run(
        "INSERT INTO orders (subject, doc) VALUES (?, ?) ON CONFLICT (subject) DO UPDATE SET doc = excluded.doc",
        (order.subject, encode(order)),
    )


def drop(transaction: Transaction, subjects: Iterable[str]) -> int:
    """Take back those on these subjects; how many there were."""
    return sum(transaction.run("DELETE FROM orders WHERE subject = ?", (subject,)) for subject in subjects)


def every(transaction: Transaction) -> tuple[Order, ...]:
    """All of them, by subject."""
    return tuple(decode(Order, row[0]) for row in transaction.rows("SELECT doc FROM orders ORDER BY subject"))
