"""The store of one machine: a SQLite file with a write-ahead log.

`synchronous=FULL`: a commit returns once the log is on the disk. With NORMAL a kill of the process loses nothing
either, but a power failure may take the last commits with it, and a lost commit is an Instance that was launched
and is paid for while the store has never heard of it. FULL costs one fsync a tick, 0.1 to 10 ms by disk, of no CPU.
"""

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fleetctl.errors import StoreFailure
from fleetctl.store import schema
from fleetctl.store.database import Dialect, Row, Transaction, Value
from fleetctl.store.turns import Turns

BUSY_TIMEOUT_S = 10.0
"""How long a transaction waits for another process. A commit takes milliseconds; after ten seconds someone hangs."""
_WAL_TRIES_MAX = 100
"""Turning the log on needs the file alone, and SQLite does not wait for that: one second of tries."""
_WAL_PAUSE_S = 0.01
_WAL_KEPT_BYTES = 64 << 20
"""The log is cut back to this after a commit that was larger."""
_PRIMARY_CODE = 0xFF
"""SQLite's extended result codes carry the plain one in their lowest byte."""
_NO_ROOM_FOR_INDEX = (
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_READONLY_DIRECTORY,
    sqlite3.SQLITE_CANTOPEN,
)
"""How it is said that the log's index could not be made."""


class SqliteTransaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()

    def run(self, sql: str, values: Sequence[Value] = ()) -> int:
        return self._connection.execute(sql, values).rowcount

    def many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        self._connection.executemany(sql, rows)

    def has_table(self, name: str) -> bool:
        return bool(self.rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)))


