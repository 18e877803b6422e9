"""The store of several controllers that stand by for each other: PostgreSQL.

One database (or one schema, chosen with `?options=-csearch_path%3DNAME`) holds one fleet. How durable a commit is, is
the server's `synchronous_commit`; its default waits for the disk.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from fleetctl.errors import MissingDependency, StoreFailure
from fleetctl.store.database import Dialect, Row, Transaction, Value
from fleetctl.store.turns import Turns

if TYPE_CHECKING:
    import psycopg

CONNECT_TIMEOUT_S = 10
"""A server that has not answered by then is down, or behind a firewall."""
LOCK_TIMEOUT_S = 10.0
"""How long a statement waits for another's lock. A commit takes milliseconds; after ten seconds someone hangs."""
STATEMENT_TIMEOUT_S = 60.0
"""The longest, `load` of a large fleet, takes a second."""
IDLE_TIMEOUT_S = 30.0
"""The server ends a transaction that says nothing for so long: a controller that was stopped in the midst of a commit
must not keep the others from the Lease."""
_MIGRATION_LOCK = 0x666C6565
"""The number under which fleetctl's migrations of one database take turns."""
_LOST_CONNECTION_S = 20
"""A connection whose peer is silent for so long is given up, so that a dead server is noticed within a tick or two."""


class PostgresTransaction:
    def __init__(self, connection: "psycopg.Connection[Row]") -> None:
        self._connection = connection

    def rows(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        return self._connection.execute(_placed(sql), values).fetchall()

    def run(self, sql: str, values: Sequence[Value] = ()) -> int:
        return self._connection.execute(_placed(sql), values).rowcount

    def many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(_placed(sql), rows)

    def has_table(self, name: str) -> bool:
        # Not to_regclass: in a transaction that waited for another's migration it answers from before the wait.
        return bool(self.rows("SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = ?", (name,)))


class PostgresDatabase:
    """A PostgreSQL database as a `Database`; a connection that broke is made anew at the next call.

    Raises MissingDependency where psycopg is not installed.
    """

    dialect = Dialect(
        identity="BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        blob="BYTEA",
        lock=" FOR UPDATE",
        share=" FOR SHARE",
    )

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        try:
            import psycopg
            from psycopg.conninfo import conninfo_to_dict
        except ImportError as error:
            raise MissingDependency(
                "a postgresql:// store needs psycopg, which is not installed", hint="pip install 'fleetctl[postgres]'"
            ) from error
        self.read_only = read_only
        self._url = url
        self._closed = False
        self._connection: psycopg.Connection[Row] | None = None
        try:
            told = conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            # The message of the driver may quote the address, and the address may hold a password.
            raise StoreFailure(
                "the address of the PostgreSQL store cannot be read",
                hint="write it as postgresql://USER@HOST:PORT/DATABASE, the password in ~/.pgpass",
            ) from error
        self.name = (
            f"postgresql://{told.get('host') or 'localhost'}:{told.get('port') or 5432}/{told.get('dbname', '')}"
        )
        self._turns = Turns(self.name, hint="look at the server: `SELECT * FROM pg_stat_activity`")
        with self._failures():
            self._connection = self._connect()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        with self._transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") as transaction:
            yield transaction

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        if self.read_only:
            raise StoreFailure(f"the store {self.name} was opened for reading only", hint="this is a fault of fleetctl")
        with self._transaction("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE") as transaction:
            yield transaction

    def serialise_migrations(self, transaction: Transaction) -> None:
        transaction.rows("SELECT pg_advisory_xact_lock(?)", (_MIGRATION_LOCK,))

    def close(self) -> None:
        with self._turns.mine():
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _connect(self) -> "psycopg.Connection[Row]":
        import psycopg

        connection = psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="fleetctl",
            keepalives_idle=_LOST_CONNECTION_S // 2,
            tcp_user_timeout=_LOST_CONNECTION_S * 1000,
        )
        try:
            connection.execute(
                "SELECT set_config('lock_timeout', %s, false), set_config('statement_timeout', %s, false),"
                " set_config('idle_in_transaction_session_timeout', %s, false)",
                [f"{int(seconds * 1000)}ms" for seconds in (LOCK_TIMEOUT_S, STATEMENT_TIMEOUT_S, IDLE_TIMEOUT_S)],
            )
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Transaction]:
        import psycopg
        from psycopg.pq import TransactionStatus

        with self._turns.mine(), self._failures():
            connection = self._begin(begin)
            try:
                yield PostgresTransaction(connection)
                connection.execute("COMMIT")
            finally:
                if connection.info.transaction_status != TransactionStatus.IDLE:
                    # What led here is what is reported; a connection that cannot even roll back is given up.
                    with suppress(psycopg.Error):
                        connection.execute("ROLLBACK")

    def _begin(self, begin: str) -> "psycopg.Connection[Row]":
        import psycopg

        if self._closed:
            raise StoreFailure(f"the store {self.name} is closed", hint="this is a fault of fleetctl")
        connection = self._connection
        if connection is not None and not connection.closed:
            try:
                connection.execute(begin.encode())
                return connection
            except psycopg.OperationalError:
                if not connection.broken:
                    raise
                # The server went away since the last call. Nothing was begun, so that trying once more is safe.
        if connection is not None:
            connection.close()
        self._connection = connection = self._connect()
        connection.execute(begin.encode())
        return connection

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Say what the driver raises in our words."""
        import psycopg
        from psycopg import errors

        try:
            yield
        except psycopg.Error as error:
            what = str(error).strip().replace("\n", "; ")
            hint = f"look at the server and its log: `psql {self.name}`"
            match error:
                case errors.LockNotAvailable():
                    hint = "another fleetctl hangs in a transaction: `SELECT * FROM pg_stat_activity` shows which"
                case errors.DiskFull():
                    hint = "free some space on the server and run this again; all that was stored is intact"
                case errors.InsufficientPrivilege() | errors.ReadOnlySqlTransaction():
                    hint = f"the user of {self.name} must be allowed to make and write tables there"
                case _:
                    pass
            raise StoreFailure(f"the store {self.name} cannot be used: {what}", hint=hint) from error


def _shown(told: Mapping[str, object]) -> str:
    """The address for people, without user, password and options."""
    host, port, database = (str(told.get(part) or "") for part in ("host", "port", "dbname"))
    if host.startswith("/"):
        return f"postgresql:///{database}?host={host}"
    return f"postgresql://{host}{':' if port else ''}{port}/{database}"


@lru_cache(maxsize=256)
def _placed(sql: str) -> bytes:
    """With psycopg's mark for a value; as bytes, which it takes from any source."""
    return sql.replace("?", "%s").encode()
