"""The events' table: what happened, for people."""

from collections.abc import Iterable, Sequence

from fleetctl.model.decisions import Event
from fleetctl.store.database import Row, Transaction
from fleetctl.store.documents import encode

INSERT_EVENT = "INSERT INTO events (at, subject, doc) VALUES (?, ?, ?)"


def event_rows(events: Iterable[Event]) -> list[tuple[float, str, str]]:
    """For `INSERT_EVENT`. Raises StoreFailure."""
    return [(event.at, event.subject, encode(event)) for event in events]


def newest_events(transaction: Transaction, *, since: float, limit: int, subject: str | None) -> Sequence[Row]:
    """Those at or after `since`, newest first, not decoded."""
    where, values = ("", ()) if subject is None else (" AND subject = ?", (subject,))
    return transaction.rows(
        f"SELECT doc FROM events WHERE at >= ?{where} ORDER BY at DESC, id DESC LIMIT ?", (since, *values, limit)
    )