class SqliteDatabase:
    """A SQLite file as a `Database`. Made (for its owner only) when missing. Raises NotFound when read only.

    `pages_max` bounds the file, in pages of 4 KiB; beyond it a commit fails as on a full disk.
    """

    dialect = Dialect(identity="INTEGER PRIMARY KEY", blob="BLOB", lock="", share="")

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        pages_max: int | None = None,
    ) -> None:
        self.name = str(path)
        self.read_only = read_only
        self._path = path.absolute()
        self._busy_timeout_s = busy_timeout_s
        self._turns = Turns(self.name, hint="its disk may hang: look at it with `dmesg | tail`")
        self._pages_max = pages_max
        self._frozen = False
        self._closed = False
        self._connection: sqlite3.Connection | None = None
        try:
            if not read_only:
                _make(self._path)
            elif not self._path.exists():
                raise schema.missing(self.name)
            self._file = _identity(self._path)
        except OSError as error:
            raise StoreFailure(
                f"the store {self.name} cannot be opened: {error.strerror}: {error.filename}",
                hint=f"look at `ls -ld {self._path.parent} {self._path}`, or set FLEETCTL_HOME to a folder of yours",
            ) from error
        self._ready()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        with self._transaction("BEGIN DEFERRED") as transaction:
            yield transaction

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        if self.read_only:
            raise StoreFailure(f"the store {self.name} was opened for reading only", hint="this is a fault of fleetctl")
        with self._transaction("BEGIN IMMEDIATE") as transaction:
            yield transaction

    def serialise_migrations(self, transaction: Transaction) -> None:
        """Nothing to do: BEGIN IMMEDIATE lets one writer in at a time."""

    def close(self) -> None:
        with self._turns.mine():
            self._closed = True
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ready(self) -> sqlite3.Connection:
        """The connection; a frozen one is made anew, since it would not see a writer that has come in the meantime."""
        if self._closed:
            raise StoreFailure(f"the store {self.name} is closed", hint="this is a fault of fleetctl")
        if self._frozen:
            self._drop()
        if self._connection is None:
            try:
                self._connection = self._connect()
            except sqlite3.Error as error:
                raise self._failure(error) from error
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        if not self.read_only:
            return self._connect_writer()
        connection = self._open("mode=ro")
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchall()
            self._frozen = False
        except sqlite3.OperationalError as error:
            connection.close()
            if error.sqlite_errorcode not in _NO_ROOM_FOR_INDEX or self._log_has_commits():
                raise
            # Even a reader makes the log's index, a file beside the store, and here it cannot (a full or a read-only
            # disk). With no log there is no writer, and the file alone is the whole store.
            connection = self._open("mode=ro&immutable=1")
            self._frozen = True
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect_writer(self) -> sqlite3.Connection:
        connection = self._open("mode=rw")
        try:
            self._turn_log_on(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}")
            if self._pages_max is not None:
                connection.execute(f"PRAGMA max_page_count = {self._pages_max}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _open(self, parameters: str) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self._path.as_uri()}?{parameters}",
            uri=True,
            timeout=self._busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
        )

    def _log_has_commits(self) -> bool:
        log = self._path.with_name(self._path.name + "-wal")
        return log.exists() and log.stat().st_size > 0

    def _turn_log_on(self, connection: sqlite3.Connection) -> None:
        for attempt in range(_WAL_TRIES_MAX):
            try:
                ((mode,),) = connection.execute("PRAGMA journal_mode = WAL").fetchall()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY or attempt == _WAL_TRIES_MAX - 1:
                    raise
                time.sleep(_WAL_PAUSE_S)
                continue
            if mode != "wal":
                raise StoreFailure(
                    f"the store {self.name} cannot have a write-ahead log where it lies (it has {mode!r})",
                    hint="put it on a local disk with FLEETCTL_HOME, or use a postgresql:// store",
                )
            return

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Transaction]:
        with self._turns.mine():
            connection = self._ready()
            try:
                connection.execute(begin)
                self._check_file()
                yield SqliteTransaction(connection)
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise self._failure(error) from error
            finally:
                if connection.in_transaction:
                    # What led here is what is reported; a rollback that fails as well is repeated by the next opening.
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")

    def _check_file(self) -> None:
        """Refuse a file that is no longer the store: a new one may have a controller of its own, and what is read in
        one that was removed never changes."""
        try:
            found = _identity(self._path)
        except OSError:
            found = None
        if found != self._file:
            raise StoreFailure(
                f"the store {self.name} was removed or replaced while it was in use",
                hint="start this command again; machines that only the old store knew may still be billed",
            )

    def _failure(self, error: sqlite3.Error) -> StoreFailure:
        code = getattr(error, "sqlite_errorcode", 0)  # absent where Python, not SQLite, refused
        hint = f"look at the file and its disk: `ls -l {self._path}`, `df -h {self._path.parent}`"
        match sqlite3.SQLITE_FULL if code == sqlite3.SQLITE_IOERR_SHMSIZE else code & _PRIMARY_CODE:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                what = f"is kept locked by another process, for more than {self._busy_timeout_s:g} s"
                hint = f"see which: `fuser -v {self._path}`; end it if it hangs, then run this again"
            case sqlite3.SQLITE_FULL:
                what = "cannot grow: the disk is full"
                hint = (
                    f"free some space (`df -h {self._path.parent}`) and run this again; all that was stored is intact"
                )
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
                what = "cannot be written: its file or folder is read-only"
                hint = f"look at `ls -ld {self._path.parent} {self._path}*`; file and folder must be yours"
            case sqlite3.SQLITE_CANTOPEN:
                what = "cannot be opened"
                hint = f"look at `ls -ld {self._path.parent} {self._path}*`; file and folder must be yours"
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                what = "is damaged, or is no store of fleetctl"
                hint = (
                    f"keep a copy (`cp {self._path} {self._path}.broken`) and restore a backup, or try"
                    f" `sqlite3 {self._path}.broken .recover`; machines it knew may still be billed"
                )
            case _:
                what = "cannot be used"
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        return StoreFailure(f"the store {self.name} {what} ({name}: {error})", hint=hint)


def _make(path: Path) -> None:
    """An empty file that only its owner can read: Services may carry secrets in their environment."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
