"""What the user changed and what was before: the log that `undo` reads."""

from collections.abc import Sequence
from dataclasses import replace

from fleetctl.model.changes import Change
from fleetctl.store.database import Transaction
from fleetctl.store.documents import decode, encode

CHANGES_KEPT = 100
"""More than anybody takes back one by one."""
CHANGES_AGE_S = 7 * 86_400.0
"""A week: a fleet that was taken down on Friday is brought back on Monday; later its files are what is true."""


def put(transaction: Transaction, change: Change) -> None:
    """Keep one more, and forget those that are too old or too many."""
    transaction.run("INSERT INTO changes (at, doc) VALUES (?, ?)", (change.at, encode(replace(change, number=0))))
    transaction.run("DELETE FROM changes WHERE at < ?", (change.at - CHANGES_AGE_S,))
    transaction.run(
        "DELETE FROM changes WHERE id <= (SELECT id FROM changes ORDER BY id DESC LIMIT 1 OFFSET ?)", (CHANGES_KEPT,)
    )


def every(transaction: Transaction, *, since: float) -> Sequence[Change]:
    """Those at or after `since`, the newest first."""
    rows = transaction.rows("SELECT id, doc FROM changes WHERE at >= ? ORDER BY id DESC", (since,))
    return [replace(decode(Change, doc), number=int(number)) for number, doc in rows]


def forget(transaction: Transaction, number: int) -> bool:
    """Take one out of the log. False: it is not there any more."""
    return transaction.run("DELETE FROM changes WHERE id = ?", (number,)) > 0
