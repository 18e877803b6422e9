"""What commands write: what the user wants, and who may enter."""

from collections.abc import Sequence
from dataclasses import replace

from fleetctl.errors import Conflict
from fleetctl.model.changes import Change
from fleetctl.model.keys import ApiKey
from fleetctl.model.names import ServiceName
from fleetctl.model.orders import Order
from fleetctl.model.routes import TenantEntry
from fleetctl.model.services import Pool, Schedule, Service
from fleetctl.model.snapshots import Intent, Override
from fleetctl.store import added_schedules, api_keys, changes, intents, orders
from fleetctl.store.database import Transaction
from fleetctl.store.documents import decode, encode
from fleetctl.store.transactions import Transactions


class UserSide(Transactions):
    """Every one of these writes changes an Intent, an order, a Tenant or a key; `put_change` keeps what was before."""

    def put_service(self, service: Service, *, revision: str, at: float, paused: bool | None = None) -> None:
        """Declare (or change) a Service and want it up, and keep it as its newest revision, whole.

        Clears nothing but an earlier `down`, and Schedules by command that its file has now; `paused`, where given,
        holds up its Rollout or lets it go on.
        """
        with self._intent_write() as transaction:
            found = intents.find(transaction, service.name)
            if found is not None and found.revision != revision:
                intents.keep_revision(
                    transaction, found, replaces=False
                )  # declared before revisions were kept, perhaps
            made = Intent(
                service=service,
                revision=revision,
                override=found.override if found else None,
                changed_at=at,
                created_at=at if found is None else found.created_at or found.changed_at,
                declared_at=at,
                paused=paused if paused is not None else found is not None and found.paused,
                added=added_schedules.still_added(found.added, service) if found else (),
            )
            intents.declare(transaction, made)

    def put_pool(self, pool: Pool, *, at: float) -> None:
        """Declare (or change) a Pool."""
        with self._intent_write() as transaction:
            intents.put_pool(transaction, pool, at=at)

    def set_up(self, service: ServiceName, up: bool, *, at: float) -> None:
        """Want a Service up, or down. Raises NotFound."""
        with self._intent_write() as transaction:
            intents.put(transaction, replace(intents.known(transaction, service), up=up, changed_at=at))

    def set_override(self, service: ServiceName, override: Override | None, *, at: float) -> None:
        """Set a Service's count by hand, or give it back to its policy. Raises NotFound."""
        with self._intent_write() as transaction:
            found = intents.known(transaction, service)
            intents.put(transaction, replace(found, override=override, changed_at=at))

    def add_schedule(self, service: ServiceName, schedule: Schedule, *, at: float) -> bool:
        """Keep a Schedule beside those of the Service's file, or put one in force until its end; whether that changes
        anything.

        One that is in force for at least as long stays as it is. Raises NotFound, and Conflict for too many.
        """
        with self._intent_write() as transaction:
            found = intents.known(transaction, service)
            added = added_schedules.with_one_more(found, schedule, at=at)
            if added is not None:
                intents.put(transaction, replace(found, added=added))
            return added is not None

    def drop_schedule(self, service: ServiceName, schedule: Schedule) -> bool:
        """Take back a Schedule that was kept with `add_schedule`; whether it was there. Raises NotFound."""
        with self._intent_write() as transaction:
            found = intents.known(transaction, service)
            left = added_schedules.without(found.added, schedule, found.service)
            if left != found.added:
                intents.put(transaction, replace(found, added=left))
            return left != found.added

    def set_paused(self, service: ServiceName, paused: bool) -> None:
        """Hold up a Service's Rollout, or let it go on. Raises NotFound."""
        with self._intent_write() as transaction:
            intents.put(transaction, replace(intents.known(transaction, service), paused=paused))

    def put_order(self, order: Order) -> None:
        """Ask something of one Pool, Instance or Replica, in place of what was asked of it before."""
        with self._intent_write() as transaction:
            orders.put(transaction, order)

    def drop_order(self, subject: str) -> bool:
        """Take back what was asked of `pool/…`, `instance/…` or `replica/…`; whether anything was."""
        with self._intent_write() as transaction:
            return orders.drop(transaction, [subject]) > 0

    def orders(self) -> tuple[Order, ...]:
        """What is asked of single Pools, Instances and Replicas, by subject; `intents_version` grows with it."""
        with self._read() as transaction:
            return orders.every(transaction)

    def put_change(self, change: Change) -> None:
        """Keep what the intents of a command were, before it changes them."""
        with self._write() as transaction:
            changes.put(transaction, change)

    def changes_made(self, *, since: float) -> Sequence[Change]:
        """Commands that changed intents at or after `since` and were not taken back, the newest first."""
        with self._read() as transaction:
            return changes.every(transaction, since=since)

    def take_back(self, change: Change, *, at: float) -> None:
        """Want again what was wanted before a Change, and forget it, in one transaction.

        A Service that was not declared then is down afterwards; a Pool that was not stays, without anything in it; a
        Tenant that was not is gone. The fleet's settings are not in the store: whoever takes back saves them.
        Raises Conflict where another command has taken the Change back already.
        """
        with self._intent_write() as transaction:
            if not changes.forget(transaction, change.number):
                raise Conflict(
                    f"`fleetctl {change.command}` was taken back by another command meanwhile",
                    hint="see what is left: fleetctl undo --list",
                )
            for kept in change.pools:
                if kept.declared is not None:
                    intents.put_pool(transaction, kept.declared, at=at)
            for before in change.tenants:
                if before.declared is not None:
                    _put_tenant(transaction, before.declared)
                else:
                    transaction.run("DELETE FROM tenants WHERE name = ?", (before.tenant,))
            for one in change.intents:
                found = intents.find(transaction, one.service)
                if one.intent is not None:
                    intents.want_again(transaction, one.intent, found, at=at)
                elif found is not None:
                    intents.put(transaction, replace(found, up=False, changed_at=at))

    def put_tenant(self, tenant: TenantEntry) -> None:
        """Declare (or change) a Tenant."""
        with self._intent_write() as transaction:
            _put_tenant(transaction, tenant)

    def tenants(self) -> Sequence[TenantEntry]:
        """Every Tenant declared, by name."""
        with self._read() as transaction:
            rows = transaction.rows("SELECT doc FROM tenants ORDER BY name")
        return [decode(TenantEntry, row[0]) for row in rows]

    def put_key(self, key: ApiKey, *, now: float) -> None:
        """Let a new key in. Raises Conflict where one in force has its name, or there are too many."""
        with self._intent_write() as transaction:
            api_keys.put(transaction, key, now=now)

    def revoke_key(self, key: str, *, at: float) -> None:
        """Of that id: it opens nothing any more. One that was revoked before stays as it is. Raises NotFound."""
        with self._intent_write() as transaction:
            api_keys.revoke(transaction, key, at=at)

    def api_keys(self) -> Sequence[ApiKey]:
        """Every key, those that are over too, the oldest first."""
        with self._read() as transaction:
            return api_keys.every(transaction)

    def intents(self) -> tuple[tuple[Intent, ...], tuple[Pool, ...]]:
        """Every Service declared, with its last revisions, those that are down too, and every Pool, each by name."""
        with self._read() as transaction:
            rows = intents.rows(transaction)
        return intents.decoded(*rows)

    def intents_version(self) -> int:
        """Grows with every change of what `intents` returns; cheap."""
        with self._read() as transaction:
            return int(transaction.rows("SELECT intents_version FROM fleet")[0][0])


def _put_tenant(transaction: Transaction, tenant: TenantEntry) -> None:
    transaction.run(
        "INSERT INTO tenants (name, doc) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET doc = excluded.doc",
        (tenant.name, encode(tenant)),
    )
