"""What the controller writes: who it is, and what each of its ticks changes. All but the Lease itself has its fence."""

from collections.abc import Sequence

from fleetctl.errors import Conflict
from fleetctl.model.decisions import Memory, Plan
from fleetctl.model.history import Interval
from fleetctl.model.instances import Instance
from fleetctl.model.keys import EntryReport
from fleetctl.model.ledger import Spent
from fleetctl.model.names import InstanceId, ReplicaId, ServiceName
from fleetctl.model.places import Experience
from fleetctl.model.replicas import Replica
from fleetctl.model.rollouts import Rollout
from fleetctl.model.snapshots import Lease, State
from fleetctl.store import api_keys, intents, journal_entries, ledger, orders, plans, schema
from fleetctl.store.database import Database
from fleetctl.store.documents import Memo, by_key
from fleetctl.store.retention import PRUNE_EVERY_COMMITS, Retention, keep_newest_starts, prune
from fleetctl.store.transactions import Transactions


class ControllerSide(Transactions):
    """The Lease, and the writes of its holder."""

    def __init__(
        self,
        database: Database,
        *,
        retention: Retention | None = None,
        migrations: Sequence[tuple[str, ...]] = schema.MIGRATIONS,
    ) -> None:
        super().__init__(database, migrations=migrations)
        self._retention = retention or Retention()
        self._commits = 0

    def acquire(self, holder: str, *, ttl_s: float, now: float) -> Lease | None:
        """Take or renew the Lease. None: another holder has it.

        A holder that nobody has displaced renews with its old fence, late or not: no other wrote in between. Any
        other gets a larger one, and it gets one again after it has released the Lease itself.
        """
        with self._write() as transaction:
            ((held_by, fence, expires_at),) = transaction.rows(
                f"SELECT holder, fence, expires_at FROM lease{self._database.dialect.lock}"
            )
            if held_by not in ("", holder) and now < expires_at:
                return None
            lease = Lease(holder=holder, fence=fence if held_by == holder else fence + 1, expires_at=now + ttl_s)
            transaction.run(
                "UPDATE lease SET holder = ?, fence = ?, expires_at = ?", (lease.holder, lease.fence, lease.expires_at)
            )
            return lease

    def release(self, holder: str) -> None:
        """Give the Lease up. Of another's Lease nothing changes; the fence is kept, and never used again."""
        with self._write() as transaction:
            transaction.run("UPDATE lease SET holder = '', expires_at = 0 WHERE holder = ?", (holder,))

    def load(self, memo: Memo | None = None) -> State:
        """Everything that earlier ticks stored, as of one moment; with a `memo` only what changed is decoded."""
        with self._read() as transaction:
            instances = transaction.rows("SELECT id, doc FROM instances")
            replicas = transaction.rows("SELECT id, doc FROM replicas")
            memories = transaction.rows("SELECT service, doc FROM memories")
            counters = transaction.rows("SELECT name, value FROM counters")
            places = transaction.rows("SELECT name, doc FROM places")
            rollouts = transaction.rows("SELECT service, doc FROM rollouts")
            pins = transaction.rows("SELECT image, digest FROM pins")
            counted_until = ledger.until(transaction)
        return State(
            instances=by_key(instances, InstanceId, Instance, memo),
            replicas=by_key(replicas, ReplicaId, Replica, memo),
            memories=by_key(memories, ServiceName, Memory, memo),
            counters={str(name): int(value) for name, value in counters},
            places=by_key(places, str, Experience),
            rollouts=by_key(rollouts, ServiceName, Rollout),
            pins={str(image): str(digest) for image, digest in pins},
            counted_until=counted_until,
        )

    def commit(
        self,
        plan: Plan,
        *,
        fence: int,
        journal: bytes,
        history: Sequence[tuple[ServiceName, Interval]] = (),
        spent: Spent | None = None,
    ) -> None:
        """Store everything a Plan changes, and the tick's journal entry, in one transaction. Raises LeaseLost.

        A counter never goes back, whatever the Plan says: an identifier given out twice would be two machines of
        one name. What the Plan both changes and removes is removed.
        """
        statements = plans.statements(plan, history)  # encoded and compressed before any other write has to wait
        entry = journal_entries.compressed(journal)
        with self._fenced_write(fence) as transaction:
            for sql, rows in statements:
                transaction.many(sql, rows)
            orders.drop(transaction, [f"replica/{replica}" for replica in plan.removed_replicas])
            orders.drop(transaction, [f"instance/{row.id}" for row in plan.instances if row.over])
            if spent is not None:
                ledger.put(transaction, spent)
            keep_newest_starts(transaction, self._retention, services={one.service for one in plan.starts})
            journal_entries.put(transaction, entry, at=plan.at)
            if self._commits % PRUNE_EVERY_COMMITS == 0:
                prune(transaction, self._retention, now=plan.at)
        self._commits += 1

    def forget_service(self, service: ServiceName, *, fence: int) -> None:
        """Remove a Service that is down and has nothing left. Raises LeaseLost, and Conflict while it has Replicas.

        One that the user has brought up again in the meantime is kept.
        """
        with self._intent_write(fence=fence) as transaction:
            left = transaction.rows("SELECT COUNT(*) FROM replicas WHERE service = ?", (service,))[0][0]
            if left:
                raise Conflict(
                    f"service {service} still has {left} replicas, so it cannot be forgotten",
                    hint=f"run `fleetctl down {service}` and wait until they are gone",
                )
            intents.forget(transaction, service)

    def put_use(self, report: EntryReport, *, fence: int, at: float) -> None:
        """Keep what a gateway tells of Tenants and keys; the same told again changes nothing. Raises LeaseLost."""
        with self._fenced_write(fence) as transaction:
            api_keys.put_use(transaction, report, at=at)
