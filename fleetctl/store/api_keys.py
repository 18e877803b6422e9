"""API keys and Tenants' use in SQL. Of a key only its hash is here, never the key."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fleetctl.errors import Conflict, NotFound
from fleetctl.model.keys import KEYS_MAX, ApiKey, EntryReport
from fleetctl.store.database import Transaction
from fleetctl.store.documents import decode, encode


def put(transaction: Transaction, key: ApiKey, *, now: float) -> None:
    """Raises Conflict where a key in force has its name, or there are too many."""
    known = [one for one in every(transaction) if one.in_force(now)]
    for one in known:
        if key.name and one.name == key.name:
            raise Conflict(
                f"there is a key called {key.name!r} already: {one.id}",
                hint=f"choose another --name, or end that one: fleetctl keys revoke {one.id}",
            )
    if len(known) >= KEYS_MAX:
        raise Conflict(
            f"there are {len(known)} keys in force, and a gateway keeps {KEYS_MAX}",
            hint="revoke some: fleetctl keys ls, fleetctl keys revoke ID",
        )
    transaction.run(
        "INSERT INTO api_keys (id, sha256, over_at, last_used_at, doc) VALUES (?, ?, ?, ?, ?)",
        (key.id, key.sha256, key.revoked_at, key.last_used_at, encode(key)),
    )


def revoke(transaction: Transaction, key: str, *, at: float) -> None:
    """Raises NotFound."""
    rows = transaction.rows("SELECT doc FROM api_keys WHERE id = ?", (key,))
    if not rows:
        raise NotFound(f"there is no key {key!r}", hint="see them: fleetctl keys ls")
    found = decode(ApiKey, rows[0][0])
    if found.revoked_at is None:
        revoked = encode(replace(found, revoked_at=at))
        transaction.run("UPDATE api_keys SET over_at = ?, doc = ? WHERE id = ?", (at, revoked, key))


def every(transaction: Transaction) -> Sequence[ApiKey]:
    """The oldest first."""
    rows = transaction.rows("SELECT doc, last_used_at FROM api_keys")
    found = [replace(decode(ApiKey, doc), last_used_at=last_used_at) for doc, last_used_at in rows]
    return sorted(found, key=lambda key: (key.created_at, key.id))


def put_use(transaction: Transaction, report: EntryReport, *, at: float) -> None:
    """Counts of one gateway process only grow, so an older report that comes late changes nothing."""
    transaction.many(
        "INSERT INTO tenant_use (tenant, month, gateway, tokens) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (tenant, month, gateway) DO UPDATE SET tokens = excluded.tokens"
        " WHERE excluded.tokens > tenant_use.tokens",
        [(use.tenant, use.month, report.gateway, use.tokens) for use in report.uses],
    )
    transaction.many(
        "UPDATE api_keys SET last_used_at = ? WHERE id = ? AND (last_used_at IS NULL OR last_used_at < ?)",
        [(at, key, at) for key in report.keys],
    )


def tokens_used(transaction: Transaction, month: str) -> Mapping[str, int]:
    rows = transaction.rows("SELECT tenant, SUM(tokens) FROM tenant_use WHERE month = ? GROUP BY tenant", (month,))
    return {str(tenant): int(tokens) for tenant, tokens in rows}
