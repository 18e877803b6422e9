"""What anybody asks: who leads, what was decided, what happened, what it cost."""

from collections.abc import Iterable, Mapping, Sequence

from fleetctl.model.decisions import Decision, Event
from fleetctl.model.history import Interval
from fleetctl.model.ledger import Amount
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.snapshots import Lease
from fleetctl.model.starts import Start
from fleetctl.store import api_keys, journal_entries, ledger
from fleetctl.store.documents import Memo, by_key, decode
from fleetctl.store.events import INSERT_EVENT, event_rows, newest_events
from fleetctl.store.journal_entries import JournalEntry
from fleetctl.store.transactions import Transactions


class EveryoneSide(Transactions):
    """Reads, and the events that commands add."""

    def lease(self) -> Lease | None:
        """Who holds it, expired or not."""
        with self._read() as transaction:
            ((holder, fence, expires_at),) = transaction.rows("SELECT holder, fence, expires_at FROM lease")
        return Lease(holder=holder, fence=fence, expires_at=expires_at) if holder else None

    def events(self, *, since: float = 0.0, limit: int = 1000, subject: str | None = None) -> Sequence[Event]:
        """Those at or after `since`, oldest first; the newest `limit` of them."""
        with self._read() as transaction:
            rows = newest_events(transaction, since=since, limit=limit, subject=subject)
        return [decode(Event, row[0]) for row in reversed(rows)]

    def add_events(self, events: Iterable[Event]) -> None:
        rows = event_rows(events)
        with self._write() as transaction:
            transaction.many(INSERT_EVENT, rows)

    def decisions(self, memo: Memo | None = None) -> Mapping[ServiceName, Decision]:
        """The newest Decision of each Service; with a `memo` only what changed is decoded."""
        with self._read() as transaction:
            rows = transaction.rows("SELECT service, doc FROM decisions ORDER BY service")
        return by_key(rows, ServiceName, Decision, memo)

    def changes(self) -> tuple[int, int, int]:
        """Another one after every commit, every event and every change of what is wanted: cheap, for who looks on.

        Raises Conflict once a newer fleetctl has changed the tables.
        """
        with self._read() as transaction:
            ((found, committed, happened, wanted),) = transaction.rows(
                "SELECT (SELECT version FROM schema_version), (SELECT COALESCE(MAX(id), 0) FROM journal),"
                " (SELECT COALESCE(MAX(id), 0) FROM events), intents_version FROM fleet"
            )
        self._refuse_upgraded(found)
        return int(committed), int(happened), int(wanted)

    def journal(self, *, at: float) -> bytes | None:
        """The journal entry of the last tick at or before `at`."""
        with self._read() as transaction:
            rows = transaction.rows(
                "SELECT at, entry FROM journal WHERE at <= ? ORDER BY at DESC, id DESC LIMIT 1", (at,)
            )
        return journal_entries.read(rows[0], store=self._database.name).entry if rows else None

    def journal_begins(self) -> float | None:
        """The time of the oldest journal entry that is kept, in Unix seconds; None: there is none."""
        with self._read() as transaction:
            at = transaction.rows("SELECT MIN(at) FROM journal")[0][0]
        return None if at is None else float(at)

    def journal_range(self, *, since: float, until: float, limit: int) -> Sequence[JournalEntry]:
        """The entries of ticks from `since` to `until`, both included, oldest first; the first `limit` of them."""
        with self._read() as transaction:
            rows = transaction.rows(
                "SELECT at, entry FROM journal WHERE at >= ? AND at <= ? ORDER BY at, id LIMIT ?",
                (since, until, limit),
            )
        return [journal_entries.read(row, store=self._database.name) for row in rows]

    def starts(
        self, service: ServiceName | None = None, *, replica: ReplicaId | None = None, limit: int = 1000
    ) -> Sequence[Start]:
        """Starts that are over, of one Service or of one Replica, oldest first; the newest `limit` of them."""
        asked = [(name, value) for name, value in (("service", service), ("replica", replica)) if value is not None]
        where = f" WHERE {' AND '.join(f'{name} = ?' for name, _ in asked)}" if asked else ""
        with self._read() as transaction:
            rows = transaction.rows(
                f"SELECT doc FROM starts{where} ORDER BY id DESC LIMIT ?", (*(value for _, value in asked), limit)
            )
        return [decode(Start, row[0]) for row in reversed(rows)]

    def ledger(self, *, since: float, until: float) -> Sequence[Amount]:
        """What was used, and what it cost, in every hour that lies, or partly lies, between these, oldest first."""
        with self._read() as transaction:
            return ledger.amounts(transaction, since=since, until=until)

    def history(self, service: ServiceName, *, since: float, until: float) -> Sequence[Interval]:
        """What came in for one Service, oldest first; where nothing came, nothing is said."""
        with self._read() as transaction:
            rows = transaction.rows(
                "SELECT since, until, arrivals, input_tokens, output_tokens, read_tokens, written_tokens FROM history"
                " WHERE service = ? AND until > ? AND until <= ? ORDER BY until, id",
                (service, since, until),
            )
        return [
            Interval(
                t_from=begun,
                t_to=ended,
                arrivals=arrivals,
                input_tokens=asked,
                output_tokens=made,
                read_tokens=read,
                written_tokens=written,
            )
            for begun, ended, arrivals, asked, made, read, written in rows
        ]

    def tokens_used(self, month: str) -> Mapping[str, int]:
        """Tokens of each Tenant in that month (`2026-11`, UTC), over all gateways."""
        with self._read() as transaction:
            return api_keys.tokens_used(transaction, month)
