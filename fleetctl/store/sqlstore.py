"""The fleet's memory in a SQL database: `ports.Store`, written once for every database."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from fleetctl.errors import Conflict, LeaseLost, NotFound, StoreFailure
from fleetctl.model.decisions import Decision, Event, Memory, Plan
from fleetctl.model.gateways import GatewayBeat, GatewayGrant, GatewayOrders
from fleetctl.model.history import Interval
from fleetctl.model.instances import Instance, InstancePhase, Wanted
from fleetctl.model.keys import ApiKey, EntryReport
from fleetctl.model.names import InstanceId, ReplicaId, ServiceName
from fleetctl.model.orphans import Orphan
from fleetctl.model.places import Experience
from fleetctl.model.replicas import Replica
from fleetctl.model.rollouts import Revision, Rollout
from fleetctl.model.routes import Identity, Routes, TenantEntry
from fleetctl.model.services import Pool, Service
from fleetctl.model.snapshots import Intent, Lease, Override, State
from fleetctl.model.starts import Start
from fleetctl.store import api_keys, gateways, schema
from fleetctl.store.database import Database, Row, Transaction
from fleetctl.store.documents import Memo, decode, encode
from fleetctl.store.retention import PRUNE_EVERY_COMMITS, Retention, keep_newest_starts, prune

K = TypeVar("K")
V = TypeVar("V")

REVISIONS_KEPT = 6
"""Of each Service: more than anybody goes back, few enough to be read with every change."""
_ZLIB_LEVEL = 1
"""Ten times smaller at a third of the default level's time; a journal entry is written with every tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One tick's entry, as it was given to `commit`."""

    at: float
    entry: bytes


class SqlStore:
    """`ports.Store` over a Database. Each method is one transaction. Raises `errors.StoreFailure`."""

    def __init__(
        self,
        database: Database,
        *,
        retention: Retention | None = None,
        migrations: Sequence[tuple[str, ...]] = schema.MIGRATIONS,
    ) -> None:
        self._database = database
        self._retention = retention or Retention()
        self._schema = len(migrations)
        self._commits = 0
        self.epoch = schema.prepare(database, migrations)

    def close(self) -> None:
        self._database.close()

    # the user's side

    def put_service(self, service: Service, *, revision: str, at: float, paused: bool | None = None) -> None:
        """Declare (or change) a Service and want it up, and keep it as its newest revision, whole.

        Clears nothing but an earlier `down`; `paused`, where given, holds up its Rollout or lets it go on.
        """
        with self._intent_write() as transaction:
            found = _intent(transaction, service.name)
            if found is not None and found.revision != revision:
                _keep_revision(transaction, found, replaces=False)  # declared before revisions were kept, perhaps
            made = Intent(
                service=service,
                revision=revision,
                override=found.override if found else None,
                changed_at=at,
                declared_at=at,
                paused=paused if paused is not None else found is not None and found.paused,
            )
            _put_intent(transaction, made)
            _keep_revision(transaction, made, replaces=True)
            _drop_revisions(transaction, service.name)

    def put_pool(self, pool: Pool, *, at: float) -> None:
        """Declare (or change) a Pool."""
        doc = encode(pool)
        with self._intent_write() as transaction:
            transaction.run(
                "INSERT INTO pools (name, changed_at, doc) VALUES (?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET changed_at = excluded.changed_at, doc = excluded.doc",
                (pool.name, at, doc),
            )

    def set_up(self, service: ServiceName, up: bool, *, at: float) -> None:
        """Want a Service up, or down. Raises NotFound."""
        with self._intent_write() as transaction:
            _put_intent(transaction, replace(self._known_intent(transaction, service), up=up, changed_at=at))

    def set_override(self, service: ServiceName, override: Override | None, *, at: float) -> None:
        """Set a Service's count by hand, or give it back to its policy. Raises NotFound."""
        with self._intent_write() as transaction:
            found = self._known_intent(transaction, service)
            _put_intent(transaction, replace(found, override=override, changed_at=at))

    def set_paused(self, service: ServiceName, paused: bool) -> None:
        """Hold up a Service's Rollout, or let it go on. Raises NotFound."""
        with self._intent_write() as transaction:
            _put_intent(transaction, replace(self._known_intent(transaction, service), paused=paused))

    def put_tenant(self, tenant: TenantEntry) -> None:
        """Declare (or change) a Tenant."""
        doc = encode(tenant)
        with self._intent_write() as transaction:
            transaction.run(
                "INSERT INTO tenants (name, doc) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET doc = excluded.doc",
                (tenant.name, doc),
            )

    def tenants(self) -> Sequence[TenantEntry]:
        """Every Tenant declared, by name."""
        with self._database.read() as transaction:
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
        with self._database.read() as transaction:
            return api_keys.every(transaction)

    def intents(self) -> tuple[tuple[Intent, ...], tuple[Pool, ...]]:
        """Every Service declared, with its last revisions, those that are down too, and every Pool, each by name."""
        with self._database.read() as transaction:
            services = transaction.rows("SELECT doc FROM services ORDER BY name")
            pools = transaction.rows("SELECT doc FROM pools ORDER BY name")
            rows = transaction.rows("SELECT service, doc FROM revisions ORDER BY service, declared_at, name")
        revisions: dict[str, list[Revision]] = {}
        for name, doc in rows:
            revisions.setdefault(name, []).append(decode(Revision, doc))
        intents = (decode(Intent, row[0]) for row in services)
        return (
            tuple(replace(one, revisions=tuple(revisions.get(one.service.name, ()))) for one in intents),
            tuple(decode(Pool, row[0]) for row in pools),
        )

    def intents_version(self) -> int:
        """Grows with every change of what `intents` returns; cheap."""
        with self._database.read() as transaction:
            return int(transaction.rows("SELECT intents_version FROM fleet")[0][0])

    # the controller's side

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

    def lease(self) -> Lease | None:
        """Who holds it, expired or not."""
        with self._database.read() as transaction:
            return _lease(transaction)

    def load(self, memo: Memo | None = None) -> State:
        """Everything that earlier ticks stored, as of one moment; with a `memo` only what changed is decoded."""
        memo = memo or Memo()
        with self._database.read() as transaction:
            instances = transaction.rows("SELECT id, doc FROM instances")
            replicas = transaction.rows("SELECT id, doc FROM replicas")
            memories = transaction.rows("SELECT service, doc FROM memories")
            counters = transaction.rows("SELECT name, value FROM counters")
            places = transaction.rows("SELECT name, doc FROM places")
            rollouts = transaction.rows("SELECT service, doc FROM rollouts")
            pins = transaction.rows("SELECT image, digest FROM pins")
        return State(
            instances=_remembered(memo, instances, InstanceId, Instance),
            replicas=_remembered(memo, replicas, ReplicaId, Replica),
            memories=_remembered(memo, memories, ServiceName, Memory),
            counters={str(name): int(value) for name, value in counters},
            places=_documents(places, str, Experience),
            rollouts=_documents(rollouts, ServiceName, Rollout),
            pins={str(image): str(digest) for image, digest in pins},
        )

    def commit(
        self,
        plan: Plan,
        *,
        fence: int,
        journal: bytes,
        history: Sequence[tuple[ServiceName, Interval]] = (),
    ) -> None:
        """Store everything a Plan changes, and the tick's journal entry, in one transaction. Raises LeaseLost.

        A counter never goes back, whatever the Plan says: an identifier given out twice would be two machines of
        one name. What the Plan both changes and removes is removed.
        """
        instances = [(row.id, row.phase_at if row.over else None, encode(row)) for row in plan.instances]
        replicas = [(row.id, row.service, encode(row)) for row in plan.replicas]
        memories = [(service, encode(memory)) for service, memory in plan.memories]
        decisions = [(decision.service, encode(decision)) for decision in plan.decisions]
        places = [(str(one.place), encode(one)) for one in plan.places]
        rollouts = [(one.service, encode(one)) for one in plan.rollouts]
        starts = [(one.service, one.replica, one.ended_at, encode(one)) for one in plan.starts]
        events = _event_rows(plan.events)
        entry = zlib.compress(journal, _ZLIB_LEVEL)
        with self._write() as transaction:
            self._check_fence(transaction, fence)
            transaction.many(
                "INSERT INTO instances (id, over_at, doc) VALUES (?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET over_at = excluded.over_at, doc = excluded.doc",
                instances,
            )
            transaction.many(
                "INSERT INTO replicas (id, service, doc) VALUES (?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET service = excluded.service, doc = excluded.doc",
                replicas,
            )
            transaction.many("DELETE FROM replicas WHERE id = ?", [(replica,) for replica in plan.removed_replicas])
            transaction.many(
                "INSERT INTO memories (service, doc) VALUES (?, ?)"
                " ON CONFLICT (service) DO UPDATE SET doc = excluded.doc",
                memories,
            )
            transaction.many(
                "INSERT INTO counters (name, value) VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE excluded.value > counters.value",
                plan.counters,
            )
            transaction.many(
                "INSERT INTO decisions (service, doc) VALUES (?, ?)"
                " ON CONFLICT (service) DO UPDATE SET doc = excluded.doc",
                decisions,
            )
            transaction.many(
                "INSERT INTO places (name, doc) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET doc = excluded.doc",
                places,
            )
            transaction.many(
                "INSERT INTO rollouts (service, doc) VALUES (?, ?)"
                " ON CONFLICT (service) DO UPDATE SET doc = excluded.doc",
                rollouts,
            )
            transaction.many("DELETE FROM pins WHERE image = ?", [(image,) for image in plan.removed_pins])
            transaction.many(
                "INSERT INTO pins (image, digest) VALUES (?, ?)"
                " ON CONFLICT (image) DO UPDATE SET digest = excluded.digest",
                plan.pins,
            )
            transaction.many("INSERT INTO starts (service, replica, ended_at, doc) VALUES (?, ?, ?, ?)", starts)
            keep_newest_starts(transaction, self._retention, services={one.service for one in plan.starts})
            transaction.many(_INSERT_EVENT, events)
            transaction.many(
                "INSERT INTO history (service, since, until, arrivals, input_tokens, output_tokens)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (name, one.t_from, one.t_to, one.arrivals, one.input_tokens, one.output_tokens)
                    for name, one in history
                ],
            )
            transaction.run(
                "INSERT INTO journal (at, end_bytes, entry) VALUES"
                " (?, ? + COALESCE((SELECT end_bytes FROM journal ORDER BY id DESC LIMIT 1), 0), ?)",
                (plan.at, len(entry), entry),
            )
            if self._commits % PRUNE_EVERY_COMMITS == 0:
                prune(transaction, self._retention, now=plan.at)
        self._commits += 1

    def forget_service(self, service: ServiceName, *, fence: int) -> None:
        """Remove a Service that is down and has nothing left. Raises LeaseLost, and Conflict while it has Replicas.

        One that the user has brought up again in the meantime is kept.
        """
        with self._intent_write() as transaction:
            self._check_fence(transaction, fence)
            left = transaction.rows("SELECT COUNT(*) FROM replicas WHERE service = ?", (service,))[0][0]
            if left:
                raise Conflict(
                    f"service {service} still has {left} replicas, so it cannot be forgotten",
                    hint=f"run `fleetctl down {service}` and wait until they are gone",
                )
            if transaction.run("DELETE FROM services WHERE name = ? AND up = 0", (service,)):
                transaction.run("DELETE FROM memories WHERE service = ?", (service,))
                transaction.run("DELETE FROM decisions WHERE service = ?", (service,))
                transaction.run("DELETE FROM rollouts WHERE service = ?", (service,))
                transaction.run("DELETE FROM revisions WHERE service = ?", (service,))
                transaction.run("DELETE FROM starts WHERE service = ?", (service,))

    def put_use(self, report: EntryReport, *, fence: int, at: float) -> None:
        """Keep what a gateway tells of Tenants and keys; the same told again changes nothing. Raises LeaseLost."""
        with self._write() as transaction:
            self._check_fence(transaction, fence)
            api_keys.put_use(transaction, report, at=at)

    def tokens_used(self, month: str) -> Mapping[str, int]:
        """Tokens of each Tenant in that month (`2026-11`, UTC), over all gateways."""
        with self._database.read() as transaction:
            return api_keys.tokens_used(transaction, month)

    # gc's side

    def orphans(self) -> Mapping[str, Orphan]:
        """What was found to be nobody's when `gc` last looked, by key."""
        with self._database.read() as transaction:
            rows = transaction.rows("SELECT name, doc FROM orphans ORDER BY name")
        return _documents(rows, str, Orphan)

    def put_orphans(self, orphans: Iterable[Orphan]) -> None:
        """What is found to be nobody's now, in place of what was."""
        rows = [(orphan.key, encode(orphan)) for orphan in orphans]
        with self._write() as transaction:
            transaction.run("DELETE FROM orphans")
            transaction.many("INSERT INTO orphans (name, doc) VALUES (?, ?)", rows)

    def given_back(self, instances: Iterable[InstanceId], *, at: float) -> None:
        """Instances that `gc` terminated: their rows end as those that a controller terminates do."""
        with self._write() as transaction:
            for key in instances:
                rows = transaction.rows("SELECT doc FROM instances WHERE id = ? AND over_at IS NULL", (key,))
                for row in rows:
                    known = decode(Instance, row[0])
                    ended = replace(known, wanted=Wanted.TERMINATED, phase=InstancePhase.TERMINATING, phase_at=at)
                    transaction.run("UPDATE instances SET doc = ? WHERE id = ?", (encode(ended), key))

    # gateways' side

    def join_gateway(self, beat: GatewayBeat) -> None:
        """A gateway's first word; whoever had its name before has it no more."""
        with self._write() as transaction:
            gateways.put_beat(transaction, beat, joins=True)

    def beat_gateway(self, beat: GatewayBeat) -> bool:
        """A gateway's word that it lives. False: its slots were taken back, or another has its name: it must join."""
        with self._write() as transaction:
            return gateways.put_beat(transaction, beat, joins=False)

    def leave_gateway(self, incarnation: str) -> None:
        """A gateway that has nothing running ends; its slots are free at once."""
        with self._write() as transaction:
            gateways.remove_gateway(transaction, incarnation)

    def gateway_orders(
        self, name: str, incarnation: str, *, routes_number: int = 0, identity_number: int = 0
    ) -> GatewayOrders:
        """What a gateway is to follow; cheap while routes and identity keep their numbers."""
        with self._database.read() as transaction:
            return gateways.orders(
                transaction, name, incarnation, routes_number=routes_number, identity_number=identity_number
            )

    def gateways(self) -> tuple[tuple[GatewayBeat, ...], tuple[GatewayGrant, ...]]:
        """What each gateway that joined said last, by name, and every grant."""
        with self._database.read() as transaction:
            return gateways.beats(transaction), gateways.grants(transaction)

    def put_grants(
        self,
        grants: Iterable[GatewayGrant],
        *,
        over: Mapping[str, int],
        routes: Routes | None,
        fence: int,
    ) -> bool:
        """Store grants that changed, take back those of the incarnations in `over`, and put new routes for all.

        `over` has the number of the last beat that was seen of each. False: one has said something since, so that
        nothing was stored. Raises LeaseLost.
        """
        with self._write() as transaction:
            self._check_fence(transaction, fence)
            if gateways.speaks(transaction, over, self._database.dialect.lock):
                return False
            for incarnation in over:
                gateways.remove_gateway(transaction, incarnation)
            gateways.put_grants(transaction, grants)
            if routes is not None:
                gateways.put_order(transaction, routes)
            return True

    def put_gateway_identity(self, identity: Identity, *, fence: int) -> None:
        """Tell every gateway that joined, or will, who may enter. Raises LeaseLost."""
        with self._write() as transaction:
            self._check_fence(transaction, fence)
            gateways.put_order(transaction, identity)

    # everyone's side

    def events(self, *, since: float = 0.0, limit: int = 1000, subject: str | None = None) -> Sequence[Event]:
        """Those at or after `since`, oldest first; the newest `limit` of them."""
        where, values = ("", ()) if subject is None else (" AND subject = ?", (subject,))
        with self._database.read() as transaction:
            rows = transaction.rows(
                f"SELECT doc FROM events WHERE at >= ?{where} ORDER BY at DESC, id DESC LIMIT ?",
                (since, *values, limit),
            )
        return [decode(Event, row[0]) for row in reversed(rows)]

    def add_events(self, events: Iterable[Event]) -> None:
        rows = _event_rows(events)
        with self._write() as transaction:
            transaction.many(_INSERT_EVENT, rows)

    def decisions(self, memo: Memo | None = None) -> Mapping[ServiceName, Decision]:
        """The newest Decision of each Service; with a `memo` only what changed is decoded."""
        with self._database.read() as transaction:
            rows = transaction.rows("SELECT service, doc FROM decisions ORDER BY service")
        return _remembered(memo or Memo(), rows, ServiceName, Decision)

    def changes(self) -> tuple[int, int, int]:
        """Another one after every commit, every event and every change of what is wanted: cheap, for who looks on.

        Raises Conflict once a newer fleetctl has changed the tables.
        """
        with self._database.read() as transaction:
            ((found, committed, happened, wanted),) = transaction.rows(
                "SELECT (SELECT version FROM schema_version), (SELECT COALESCE(MAX(id), 0) FROM journal),"
                " (SELECT COALESCE(MAX(id), 0) FROM events), intents_version FROM fleet"
            )
        self._refuse_upgraded(found)
        return int(committed), int(happened), int(wanted)

    def journal(self, *, at: float) -> bytes | None:
        """The journal entry of the last tick at or before `at`."""
        with self._database.read() as transaction:
            rows = transaction.rows(
                "SELECT at, entry FROM journal WHERE at <= ? ORDER BY at DESC, id DESC LIMIT 1", (at,)
            )
        return self._journal_entry(rows[0]).entry if rows else None

    def journal_begins(self) -> float | None:
        """The time of the oldest journal entry that is kept, in Unix seconds; None: there is none."""
        with self._database.read() as transaction:
            at = transaction.rows("SELECT MIN(at) FROM journal")[0][0]
        return None if at is None else float(at)

    def journal_range(self, *, since: float, until: float, limit: int) -> Sequence[JournalEntry]:
        """The entries of ticks from `since` to `until`, both included, oldest first; the first `limit` of them."""
        with self._database.read() as transaction:
            rows = transaction.rows(
                "SELECT at, entry FROM journal WHERE at >= ? AND at <= ? ORDER BY at, id LIMIT ?",
                (since, until, limit),
            )
        return [self._journal_entry(row) for row in rows]

    def starts(
        self, service: ServiceName | None = None, *, replica: ReplicaId | None = None, limit: int = 1000
    ) -> Sequence[Start]:
        """Starts that are over, of one Service or of one Replica, oldest first; the newest `limit` of them."""
        asked = [(name, value) for name, value in (("service", service), ("replica", replica)) if value is not None]
        where = f" WHERE {' AND '.join(f'{name} = ?' for name, _ in asked)}" if asked else ""
        with self._database.read() as transaction:
            rows = transaction.rows(
                f"SELECT doc FROM starts{where} ORDER BY id DESC LIMIT ?", (*(value for _, value in asked), limit)
            )
        return [decode(Start, row[0]) for row in reversed(rows)]

    def history(self, service: ServiceName, *, since: float, until: float) -> Sequence[Interval]:
        """What came in for one Service, oldest first; where nothing came, nothing is said."""
        with self._database.read() as transaction:
            rows = transaction.rows(
                "SELECT since, until, arrivals, input_tokens, output_tokens FROM history"
                " WHERE service = ? AND until > ? AND until <= ? ORDER BY until, id",
                (service, since, until),
            )
        return [
            Interval(t_from=begun, t_to=ended, arrivals=arrivals, input_tokens=read, output_tokens=made)
            for begun, ended, arrivals, read, made in rows
        ]

    # inside

    @contextmanager
    def _write(self) -> Iterator[Transaction]:
        """A write, refused once a newer fleetctl has changed the tables under this process."""
        with self._database.write() as transaction:
            found = transaction.rows(f"SELECT version FROM schema_version{self._database.dialect.share}")[0][0]
            self._refuse_upgraded(found)
            yield transaction

    def _refuse_upgraded(self, found: int) -> None:
        if found != self._schema:
            raise Conflict(
                f"{self._database.name} was upgraded by a newer fleetctl while this one ran"
                f" (schema {found}, this one knows {self._schema})",
                hint="start this command again with the newer fleetctl",
            )

    @contextmanager
    def _intent_write(self) -> Iterator[Transaction]:
        """A write that changes intents: the version grows first, so that two such writes take turns."""
        with self._write() as transaction:
            transaction.run("UPDATE fleet SET intents_version = intents_version + 1")
            yield transaction

    def _check_fence(self, transaction: Transaction, fence: int) -> None:
        ((holder, newest),) = transaction.rows(f"SELECT holder, fence FROM lease{self._database.dialect.lock}")
        if newest != fence:
            raise LeaseLost(
                f"{holder or 'another controller'} has taken over the fleet"
                f" (lease {newest}, this controller had {fence})",
                hint="this controller stops; the other one goes on: `fleetctl daemon status` shows it",
            )

    def _known_intent(self, transaction: Transaction, service: ServiceName) -> Intent:
        found = _intent(transaction, service)
        if found is None:
            raise NotFound(
                f"there is no service {service}", hint="`fleetctl ps -a` lists those there are; `fleetctl up` adds one"
            )
        return found

    def _journal_entry(self, row: Row) -> JournalEntry:
        at, entry = row
        try:
            return JournalEntry(at=at, entry=zlib.decompress(entry))
        except zlib.error as error:
            raise StoreFailure(
                f"the journal entry of {at} in {self._database.name} is damaged: {error}",
                hint="choose another time; if there are more of these, restore a backup of the store",
            ) from error


