"""From the address of a store to the store."""

from pathlib import Path

from fleetctl.errors import UsageError
from fleetctl.store.database import Database
from fleetctl.store.sqlstore import SqlStore


def open_store(url: str, *, read_only: bool = False) -> SqlStore:
    """The store at a path or a `postgresql://` address, made or brought up to date when it is not read only.

    Raises NotFound (read only, and there is none), Conflict (a newer fleetctl wrote it), MissingDependency, UsageError,
    StoreFailure.
    """
    database = _database(url, read_only)
    try:
        return SqlStore(database)
    except BaseException:
        database.close()
        raise


def _database(url: str, read_only: bool) -> Database:
    # Imported here: a command loads the driver of its own store and no other.
    if url.startswith(("postgresql://", "postgres://")):
        from fleetctl.store.postgres import PostgresDatabase

        return PostgresDatabase(url, read_only=read_only)
    if "://" in url:
        raise UsageError(
            f"no store is of the kind {url.partition('://')[0]}://",
            hint="give the path of a file, or postgresql://USER@HOST/DATABASE",
        )
    from fleetctl.store.sqlite import SqliteDatabase

    return SqliteDatabase(Path(url), read_only=read_only)
