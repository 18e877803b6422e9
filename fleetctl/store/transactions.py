"""The rules of the store's transactions, in one place."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from fleetctl.errors import Conflict, LeaseLost
from fleetctl.store import schema
from fleetctl.store.database import Database, Transaction


class Transactions:
    """What every side of the store is made of: reads of one moment, and writes that are refused when they must be.

    1. Who reads sees one moment and waits for no writer of another process.
    2. Nothing is written once a newer fleetctl has changed the tables under this process.
    3. Who changes what is wanted takes turns with all others who do, and `intents_version` grows.
    4. What only the holder of the Lease may write is written with its fence, and refused when that is not the newest.
    """

    def __init__(self, database: Database, *, migrations: Sequence[tuple[str, ...]] = schema.MIGRATIONS) -> None:
        self._database = database
        self._schema = len(migrations)
        self.epoch = schema.prepare(database, migrations)

    def close(self) -> None:
        self._database.close()

    def _read(self) -> AbstractContextManager[Transaction]:
        return self._database.read()

    @contextmanager
    def _write(self) -> Iterator[Transaction]:
        """A write, refused once a newer fleetctl has changed the tables under this process."""
        with self._database.write() as transaction:
            found = transaction.rows(f"SELECT version FROM schema_version{self._database.dialect.share}")[0][0]
            self._refuse_upgraded(found)
            yield transaction

    @contextmanager
    def _fenced_write(self, fence: int) -> Iterator[Transaction]:
        """A write of the Lease's holder; nobody takes the Lease until it ends. Raises LeaseLost."""
        with self._write() as transaction:
            self._check_fence(transaction, fence)
            yield transaction

    @contextmanager
    def _intent_write(self, *, fence: int | None = None) -> Iterator[Transaction]:
        """A write that changes intents: the version grows first, so that two such writes take turns.

        With a `fence` it is one of the Lease's holder. Raises LeaseLost.
        """
        with self._write() as transaction:
            transaction.run("UPDATE fleet SET intents_version = intents_version + 1")
            if fence is not None:
                self._check_fence(transaction, fence)
            yield transaction

    def _check_fence(self, transaction: Transaction, fence: int) -> None:
        ((holder, newest),) = transaction.rows(f"SELECT holder, fence FROM lease{self._database.dialect.lock}")
        if newest != fence:
            raise LeaseLost(
                f"{holder or 'another controller'} has taken over the fleet"
                f" (lease {newest}, this controller had {fence})",
                hint="this controller stops; the other one goes on: `fleetctl daemon status` shows it",
            )

    def _refuse_upgraded(self, found: int) -> None:
        if found != self._schema:
            raise Conflict(
                f"{self._database.name} was upgraded by a newer fleetctl while this one ran"
                f" (schema {found}, this one knows {self._schema})",
                hint="start this command again with the newer fleetctl",
            )
