"""The seam between the store's logic and one SQL database."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from fleetctl.model.records import dataclass

Value = str | int | float | bytes | None
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The words in which two SQL databases differ."""

    identity: str
    """Column definition of a key that the database counts up."""
    blob: str
    """Type of a column of bytes."""
    lock: str
    """Ends a SELECT in a write whose rows no other write may change until this one ends."""
    share: str
    """The same, but other writes may share the lock."""


class Transaction(Protocol):
    """One open transaction. `?` marks a value in every statement."""

    def rows(self, sql: str, values: Sequence[Value] = ()) -> list[Row]: ...

    def run(self, sql: str, values: Sequence[Value] = ()) -> int:
        """How many rows it changed."""

    def many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None: ...

    def has_table(self, name: str) -> bool: ...


class Database(Protocol):
    """Safe to call from many threads, which take turns. Raises `errors.StoreFailure`."""

    name: str
    """For people: a path, or an address without its password."""
    dialect: Dialect
    read_only: bool

    def read(self) -> AbstractContextManager[Transaction]:
        """A transaction that sees one moment, and waits for no writer in another process."""

    def write(self) -> AbstractContextManager[Transaction]:
        """A transaction that is durable once left without an error, and undone when left with one."""

    def serialise_migrations(self, transaction: Transaction) -> None:
        """Keep every other process from migrating until this transaction ends."""

    def close(self) -> None: ...