_INSERT_EVENT = "INSERT INTO events (at, subject, doc) VALUES (?, ?, ?)"


def _event_rows(events: Iterable[Event]) -> list[tuple[float, str, str]]:
    return [(event.at, event.subject, encode(event)) for event in events]


def _documents(rows: Sequence[Row], key: Callable[[str], K], kind: type[V]) -> dict[K, V]:
    return {key(name): decode(kind, doc) for name, doc in rows}


def _remembered(memo: Memo, rows: Sequence[Row], key: Callable[[str], K], kind: type[V]) -> dict[K, V]:
    return {key(name): noun for name, noun in memo.decode(kind, rows).items()}


def _intent(transaction: Transaction, service: ServiceName) -> Intent | None:
    rows = transaction.rows("SELECT doc FROM services WHERE name = ?", (service,))
    return decode(Intent, rows[0][0]) if rows else None


def _keep_revision(transaction: Transaction, intent: Intent, *, replaces: bool) -> None:
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


def _put_intent(transaction: Transaction, intent: Intent) -> None:
    transaction.run(
        "INSERT INTO services (name, up, doc) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET up = excluded.up, doc = excluded.doc",
        (intent.service.name, int(intent.up), encode(intent)),
    )


def _lease(transaction: Transaction) -> Lease | None:
    ((holder, fence, expires_at),) = transaction.rows("SELECT holder, fence, expires_at FROM lease")
    return Lease(holder=holder, fence=fence, expires_at=expires_at) if holder else None
