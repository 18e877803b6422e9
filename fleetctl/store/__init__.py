"""The fleet's memory: SQLite on one machine, PostgreSQL where several controllers stand by for each other."""

from fleetctl.store.documents import Memo
from fleetctl.store.opening import open_store
from fleetctl.store.sqlstore import JournalEntry, SqlStore

__all__ = ["JournalEntry", "Memo", "SqlStore", "open_store"]
