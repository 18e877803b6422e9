"""The rows of what the user wants: Services with their revisions, and Pools."""

from collections.abc import Iterable
from dataclasses import replace

from fleetctl.errors import NotFound
from fleetctl.model.names import ServiceName
from fleetctl.model.rollouts import Revision, Rollout
from fleetctl.model.services import Pool
from fleetctl.model.snapshots import Intent
from fleetctl.store.database import Row, Transaction
from fleetctl.store.documents import decode, encode

REVISIONS_KEPT = 6
"""Of each Service: more than anybody goes back, few enough to be read with every change."""


def rows(transaction: Transaction) -> tuple[list[Row], list[Row], list[Row]]:
    """Of Services, of their revisions and of Pools, each by name; not decoded, so that no writer waits for that."""
    return (
        transaction.rows("SELECT doc FROM services ORDER BY name"),
        transaction.rows("SELECT service, doc FROM revisions ORDER BY service, declared_at, name"),
        transaction.rows("SELECT doc FROM pools ORDER BY name"),
    )


def decoded(
    services: Iterable[Row], revisions: Iterable[Row], pools: Iterable[Row]
) -> tuple[tuple[Intent, ...], tuple[Pool, ...]]:
    """Of such rows: every Service with its last revisions, and every Pool."""
    kept: dict[str, list[Revision]] = {}
    for name, doc in revisions:
        kept.setdefault(name, []).append(decode(Revision, doc))
    intents = (decode(Intent, row[0]) for row in services)
    return (
        tuple(replace(one, revisions=tuple(kept.get(one.service.name, ()))) for one in intents),
        tuple(decode(Pool, row[0]) for row in pools),
    )


def find(transaction: Transaction, service: ServiceName) -> Intent | None:
    rows = transaction.rows("SELECT doc FROM services WHERE name = ?", (service,))
    return decode(Intent, rows[0][0]) if rows else None


def known(transaction: Transaction, service: ServiceName) -> Intent:
    """Raises NotFound."""
    found = find(transaction, service)
    if found is None:
        raise NotFound(
            f"there is no service {service}", hint="`fleetctl ps -a` lists those there are; `fleetctl up` adds one"
        )
    return found


def put(transaction: Transaction, intent: Intent) -> None:
    transaction.run(
        "INSERT INTO services (name, up, doc) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET up = excluded.up, doc = excluded.doc",
        (intent.service.name, int(intent.up), encode(intent)),
    )


def declare(transaction: Transaction, intent: Intent) -> None:
    """Want it so, and keep it as its Service's newest revision."""
    put(transaction, intent)
    keep_revision(transaction, intent, replaces=True)
    _drop_revisions(transaction, intent.service.name)


def want_again(transaction: Transaction, before: Intent, found: Intent | None, *, at: float) -> None:
    """An intent as it was. Another revision than the present one is declared anew, so that it is rolled out."""
    same = found is not None and found.revision == before.revision
    declared_at = found.declared_at if same and found is not None else at
    declare(transaction, replace(before, changed_at=at, declared_at=declared_at))


def keep_revision(transaction: Transaction, intent: Intent, *, replaces: bool) -> None:
    """Keep an Intent's Service whole; one kept before under its name stays, unless this `replaces` it."""
    name, at = intent.revision, intent.declared_at or intent.changed_at
    action = "UPDATE SET declared_at = excluded.declared_at, doc = excluded.doc" if replaces else "NOTHING"
    transaction.run(
        "INSERT INTO revisions (service, name, declared_at, doc) VALUES (?, ?, ?, ?)"
        f" ON CONFLICT (service, name) DO {action}",
        (intent.service.name, name, at, encode(Revision(name=name, service=intent.service, declared_at=at))),
    )


def _drop_revisions(transaction: Transaction, service: ServiceName) -> None:
    """Keep the last few, and those that a Rollout comes from or goes to, however many were declared since."""
    needed = set[str]()
    for row in transaction.rows("SELECT doc FROM rollouts WHERE service = ?", (service,)):
        rollout = decode(Rollout, row[0])
        needed = {rollout.from_revision, rollout.to_revision}
    names = transaction.rows("SELECT name FROM revisions WHERE service = ? ORDER BY declared_at DESC, name", (service,))
    old = [name for (name,) in names[REVISIONS_KEPT:] if name not in needed]
    transaction.many("DELETE FROM revisions WHERE service = ? AND name = ?", [(service, name) for name in old])


def forget(transaction: Transaction, service: ServiceName) -> None:
    """Every row of a Service that is down; one that is up is kept, with all of its rows."""
    if transaction.run("DELETE FROM services WHERE name = ? AND up = 0", (service,)):
        transaction.run("DELETE FROM memories WHERE service = ?", (service,))
        transaction.run("DELETE FROM decisions WHERE service = ?", (service,))
        transaction.run("DELETE FROM rollouts WHERE service = ?", (service,))
        transaction.run("DELETE FROM revisions WHERE service = ?", (service,))
        transaction.run("DELETE FROM starts WHERE service = ?", (service,))


def put_pool(transaction: Transaction, pool: Pool, *, at: float) -> None:
    transaction.run(
        "INSERT INTO pools (name, changed_at, doc) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET changed_at = excluded.changed_at, doc = excluded.doc",
        (pool.name, at, encode(pool)),
    )
