"""The tables, and the numbered steps that make them."""

from collections.abc import Sequence

from fleetctl.errors import Conflict, NotFound
from fleetctl.store.database import Database, Transaction

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # Of one row each: what the store is.
        "CREATE TABLE schema_version (version BIGINT NOT NULL)",
        "INSERT INTO schema_version (version) VALUES (0)",
        "CREATE TABLE fleet (epoch TEXT NOT NULL, intents_version BIGINT NOT NULL)",
        "INSERT INTO fleet (epoch, intents_version) VALUES ('', 0)",
        "CREATE TABLE lease (holder TEXT NOT NULL, fence BIGINT NOT NULL, expires_at DOUBLE PRECISION NOT NULL)",
        "INSERT INTO lease (holder, fence, expires_at) VALUES ('', 0, 0)",
        # What the user wants. `up` is kept apart so that `forget_service` can ask for it.
        "CREATE TABLE services (name TEXT PRIMARY KEY, up BIGINT NOT NULL, doc TEXT NOT NULL)",
        "CREATE TABLE pools (name TEXT PRIMARY KEY, changed_at DOUBLE PRECISION NOT NULL, doc TEXT NOT NULL)",
        # What is. `over_at` is set once an Instance is confirmed gone; only such rows are ever pruned.
        "CREATE TABLE instances (id TEXT PRIMARY KEY, over_at DOUBLE PRECISION, doc TEXT NOT NULL)",
        "CREATE INDEX instances_over_at ON instances (over_at) WHERE over_at IS NOT NULL",
        "CREATE TABLE replicas (id TEXT PRIMARY KEY, service TEXT NOT NULL, doc TEXT NOT NULL)",
        "CREATE TABLE memories (service TEXT PRIMARY KEY, doc TEXT NOT NULL)",
        "CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL)",
        "CREATE TABLE decisions (service TEXT PRIMARY KEY, doc TEXT NOT NULL)",
        # What was.
        "CREATE TABLE events (id {identity}, at DOUBLE PRECISION NOT NULL, subject TEXT NOT NULL, doc TEXT NOT NULL)",
        "CREATE INDEX events_at ON events (at, id)",
        "CREATE INDEX events_subject_at ON events (subject, at, id)",
        # `end_bytes` is the length of all entries ever written, this one included: two of them tell what lies between.
        "CREATE TABLE journal (id {identity}, at DOUBLE PRECISION NOT NULL, end_bytes BIGINT NOT NULL,"
        " entry {blob} NOT NULL)",
        "CREATE INDEX journal_at ON journal (at, id)",
    ),
    (
        # What was experienced where machines come from.
        "CREATE TABLE places (name TEXT PRIMARY KEY, doc TEXT NOT NULL)",
        # What `gc` found, so that it knows for how long.
        "CREATE TABLE orphans (name TEXT PRIMARY KEY, doc TEXT NOT NULL)",
        # What came in, for `simulate`. Intervals without a request are left out.
        "CREATE TABLE history (id {identity}, service TEXT NOT NULL, since DOUBLE PRECISION NOT NULL,"
        " until DOUBLE PRECISION NOT NULL, arrivals DOUBLE PRECISION, input_tokens DOUBLE PRECISION,"
        " output_tokens DOUBLE PRECISION)",
        "CREATE INDEX history_service_until ON history (service, until)",
    ),
    (
        # Each Service as it was declared, whole, by what its Replicas ran; and the newest Rollout of each.
        "CREATE TABLE revisions (service TEXT NOT NULL, name TEXT NOT NULL, declared_at DOUBLE PRECISION NOT NULL,"
        " doc TEXT NOT NULL, PRIMARY KEY (service, name))",
        "CREATE TABLE rollouts (service TEXT PRIMARY KEY, doc TEXT NOT NULL)",
    ),
    (
        # What each image's name by tag meant when the fleet first fetched it.
        "CREATE TABLE pins (image TEXT PRIMARY KEY, digest TEXT NOT NULL)",
    ),
    (
        # Starts that are over.
        "CREATE TABLE starts (id {identity}, service TEXT NOT NULL, replica TEXT NOT NULL,"
        " ended_at DOUBLE PRECISION NOT NULL, doc TEXT NOT NULL)",
        "CREATE INDEX starts_service ON starts (service, id)",
        "CREATE INDEX starts_replica ON starts (replica, id)",
        "CREATE INDEX starts_ended_at ON starts (ended_at)",
    ),
    (
        # Who may enter. Of a key only its hash; `over_at` is when it was revoked, and only such rows are ever pruned.
        "CREATE TABLE tenants (name TEXT PRIMARY KEY, doc TEXT NOT NULL)",
        "CREATE TABLE api_keys (id TEXT PRIMARY KEY, sha256 TEXT NOT NULL UNIQUE, over_at DOUBLE PRECISION,"
        " last_used_at DOUBLE PRECISION, doc TEXT NOT NULL)",
        # Tokens by month, as each gateway process counted them since it began: what is told twice counts once.
        "CREATE TABLE tenant_use (tenant TEXT NOT NULL, month TEXT NOT NULL, gateway TEXT NOT NULL,"
        " tokens BIGINT NOT NULL, PRIMARY KEY (tenant, month, gateway))",
        "CREATE INDEX tenant_use_month ON tenant_use (month)",
    ),
    (
        # Several gateways: what each says, the slots that each may use, and what holds for all: `routes`, `identity`.
        "CREATE TABLE gateways (name TEXT PRIMARY KEY, incarnation TEXT NOT NULL UNIQUE, number BIGINT NOT NULL,"
        " doc TEXT NOT NULL)",
        "CREATE TABLE gateway_grants (incarnation TEXT PRIMARY KEY, doc TEXT NOT NULL)",
        "CREATE TABLE gateway_orders (kind TEXT PRIMARY KEY, number BIGINT NOT NULL, doc TEXT NOT NULL)",
    ),
    (
        # What the user changed, with what was before.
        "CREATE TABLE changes (id {identity}, at DOUBLE PRECISION NOT NULL, doc TEXT NOT NULL)",
    ),
    (
        # What the user asks of single Pools, Instances and Replicas.
        "CREATE TABLE orders (subject TEXT PRIMARY KEY, doc TEXT NOT NULL)",
        # What GPUs were used for and cost, by the hour (Unix time ÷ 3600); and up to when that is counted.
        "CREATE TABLE ledger (hour BIGINT NOT NULL, service TEXT NOT NULL, pool TEXT NOT NULL, provider TEXT NOT NULL,"
        " market TEXT NOT NULL, used_for TEXT NOT NULL, gpu_s DOUBLE PRECISION NOT NULL,"
        " dollars DOUBLE PRECISION NOT NULL, unpriced_gpu_s DOUBLE PRECISION NOT NULL,"
        " PRIMARY KEY (hour, service, pool, provider, market, used_for))",
        "CREATE TABLE ledger_until (at DOUBLE PRECISION)",
        "INSERT INTO ledger_until (at) VALUES (NULL)",
    ),
    (
        # Tokens as engines counted them, beside those that are thought to have been asked for.
        "ALTER TABLE history ADD COLUMN read_tokens DOUBLE PRECISION",
        "ALTER TABLE history ADD COLUMN written_tokens DOUBLE PRECISION",
    ),
)
"""Step N makes schema N out of schema N-1. A step that was released is never changed; a new one is appended."""

