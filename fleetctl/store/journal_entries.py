"""The journal's table: what each tick saw and decided, compressed."""

from fleetctl.errors import StoreFailure
from fleetctl.model.records import dataclass
from fleetctl.store.database import Row, Transaction

_ZLIB_LEVEL = 1
"""Ten times smaller at a third of the default level's time; a journal entry is written with every tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One tick's entry, as it was given to `commit`."""

    at: float
    entry: bytes


def compressed(entry: bytes) -> bytes:
    """For `put`."""
    import zlib  # late, as below: who looks at the fleet reads no journal

    return zlib.compress(entry, _ZLIB_LEVEL)


def put(transaction: Transaction, entry: bytes, *, at: float) -> None:
    """Keep a compressed one, and where it ends among all that were ever written."""
    transaction.run(
        "INSERT INTO journal (at, end_bytes, entry) VALUES"
        " (?, ? + COALESCE((SELECT end_bytes FROM journal ORDER BY id DESC LIMIT 1), 0), ?)",
        (at, len(entry), entry),
    )


def read(row: Row, *, store: str) -> JournalEntry:
    """Of a row `(at, entry)` in the store of that name. Raises StoreFailure."""
    import zlib

    at, entry = row
    try:
        return JournalEntry(at=at, entry=zlib.decompress(entry))
    except zlib.error as error:
        raise StoreFailure(
            f"the journal entry of {at} in {store} is damaged: {error}",
            hint="choose another time; if there are more of these, restore a backup of the store",
        ) from error
