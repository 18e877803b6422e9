"""The fleet's memory: SQLite on one machine, PostgreSQL where several controllers stand by for each other."""

TYPE_CHECKING = False
"""Known to type checkers by its name: `typing` takes longer to import than `names` to answer."""
if TYPE_CHECKING:
    from fleetctl.store.documents import Memo
    from fleetctl.store.journal_entries import JournalEntry
    from fleetctl.store.opening import open_store
    from fleetctl.store.sqlstore import SqlStore

__all__ = ["JournalEntry", "Memo", "SqlStore", "open_store"]

_HOMES = {
    "JournalEntry": "journal_entries",
    "Memo": "documents",
    "SqlStore": "sqlstore",
    "open_store": "opening",
}
"""By name: its module. Imported when it is asked for: `names`, which a Tab waits for, needs none of them."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    made = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = made
    return made