_EPOCH_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
"""32 characters, none of which is taken for another."""
_EPOCH_LENGTH = 4
"""A million epochs: two stores of one fleet do not meet by chance, and identifiers stay short."""


def prepare(database: Database, migrations: Sequence[tuple[str, ...]] = MIGRATIONS) -> str:
    """Bring the store to the newest schema, in one transaction; its epoch. Raises Conflict, NotFound."""
    known = len(migrations)
    with database.read() as transaction:
        found = version(transaction)
        _refuse_newer(database, found, known)
        if found == known:
            return _epoch(transaction)
    if database.read_only:
        if found == 0:
            raise missing(database.name)
        raise Conflict(
            f"{database.name} was written by an older fleetctl (schema {found}, this one reads {known})",
            hint="run `fleetctl up`, which brings it up to date",
        )
    with database.write() as transaction:
        database.serialise_migrations(transaction)
        found = version(transaction)  # another process may have migrated since
        _refuse_newer(database, found, known)
        for step in migrations[found:]:
            for statement in step:
                transaction.run(
                    statement.replace("{identity}", database.dialect.identity).replace("{blob}", database.dialect.blob)
                )
        transaction.run("UPDATE schema_version SET version = ?", (known,))
        if found == 0:
            import secrets  # late: only who makes a store waits for it

            epoch = "".join(secrets.choice(_EPOCH_ALPHABET) for _ in range(_EPOCH_LENGTH))
            transaction.run("UPDATE fleet SET epoch = ?", (epoch,))
        return _epoch(transaction)


def version(transaction: Transaction) -> int:
    """The store's schema number; 0: it has no tables yet."""
    if not transaction.has_table("schema_version"):
        return 0
    return int(transaction.rows("SELECT version FROM schema_version")[0][0])


def missing(name: str) -> NotFound:
    """The error for a store that was never made."""
    return NotFound(f"there is no fleet yet: {name} holds no store", hint="run `fleetctl up`, which makes one")


def _refuse_newer(database: Database, found: int, known: int) -> None:
    if found > known:
        raise Conflict(
            f"{database.name} was written by a newer fleetctl (schema {found}, this one knows {known})",
            hint="upgrade: `pip install --upgrade fleetctl`",
        )


def _epoch(transaction: Transaction) -> str:
    return str(transaction.rows("SELECT epoch FROM fleet")[0][0])
