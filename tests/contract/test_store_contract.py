"""One suite over every store: what `ports.Store` promises holds for SQLite and for PostgreSQL alike.

PostgreSQL: FLEETCTL_TEST_POSTGRES names a database to use; else a private server is started where its programs are
installed; else those tests are skipped, with the reason.
"""

import os
import pwd
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import types
import typing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fleetctl
from fleetctl.errors import Conflict, LeaseLost, NotFound, StoreFailure
from fleetctl.model.changes import Change, IntentBefore, PoolBefore
from fleetctl.model.decisions import Decision, Event, Memory, Plan
from fleetctl.model.instances import Instance, InstancePhase, Offer
from fleetctl.model.keys import ApiKey, EntryReport
from fleetctl.model.names import InstanceId, PoolName, ProviderName, ReplicaId, ServiceName
from fleetctl.model.replicas import Replica, ReplicaPhase, Stage
from fleetctl.model.rollouts import Revision, Rollout
from fleetctl.model.routes import TenantEntry, TenantLimits, TenantUse
from fleetctl.model.services import Gpu, Market, Pool, Service
from fleetctl.model.snapshots import Intent, Lease, Override
from fleetctl.model.starts import Start
from fleetctl.store import JournalEntry, open_store
from fleetctl.store.changes import CHANGES_AGE_S, CHANGES_KEPT
from fleetctl.store.database import Database
from fleetctl.store.documents import encode
from fleetctl.store.intents import REVISIONS_KEPT
from fleetctl.store.postgres import PostgresDatabase
from fleetctl.store.retention import PRUNE_EVERY_COMMITS, Retention
from fleetctl.store.schema import MIGRATIONS
from fleetctl.store.sqlite import SqliteDatabase
from fleetctl.store.sqlstore import SqlStore

SERVER_START_S = 30.0
PROCESS_S = 60.0
LIST_LIMIT_S = 0.3
KILLS = 5
TURNS = 40
RACERS = 8
RACES = 20
LOADS = 200

# ---------------------------------------------------------------- databases


def _server_programs() -> Path | None:
    found = shutil.which("postgres")
    if found:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return versions[-1].parent if versions else None


@contextmanager
def _private_server(programs: Path) -> Iterator[str]:
    """A PostgreSQL server of our own on a Unix socket. It refuses to run as root, so that root runs it as another."""
    account: dict[str, Any] = {}
    folder = Path(tempfile.mkdtemp(prefix="fleetctl-pg-"))
    try:
        if os.getuid() == 0:
            names = {entry.pw_name: entry for entry in pwd.getpwall()}
            user = names.get("postgres") or names["nobody"]
            os.chown(folder, user.pw_uid, user.pw_gid)
            account = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        data = folder / "data"
        made = subprocess.run(
            [programs / "initdb", "-D", data, "-U", "fleetctl", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            capture_output=True,
            text=True,
            cwd=folder,
            timeout=PROCESS_S,
            **account,
        )
        assert made.returncode == 0, made.stdout + made.stderr
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
                stdout=log,
                stderr=log,
                cwd=folder,
                **account,
            )
        try:
            url = f"postgresql:///postgres?host={folder}&user=fleetctl"
            until = time.monotonic() + SERVER_START_S
            while True:
                try:
                    psycopg.connect(url).close()
                    break
                except psycopg.OperationalError:
                    assert server.poll() is None and time.monotonic() < until, (folder / "log").read_text()
                    time.sleep(0.05)
            yield url
        finally:
            server.send_signal(2)  # a fast shutdown: it does not wait for clients
            server.wait(timeout=SERVER_START_S)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    given_url = os.environ.get("FLEETCTL_TEST_POSTGRES")
    if given_url:
        yield given_url
        return
    programs = _server_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server program on this machine, and FLEETCTL_TEST_POSTGRES is not set")
    with _private_server(programs) as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A schema of one test."""
    schema = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
        yield f"{postgres_server}{'&' if '?' in postgres_server else '?'}options=-csearch_path%3D{schema}"
        connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "fleet.db")
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    with closing(open_store(url)) as opened:
        yield opened


def database(url: str) -> Database:
    return PostgresDatabase(url) if url.startswith("postgresql:") else SqliteDatabase(Path(url))


@pytest.fixture
def hoard(url: str) -> Iterator[SqlStore]:
    """A store that forgets nothing, for Plans whose times are drawn."""
    keep = Retention(journal_age_s=1e300, over_instances_age_s=1e300, starts_age_s=1e300)
    with closing(SqlStore(database(url), retention=keep)) as opened:
        yield opened


def fence(store: SqlStore) -> int:
    lease = store.acquire("tests", ttl_s=60.0, now=0.0)
    assert lease is not None
    return lease.fence


# ---------------------------------------------------------------- nouns

CHAT = ServiceName("chat")
SERVICE = Service(name=CHAT, engine="vllm", model="hf://m@1", gpu=(Gpu(name="L40S"),), concurrency=64)
ROLLOUT = Rollout(service=CHAT, from_revision="r0", to_revision="r1", started_at=1.0)
POOL = Pool(name=PoolName("shared"), gpu=(Gpu(name="H100", count=8),))
OFFER = Offer(
    provider=ProviderName("local"),
    instance_type="small",
    gpu=Gpu(name="L40S"),
    zone="here",
    market=Market.SPOT,
    price_per_hour=None,
    price_source="none",
    price_as_of=1.0,
)


def instance(name: str, phase: InstancePhase = InstancePhase.READY, phase_at: float = 1.0) -> Instance:
    return Instance(id=InstanceId(name), pool=POOL.name, offer=OFFER, phase=phase, phase_at=phase_at, created_at=1.0)


def replica(name: str, service: ServiceName = CHAT) -> Replica:
    return Replica(id=ReplicaId(name), service=service, revision="r1", phase=ReplicaPhase.READY, created_at=1.0)


def event(at: float, message: str, subject: str = "service/chat") -> Event:
    return Event(at=at, kind="scale", subject=subject, message=message)


def a_start(replica: str, ended_at: float, service: ServiceName = CHAT) -> Start:
    stage = Stage(name="weights", started_at=ended_at - 2.0, ended_at=ended_at - 1.0, origin_bytes=7, peer_bytes=0)
    return Start(
        service=service,
        revision="r1",
        replica=ReplicaId(replica),
        decided_at=ended_at - 3.0,
        ended_at=ended_at,
        stages=(stage,),
    )


def decision(desired: int) -> Decision:
    return Decision(
        service=CHAT,
        at=1.0,
        current=0,
        ready=0,
        desired=desired,
        binding="policy",
        reason="because",
        stages=(),
        concurrency=None,
        concurrency_most=None,
        unknown=0,
        queued=None,
        target=44.8,
    )


# ---------------------------------------------------------------- the store itself


def test_a_store_keeps_its_epoch_and_another_has_its_own(url: str, tmp_path: Path) -> None:
    with closing(open_store(url)) as first:
        epoch = first.epoch

    with closing(open_store(url)) as again, closing(open_store(str(tmp_path / "other.db"))) as other:
        assert again.epoch == epoch
        assert other.epoch != epoch  # one in a million
        assert len(epoch) == 4 and set(epoch) <= set("abcdefghijkmnpqrstuvwxyz23456789")


def test_a_store_that_was_never_made_is_not_found_by_a_reader(url: str) -> None:
    with pytest.raises(NotFound) as caught:
        open_store(url, read_only=True)

    assert "fleetctl up" in caught.value.hint


def test_a_reader_reads_and_does_not_write(url: str, store: SqlStore) -> None:
    store.put_service(SERVICE, revision="r1", at=1.0)

    with closing(open_store(url, read_only=True)) as reader:
        assert reader.intents() == store.intents()
        with pytest.raises(StoreFailure, match="reading only"):
            reader.put_pool(POOL, at=1.0)


def test_a_closed_store_says_so_and_may_be_closed_again(store: SqlStore) -> None:
    store.close()
    store.close()

    with pytest.raises(StoreFailure, match="closed"):
        store.load()


# ---------------------------------------------------------------- changes that are taken back


def kept(store: SqlStore, at: float, *, pool: Pool | None = None, command: str = "scale chat=3") -> Change:
    """What a command does first: keep what is wanted of `chat`, and of the pool."""
    found = next((one for one in store.intents()[0] if one.service.name == CHAT), None)
    before = None if found is None else replace(found, revisions=())
    pools = () if pool is None else (PoolBefore(pool=pool.name, declared=pool),)
    change = Change(command=command, at=at, intents=(IntentBefore(service=CHAT, intent=before),), pools=pools)
    store.put_change(change)
    return store.changes_made(since=0.0)[0]


def test_what_was_wanted_before_is_wanted_again(store: SqlStore) -> None:
    store.put_pool(POOL, at=1.0)
    store.put_service(SERVICE, revision="r1", at=1.0)
    change = kept(store, 2.0, pool=POOL)
    store.put_pool(replace(POOL, max=3), at=2.0)
    store.put_service(replace(SERVICE, model="hf://m@2"), revision="r2", at=2.0)
    store.set_override(CHAT, Override(replicas=3, held=True), at=2.0)
    store.set_up(CHAT, False, at=2.0)
    version = store.intents_version()

    store.take_back(change, at=5.0)

    ((intent,), (pool,)) = store.intents()
    assert (intent.service, intent.revision, intent.up, intent.override) == (SERVICE, "r1", True, None)
    assert (intent.changed_at, intent.declared_at) == (5.0, 5.0), "another revision is declared anew"
    assert [one.name for one in intent.revisions] == ["r2", "r1"]
    assert pool == POOL
    assert store.intents_version() > version
    assert store.changes_made(since=0.0) == []


def test_what_was_not_declared_before_is_down_afterwards(store: SqlStore) -> None:
    change = kept(store, 1.0, command="up")
    store.put_service(SERVICE, revision="r1", at=1.0)

    store.take_back(change, at=2.0)

    ((intent,), _) = store.intents()
    assert (intent.up, intent.service, intent.changed_at) == (False, SERVICE, 2.0)


def test_the_same_revision_is_not_declared_anew(store: SqlStore) -> None:
    store.put_service(SERVICE, revision="r1", at=1.0)
    change = kept(store, 2.0, command="down chat")
    store.set_up(CHAT, False, at=2.0)

    store.take_back(change, at=3.0)

    ((intent,), _) = store.intents()
    assert (intent.up, intent.declared_at, intent.changed_at) == (True, 1.0, 3.0)


def test_a_change_is_taken_back_once(store: SqlStore) -> None:
    store.put_service(SERVICE, revision="r1", at=1.0)
    change = kept(store, 2.0)
    store.take_back(change, at=3.0)
    before = store.intents()

    with pytest.raises(Conflict, match="taken back by another command"):
        store.take_back(change, at=4.0)

    assert store.intents() == before


def test_changes_are_the_newest_first_and_old_ones_are_forgotten(store: SqlStore) -> None:
    for number in range(CHANGES_KEPT + 5):
        kept(store, float(number), command=f"scale chat={number}")

    made = store.changes_made(since=0.0)

    assert [one.command for one in made[:2]] == [f"scale chat={CHANGES_KEPT + 4}", f"scale chat={CHANGES_KEPT + 3}"]
    assert len(made) == CHANGES_KEPT
    assert [one.at for one in store.changes_made(since=CHANGES_KEPT + 3.0)] == [CHANGES_KEPT + 4.0, CHANGES_KEPT + 3.0]
    kept(store, CHANGES_KEPT + 4.5 + CHANGES_AGE_S, command="last")
    assert [one.command for one in store.changes_made(since=0.0)] == ["last"]


# ---------------------------------------------------------------- the user's side


def test_a_service_is_declared_changed_taken_down_and_brought_up_again(store: SqlStore) -> None:
    override = Override(replicas=3, until=99.0)

    store.put_service(SERVICE, revision="r1", at=1.0)
    store.put_pool(POOL, at=1.0)
    store.set_override(CHAT, override, at=2.0)
    store.set_up(CHAT, False, at=3.0)
    down = store.intents()
    store.put_service(SERVICE, revision="r2", at=4.0)
    up = store.intents()
    store.set_override(CHAT, None, at=5.0)

    first = Intent(
        service=SERVICE,
        revision="r1",
        up=False,
        override=override,
        changed_at=3.0,
        created_at=1.0,
        declared_at=1.0,
        revisions=(Revision(name="r1", service=SERVICE, declared_at=1.0),),
    )
    second = replace(
        first,
        revision="r2",
        up=True,
        changed_at=4.0,
        declared_at=4.0,
        revisions=(*first.revisions, Revision(name="r2", service=SERVICE, declared_at=4.0)),
    )
    assert down == ((first,), (POOL,))
    assert up == ((second,), (POOL,))
    assert store.intents()[0] == (replace(second, override=None, changed_at=5.0),)


def test_the_last_revisions_are_kept_whole_and_those_of_a_rollout_for_as_long_as_it_lasts(store: SqlStore) -> None:
    token = fence(store)
    store.put_service(replace(SERVICE, image="first"), revision="r0", at=0.5)
    store.commit(Plan(at=1.0, rollouts=(ROLLOUT,)), fence=token, journal=b"")

    for number in range(1, REVISIONS_KEPT + 4):
        store.put_service(replace(SERVICE, image=f"image-{number}"), revision=f"r{number}", at=float(number))
    store.put_service(replace(SERVICE, image="again"), revision=f"r{REVISIONS_KEPT}", at=100.0)
    (kept,), _ = store.intents()

    assert (ROLLOUT.from_revision, ROLLOUT.to_revision) == ("r0", "r1")
    newest = [f"r{number}" for number in range(4, REVISIONS_KEPT + 4) if number != REVISIONS_KEPT]
    assert [one.name for one in kept.revisions] == ["r0", "r1", *newest, f"r{REVISIONS_KEPT}"]
    assert kept.revisions[0] == Revision(name="r0", service=replace(SERVICE, image="first"), declared_at=0.5)
    assert kept.revisions[-1].service == kept.service == replace(SERVICE, image="again")


def test_a_rollout_is_paused_until_told_otherwise(store: SqlStore) -> None:
    store.put_service(SERVICE, revision="r1", at=1.0)

    store.set_paused(CHAT, True)
    store.put_service(SERVICE, revision="r2", at=2.0)
    still = store.intents()[0][0].paused
    store.put_service(SERVICE, revision="r1", at=3.0, paused=False)

    assert still
    assert not store.intents()[0][0].paused
    with pytest.raises(NotFound):
        store.set_paused(ServiceName("no-such-service"), True)


def test_a_rollout_is_loaded_again_and_goes_with_its_service(url: str, store: SqlStore) -> None:
    token = fence(store)
    store.put_service(SERVICE, revision="r1", at=1.0)
    store.commit(Plan(at=1.0, rollouts=(replace(ROLLOUT, failed=1),)), fence=token, journal=b"")
    store.commit(Plan(at=2.0, rollouts=(ROLLOUT,)), fence=token, journal=b"")

    with closing(open_store(url)) as again:
        assert again.load().rollouts == {CHAT: ROLLOUT}
    store.set_up(CHAT, False, at=3.0)
    store.forget_service(CHAT, fence=token)
    store.put_service(SERVICE, revision="r9", at=4.0)

    assert store.load().rollouts == {}
    assert [one.name for one in store.intents()[0][0].revisions] == ["r9"]


def test_a_service_declared_before_revisions_were_kept_can_be_gone_back_to(url: str) -> None:
    SqlStore(database(url), migrations=MIGRATIONS[:2]).close()
    doc = encode(Intent(service=SERVICE, revision="r1", changed_at=7.0))
    with closing(database(url)) as old, old.write() as transaction:
        transaction.run("INSERT INTO services (name, up, doc) VALUES (?, ?, ?)", (CHAT, 1, doc))

    with closing(open_store(url)) as new:
        new.put_service(replace(SERVICE, image="new"), revision="r2", at=9.0)
        ((intent,), _) = new.intents()

    assert intent.revisions[0] == Revision(name="r1", service=SERVICE, declared_at=7.0)
    assert intent.running("r1") == SERVICE


def test_an_unknown_service_is_not_found_and_nothing_changes(store: SqlStore) -> None:
    before = store.intents_version()

    with pytest.raises(NotFound):
        store.set_up(CHAT, True, at=1.0)
    with pytest.raises(NotFound):
        store.set_override(CHAT, None, at=1.0)

    assert store.intents_version() == before


def test_the_version_grows_with_every_change_by_the_user_and_with_no_tick(store: SqlStore) -> None:
    token = fence(store)
    versions = [store.intents_version()]

    for change in (
        lambda: store.put_service(SERVICE, revision="r1", at=1.0),
        lambda: store.put_pool(POOL, at=1.0),
        lambda: store.set_override(CHAT, None, at=1.0),
        lambda: store.set_up(CHAT, False, at=1.0),
        lambda: store.forget_service(CHAT, fence=token),
    ):
        change()
        versions.append(store.intents_version())
    store.commit(Plan(at=1.0), fence=token, journal=b"")

    assert versions == sorted(set(versions))
    assert store.intents_version() == versions[-1]


# ---------------------------------------------------------------- who may enter

MONTH = "2026-11"
ACME = TenantEntry(name="acme", weight=2.0, limits=TenantLimits(in_flight=3, tokens_per_month=10), services=(CHAT,))


def a_key(number: int, *, name: str = "", tenant: str = "acme", expires_at: float | None = None) -> ApiKey:
    return ApiKey(
        id=f"fk-{number}",
        sha256=f"{number:064x}",
        tenant=tenant,
        name=name,
        services=(CHAT,),
        priority="low",
        created_at=float(number),
        expires_at=expires_at,
    )


def a_report(gateway: str, *, keys: tuple[str, ...] = (), **tokens: int) -> EntryReport:
    uses = tuple(TenantUse(tenant=name, month=MONTH, tokens=count) for name, count in tokens.items())
    return EntryReport(gateway=gateway, uses=uses, keys=keys)


def test_keys_and_tenants_are_found_again_as_they_were_put(url: str, store: SqlStore) -> None:
    store.put_tenant(TenantEntry(name="zeta"))
    store.put_tenant(TenantEntry(name="acme"))
    store.put_tenant(ACME)
    keys = [a_key(2, name="laptop", expires_at=9.0), a_key(10)]
    for key in reversed(keys):
        store.put_key(key, now=1.0)

    with closing(open_store(url, read_only=True)) as reader:
        assert list(reader.tenants()) == [ACME, TenantEntry(name="zeta")]
        assert list(reader.api_keys()) == keys


def test_a_revoked_key_stays_revoked_since_it_first_was(store: SqlStore) -> None:
    store.put_key(a_key(1), now=1.0)
    store.revoke_key("fk-1", at=5.0)
    store.revoke_key("fk-1", at=7.0)

    assert list(store.api_keys()) == [replace(a_key(1), revoked_at=5.0)]
    with pytest.raises(NotFound, match="no key 'fk-2'"):
        store.revoke_key("fk-2", at=7.0)


def test_two_keys_in_force_have_different_names(store: SqlStore) -> None:
    store.put_key(a_key(1, name="ci"), now=1.0)
    with pytest.raises(Conflict, match="called 'ci' already: fk-1"):
        store.put_key(a_key(2, name="ci"), now=1.0)
    store.revoke_key("fk-1", at=2.0)
    store.put_key(a_key(3, name="ci", expires_at=10.0), now=2.0)
    store.put_key(a_key(4, name="ci"), now=10.0)
    store.put_key(a_key(5), now=10.0)
    store.put_key(a_key(6), now=10.0)

    assert [key.id for key in store.api_keys()] == ["fk-1", "fk-3", "fk-4", "fk-5", "fk-6"]


def test_no_key_is_kept_twice(store: SqlStore) -> None:
    store.put_key(a_key(1), now=1.0)

    with pytest.raises(StoreFailure):
        store.put_key(replace(a_key(1), id="fk-other"), now=1.0)

    assert len(store.api_keys()) == 1


def test_the_version_grows_with_keys_and_tenants_and_not_with_their_use(store: SqlStore) -> None:
    token = fence(store)
    versions = [store.intents_version()]
    for change in (
        lambda: store.put_tenant(ACME),
        lambda: store.put_key(a_key(1), now=1.0),
        lambda: store.revoke_key("fk-1", at=1.0),
    ):
        change()
        versions.append(store.intents_version())
    store.put_use(a_report("g1", acme=5), fence=token, at=1.0)

    assert versions == sorted(set(versions))
    assert store.intents_version() == versions[-1]


def test_use_is_added_up_over_gateways_and_what_is_told_twice_or_late_counts_once(url: str, store: SqlStore) -> None:
    token = fence(store)
    for report in (
        a_report("g1", acme=5, other=1),
        a_report("g1", acme=9, other=1),
        a_report("g1", acme=9),
        a_report("g1", acme=7),
        a_report("g2", acme=100),
    ):
        store.put_use(report, fence=token, at=1.0)
    october = TenantUse(tenant="acme", month="2026-10", tokens=3)
    store.put_use(EntryReport(gateway="g1", uses=(october,)), fence=token, at=1.0)

    with closing(open_store(url, read_only=True)) as reader:
        assert reader.tokens_used(MONTH) == {"acme": 109, "other": 1}
        assert reader.tokens_used("2026-10") == {"acme": 3}
        assert reader.tokens_used("2026-12") == {}


def test_when_a_key_was_used_only_moves_on(store: SqlStore) -> None:
    token = fence(store)
    store.put_key(a_key(1), now=1.0)
    store.put_key(a_key(2), now=1.0)
    for at in (5.0, 9.0, 7.0):
        store.put_use(a_report("g1", keys=("fk-1", "fk-gone")), fence=token, at=at)
    store.revoke_key("fk-1", at=10.0)

    assert [key.last_used_at for key in store.api_keys()] == [9.0, None]


def test_a_displaced_controller_keeps_no_use(store: SqlStore) -> None:
    token = fence(store)
    assert store.acquire("another", ttl_s=60.0, now=1000.0) is not None

    with pytest.raises(LeaseLost):
        store.put_use(a_report("g1", acme=5), fence=token, at=1.0)

    assert store.tokens_used(MONTH) == {}


def test_keys_and_months_that_are_long_over_are_forgotten(url: str) -> None:
    keep = Retention(revoked_keys_age_s=100.0, use_months=2, over_instances_age_s=1e300)
    november = 1_795_000_000.0
    with closing(SqlStore(database(url), retention=keep)) as store:
        token = fence(store)
        for number, revoked_at in ((1, november - 101.0), (2, november - 99.0), (3, None)):
            store.put_key(a_key(number), now=1.0)
            if revoked_at is not None:
                store.revoke_key(f"fk-{number}", at=revoked_at)
        for month in ("2026-08", "2026-09", "2026-10", "2026-11"):
            use = TenantUse(tenant="acme", month=month, tokens=1)
            store.put_use(EntryReport(gateway="g1", uses=(use,)), fence=token, at=1.0)

        store.commit(Plan(at=november), fence=token, journal=b"")

        assert [key.id for key in store.api_keys()] == ["fk-2", "fk-3"]
        assert [bool(store.tokens_used(month)) for month in ("2026-08", "2026-09", "2026-10", "2026-11")] == [
            False, False, True, True,
        ]  # fmt: skip


# ---------------------------------------------------------------- the lease


@pytest.mark.parametrize(
    ("holder", "now", "expected"),
    [
        pytest.param("a", 5.0, Lease(holder="a", fence=1, expires_at=15.0), id="its holder renews, with the old fence"),
        pytest.param("a", 50.0, Lease(holder="a", fence=1, expires_at=60.0), id="late, but nobody wrote in between"),
        pytest.param("b", 9.9, None, id="another waits while it holds"),
        pytest.param(
            "b", 10.0, Lease(holder="b", fence=2, expires_at=20.0), id="expired: another takes it, newer fence"
        ),
    ],
)
def test_who_gets_the_lease(store: SqlStore, holder: str, now: float, expected: Lease | None) -> None:
    store.acquire("a", ttl_s=10.0, now=0.0)

    got = store.acquire(holder, ttl_s=10.0, now=now)

    assert got == expected
    assert store.lease() == (expected or Lease(holder="a", fence=1, expires_at=10.0))


def test_a_released_lease_is_free_and_its_fence_is_never_used_again(store: SqlStore) -> None:
    store.acquire("a", ttl_s=10.0, now=0.0)
    store.release("b")  # not the holder: nothing happens
    held = store.lease()
    store.release("a")

    assert held == Lease(holder="a", fence=1, expires_at=10.0)
    assert store.lease() is None
    assert store.acquire("b", ttl_s=10.0, now=1.0) == Lease(holder="b", fence=2, expires_at=11.0)


def test_a_displaced_controller_writes_nothing(store: SqlStore) -> None:
    old = store.acquire("a", ttl_s=10.0, now=0.0)
    assert old is not None
    store.put_service(SERVICE, revision="r1", at=1.0)
    store.set_up(CHAT, False, at=1.0)
    store.acquire("b", ttl_s=10.0, now=11.0)

    with pytest.raises(LeaseLost, match="b has taken over"):
        store.commit(Plan(at=12.0, replicas=(replica("x"),)), fence=old.fence, journal=b"late")
    with pytest.raises(LeaseLost):
        store.forget_service(CHAT, fence=old.fence)

    assert (store.load().replicas, store.journal(at=99.0), len(store.intents()[0])) == ({}, None, 1)


_TAKE_TURNS = """
import sys, time
from fleetctl.model.decisions import Plan
from fleetctl.store import open_store
url, holder, turns = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = open_store(url)
while turns:
    lease = store.acquire(holder, ttl_s=3600.0, now=time.time())
    if lease is None:
        time.sleep(0.0005)
        continue
    count = store.load().counters.get("turns", 0)
    store.commit(Plan(at=float(count), counters=(("turns", count + 1),)), fence=lease.fence, journal=holder.encode())
    print(lease.fence, flush=True)
    store.release(holder)
    turns -= 1
store.close()
"""


def test_two_processes_hold_the_lease_in_turns_and_no_count_is_lost(url: str, store: SqlStore) -> None:
    racers = [start(_TAKE_TURNS, url, holder, str(TURNS)) for holder in ("a", "b")]

    fences = [[int(line) for line in said.split()] for said in finish_all(racers)]

    assert store.load().counters == {"turns": 2 * TURNS}
    assert sorted(fences[0] + fences[1]) == list(range(1, 2 * TURNS + 1))
    assert all(one == sorted(one) for one in fences)


def test_of_many_at_one_moment_exactly_one_gets_the_lease(url: str, store: SqlStore) -> None:
    together = threading.Barrier(RACERS)

    def race(number: int) -> list[int | None]:
        got = []
        with closing(open_store(url)) as mine:
            for round_at in range(RACES):
                together.wait(timeout=PROCESS_S)
                lease = mine.acquire(f"{number}", ttl_s=0.5, now=float(round_at))
                got.append(lease and lease.fence)
        return got

    with ThreadPoolExecutor(RACERS) as threads:
        by_racer = list(threads.map(race, range(RACERS)))

    for round_at in range(RACES):
        fences = [got[round_at] for got in by_racer if got[round_at] is not None]
        assert len(fences) == 1, f"round {round_at}: {fences}"


_HOLD_AND_COMMIT = """
import sys
from fleetctl.errors import LeaseLost
from fleetctl.model.decisions import Plan
from fleetctl.store import open_store
store = open_store(sys.argv[1])
lease = store.acquire(sys.argv[2], ttl_s=10.0, now=float(sys.argv[3]))
print(lease and lease.fence, flush=True)
sys.stdin.readline()
try:
    store.commit(Plan(at=1.0), fence=lease.fence if lease else 0, journal=sys.argv[2].encode())
    print("stored", flush=True)
except LeaseLost:
    print("lease lost", flush=True)
store.close()
"""


def test_of_two_processes_the_displaced_one_cannot_commit(url: str, store: SqlStore) -> None:
    told = []
    racers = []
    for holder, now in (("a", "0"), ("early", "5"), ("b", "10")):
        racers.append(start(_HOLD_AND_COMMIT, url, holder, now))
        told.append(line_of(racers[-1]))

    said = finish_all(racers, "\n")

    assert told == ["1", "None", "2"]
    assert said == ["lease lost", "lease lost", "stored"]
    assert store.journal(at=1.0) == b"b"


# ---------------------------------------------------------------- the controller's side


def test_a_commit_is_loaded_again(url: str, store: SqlStore) -> None:
    memory = Memory(load=((1.0, 2.5),), last_desired=2)
    plan = Plan(
        at=5.0,
        decisions=(decision(2),),
        instances=(instance("i1"), instance("i2")),
        replicas=(replica("r1"), replica("r2")),
        memories=((CHAT, memory),),
        counters=(("i", 2),),
        events=(event(5.0, "0 to 2"),),
    )

    store.commit(plan, fence=fence(store), journal=b"entry")

    with closing(open_store(url)) as again:
        state = again.load()
        assert state.instances == {row.id: row for row in plan.instances}
        assert state.replicas == {row.id: row for row in plan.replicas}
        assert state.memories == {CHAT: memory}
        assert state.counters == {"i": 2}
        assert again.decisions() == {CHAT: decision(2)}
        assert list(again.events()) == list(plan.events)
        assert again.journal(at=5.0) == b"entry"


def test_rows_change_go_and_stay(store: SqlStore) -> None:
    token = fence(store)
    store.commit(
        Plan(at=1.0, replicas=(replica("r1"), replica("r2"), replica("r3")), decisions=(decision(3),)),
        fence=token,
        journal=b"",
    )
    failed = Replica(id=ReplicaId("r2"), service=CHAT, revision="r1", phase=ReplicaPhase.FAILED, created_at=1.0)

    store.commit(
        Plan(at=2.0, replicas=(failed,), removed_replicas=(ReplicaId("r1"),), decisions=(decision(2),)),
        fence=token,
        journal=b"",
    )

    assert store.load().replicas == {"r2": failed, "r3": replica("r3")}
    assert store.decisions()[CHAT].desired == 2


def test_what_an_image_is_pinned_to_is_kept_until_nothing_names_it(url: str, store: SqlStore) -> None:
    token = fence(store)
    store.commit(Plan(at=1.0, pins=(("a:1", "sha256:aa"), ("b:1", "sha256:bb"))), fence=token, journal=b"")

    with closing(open_store(url)) as again:
        first = again.load().pins
    store.commit(Plan(at=2.0, pins=(("c:1", "sha256:cc"),), removed_pins=("a:1",)), fence=token, journal=b"")

    assert first == {"a:1": "sha256:aa", "b:1": "sha256:bb"}
    assert store.load().pins == {"b:1": "sha256:bb", "c:1": "sha256:cc"}


def test_a_counter_never_goes_back(store: SqlStore) -> None:
    token = fence(store)

    for value in (5, 3, 6):
        store.commit(Plan(at=1.0, counters=(("i", value), ("r", 1))), fence=token, journal=b"")

    assert store.load().counters == {"i": 6, "r": 1}


def test_a_service_is_forgotten_only_when_it_is_down_and_has_nothing_left(store: SqlStore) -> None:
    token = fence(store)
    store.put_service(SERVICE, revision="r1", at=1.0)
    plan = Plan(at=1.0, memories=((CHAT, Memory()),), decisions=(decision(1),), replicas=(replica("r1"),))
    store.commit(plan, fence=token, journal=b"")
    store.set_up(CHAT, False, at=2.0)

    with pytest.raises(Conflict, match="1 replicas"):
        store.forget_service(CHAT, fence=token)
    store.commit(Plan(at=3.0, removed_replicas=(ReplicaId("r1"),)), fence=token, journal=b"")
    store.set_up(CHAT, True, at=3.0)  # the user has changed their mind meanwhile
    store.forget_service(CHAT, fence=token)
    kept = (len(store.intents()[0]), store.load().memories, len(store.decisions()))
    store.set_up(CHAT, False, at=4.0)
    store.forget_service(CHAT, fence=token)

    assert kept == (1, {CHAT: Memory()}, 1)
    assert (store.intents()[0], store.load().memories, store.decisions()) == ((), {}, {})


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(Plan(at=1.0, memories=((CHAT, Memory(load=((1.0, float("nan")),))),)), id="JSON has no NaN"),
        pytest.param(Plan(at=1.0, instances=(instance("i", phase_at=float("inf")),)), id="JSON has no infinity"),
        pytest.param(Plan(at=1.0, events=(event(1.0, "\ud800"),)), id="half a surrogate pair is no text"),
    ],
)
def test_what_could_not_be_read_again_is_refused_whole(store: SqlStore, plan: Plan) -> None:
    token = fence(store)

    with pytest.raises(StoreFailure, match="cannot be stored"):
        store.commit(plan, fence=token, journal=b"x")

    assert store.journal(at=9.0) is None
    assert store.load().memories == {}


# ---------------------------------------------------------------- any plan at all

_IDENTIFIERS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
"""Names are checked in the spec; PostgreSQL takes no NUL in them. Any other text may have one."""


def anything(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a type of the model, every field drawn, the ones with defaults too."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, typing.NewType):
        return _IDENTIFIERS
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(anything(arguments[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*(anything(argument) for argument in arguments))
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*(anything(argument) for argument in arguments))
    if origin is Literal:
        return st.sampled_from(arguments)
    if isinstance(hint, type) and is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return st.builds(hint, **{field.name: anything(hints[field.name]) for field in fields(hint)})
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    simple: dict[Any, st.SearchStrategy[Any]] = {
        str: st.text(max_size=20),
        int: st.integers(min_value=-(2**63), max_value=2**63 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
        type(None): st.none(),
    }
    return simple[hint]


_EVENTS = st.builds(Event, at=anything(float), kind=anything(str), subject=_IDENTIFIERS, message=anything(str))
_STORED = ("decisions", "instances", "replicas", "removed_replicas", "memories", "starts", "rollouts")
PLANS = st.builds(
    Plan,
    at=st.floats(min_value=0, max_value=4e9),
    events=st.lists(_EVENTS, max_size=3).map(tuple),
    counters=st.lists(st.tuples(_IDENTIFIERS, st.integers(0, 2**62)), max_size=3).map(tuple),
    **{name: anything(typing.get_type_hints(Plan)[name]) for name in _STORED},
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(plan=PLANS, journal=st.binary(max_size=200))
def test_any_plan_survives_being_stored(hoard: SqlStore, plan: Plan, journal: bytes) -> None:
    before, decided = hoard.load(), hoard.decisions()

    hoard.commit(plan, fence=fence(hoard), journal=journal)

    state = hoard.load()
    removed = set(plan.removed_replicas)
    replicas = {**before.replicas, **{row.id: row for row in plan.replicas}}
    counters = dict(before.counters)
    for name, value in plan.counters:
        counters[name] = max(value, counters.get(name, value))
    assert state.instances == {**before.instances, **{row.id: row for row in plan.instances}}
    assert state.replicas == {key: row for key, row in replicas.items() if key not in removed}
    assert state.memories == {**before.memories, **dict(plan.memories)}
    assert state.rollouts == {**before.rollouts, **{row.service: row for row in plan.rollouts}}
    assert state.counters == counters
    assert hoard.decisions() == {**decided, **{row.service: row for row in plan.decisions}}
    kept = hoard.events(since=float("-inf"), limit=1_000_000)
    assert all(one in kept for one in plan.events)
    starts = hoard.starts(limit=1_000_000)
    assert list(starts)[len(starts) - len(plan.starts) :] == list(plan.starts)
    assert journal in [entry.entry for entry in hoard.journal_range(since=plan.at, until=plan.at, limit=1000)]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(service=anything(Service), pool=anything(Pool), override=anything(Override | None))
def test_any_intent_survives_being_stored(
    store: SqlStore, service: Service, pool: Pool, override: Override | None
) -> None:
    store.put_service(service, revision="r", at=1.5)
    store.put_pool(pool, at=1.5)
    store.set_override(service.name, override, at=2.5)

    intents, pools = store.intents()

    kept = (Revision(name="r", service=service, declared_at=1.5),)
    declared = Intent(service=service, revision="r", created_at=1.5, declared_at=1.5, revisions=kept)
    wanted = replace(declared, override=override, changed_at=2.5)
    assert wanted in intents
    assert pool in pools


# ---------------------------------------------------------------- everyone's side


def test_events_are_the_newest_of_those_asked_for_oldest_first(store: SqlStore) -> None:
    store.add_events([event(3.0, "c"), event(1.0, "a"), event(2.0, "b1"), event(2.0, "b2"), event(4.0, "d", "fleet")])

    def messages(**asked: Any) -> str:
        return " ".join(one.message for one in store.events(**asked))

    assert messages() == "a b1 b2 c d"
    assert messages(limit=2) == "c d"
    assert messages(since=2.0) == "b1 b2 c d"
    assert messages(subject="service/chat", limit=2) == "b2 c"
    assert messages(subject="service/ch") == ""
    assert messages(limit=0) == ""


def test_the_journal_tells_what_was_known_at_a_time(store: SqlStore) -> None:
    token = fence(store)
    entries = [JournalEntry(at=at, entry=f"tick {at}".encode() * 100) for at in (10.0, 20.0, 30.0)]
    assert store.journal_begins() is None
    for one in entries:
        store.commit(Plan(at=one.at), fence=token, journal=one.entry)

    assert store.journal_begins() == 10.0
    assert store.journal(at=9.9) is None
    assert store.journal(at=10.0) == entries[0].entry
    assert store.journal(at=29.9) == entries[1].entry
    assert store.journal(at=1e9) == entries[2].entry
    assert store.journal_range(since=0.0, until=20.0, limit=9) == entries[:2]
    assert store.journal_range(since=10.1, until=99.0, limit=1) == entries[1:2]


def test_the_past_is_forgotten_within_bounds_and_money_never(url: str) -> None:
    keep = Retention(journal_age_s=100.0, journal_rows=30, events=20, over_instances_age_s=50.0)
    rows = (
        instance("gone long ago", InstancePhase.TERMINATED, 10.0),
        instance("lost long ago", InstancePhase.LOST, 10.0),
        instance("gone just now", InstancePhase.TERMINATED, 60.0),
        instance("perhaps still billed", InstancePhase.TERMINATING, 10.0),
        instance("stopped, its disk is billed", InstancePhase.STOPPED, 10.0),
    )
    with closing(SqlStore(database(url), retention=keep)) as store:
        token = fence(store)
        store.commit(Plan(at=0.0, instances=rows), fence=token, journal=b"")
        for tick in range(1, PRUNE_EVERY_COMMITS + 1):
            store.commit(Plan(at=float(tick), events=(event(float(tick), "x"),)), fence=token, journal=b"j")

        assert set(store.load().instances) == {row.id for row in rows[2:]}
        assert [one.at for one in store.events()] == [float(at) for at in range(45, 65)]
        assert [one.at for one in store.journal_range(since=0, until=99, limit=999)] == [
            float(at) for at in range(35, 65)
        ]


@pytest.mark.parametrize(
    "keep",
    [
        pytest.param(Retention(journal_age_s=9.0), id="by age"),
        pytest.param(Retention(journal_rows=10), id="by count"),
        pytest.param(Retention(journal_bytes=9_010), id="by bytes, to within one entry of a thousand"),
    ],
)
def test_the_journal_is_bounded(url: str, keep: Retention) -> None:
    with closing(SqlStore(database(url), retention=keep)) as store:
        token = fence(store)
        for tick in range(PRUNE_EVERY_COMMITS + 1):
            store.commit(Plan(at=float(tick)), fence=token, journal=random.randbytes(990))

        left = [one.at for one in store.journal_range(since=0, until=99, limit=999)]

        assert store.journal_begins() == left[0]
        assert left == [float(at) for at in range(PRUNE_EVERY_COMMITS - 9, PRUNE_EVERY_COMMITS + 1)]


def test_starts_are_the_newest_of_those_asked_for_oldest_first(store: SqlStore) -> None:
    code = ServiceName("code")
    mine = tuple(a_start(f"chat-{number}", float(number)) for number in range(1, 5))
    theirs = (a_start("code-1", 2.5, code),)
    token = fence(store)

    store.commit(Plan(at=5.0, starts=mine + theirs), fence=token, journal=b"")

    assert list(store.starts(CHAT)) == list(mine)
    assert list(store.starts(CHAT, limit=2)) == list(mine[2:])
    assert list(store.starts(code)) == list(theirs)
    assert list(store.starts(replica=ReplicaId("chat-3"))) == [mine[2]]
    assert list(store.starts(code, replica=ReplicaId("chat-3"))) == []
    assert list(store.starts()) == [*mine, *theirs]


def test_a_forgotten_service_leaves_no_start(store: SqlStore) -> None:
    token = fence(store)
    store.put_service(SERVICE, revision="r1", at=1.0)
    store.commit(
        Plan(at=5.0, starts=(a_start("chat-1", 4.0), a_start("code-1", 4.0, ServiceName("code")))),
        fence=token,
        journal=b"",
    )
    store.set_up(CHAT, False, at=6.0)

    store.forget_service(CHAT, fence=token)

    assert [one.replica for one in store.starts()] == ["code-1"]


def test_starts_are_bounded_by_service_and_by_age(url: str) -> None:
    keep = Retention(starts_per_service=10, starts_age_s=40.0)
    often, seldom = ServiceName("often"), ServiceName("seldom")
    with closing(SqlStore(database(url), retention=keep)) as store:
        token = fence(store)
        store.commit(
            Plan(at=0.0, starts=(a_start("s-old", 0.0, seldom), a_start("s-new", 30.0, seldom))),
            fence=token,
            journal=b"",
        )
        for tick in range(1, PRUNE_EVERY_COMMITS + 1):
            made = (a_start(f"o-{tick}", float(tick), often),)
            store.commit(Plan(at=float(tick), starts=made), fence=token, journal=b"")
            assert len(store.starts(often)) == min(tick, 10)

        assert [one.replica for one in store.starts(often)] == [f"o-{tick}" for tick in range(55, 65)]
        assert [one.replica for one in store.starts(seldom)] == ["s-new"]


# ---------------------------------------------------------------- processes and threads

_COMMIT_FOR_EVER = """
import os, sys
from fleetctl.model.decisions import Plan
from fleetctl.store import open_store
store = open_store(sys.argv[1])
lease = store.acquire("writer", ttl_s=60.0, now=0.0)
tick = store.load().counters.get("tick", 0)
while True:
    tick += 1
    store.commit(Plan(at=float(tick), counters=(("tick", tick),)), fence=lease.fence, journal=os.urandom(20_000))
    os.write(1, b"%d\\n" % tick)
"""


def test_what_was_acknowledged_survives_a_kill(url: str, store: SqlStore) -> None:
    acknowledged = 0
    for _ in range(KILLS):
        writer = start(_COMMIT_FOR_EVER, url)
        line_of(writer)
        time.sleep(random.uniform(0.0, 0.1))  # it is killed at any point of a commit
        writer.kill()
        output, _ = writer.communicate(timeout=PROCESS_S)
        whole = output.rpartition("\n")[0]  # the last line may be cut
        acknowledged = max([acknowledged, *(int(line) for line in whole.split())])

        with closing(open_store(url)) as again:
            count = again.load().counters["tick"]
            journal = again.journal_range(since=0.0, until=1e9, limit=1_000_000)
        # A server may still be ending the killed client's last commit, so that the later answer may know one more.
        assert acknowledged <= count <= len(journal)
        assert [entry.at for entry in journal] == [float(tick) for tick in range(1, len(journal) + 1)]

    assert acknowledged > KILLS
    if not url.startswith("postgresql:"):
        import sqlite3

        with closing(sqlite3.connect(url)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_store_made_by_many_at_once_is_one_store(url: str) -> None:
    script = "import sys; from fleetctl.store import open_store; s = open_store(sys.argv[1]); print(s.epoch); s.close()"
    makers = [start(script, url) for _ in range(6)]

    epochs = set(finish_all(makers))

    assert len(epochs) == 1 and epochs != {""}


def test_a_reader_does_not_wait_for_a_writer(url: str, store: SqlStore) -> None:
    store.put_service(SERVICE, revision="r1", at=1.0)
    store.commit(Plan(at=1.0, replicas=(replica("r1"),)), fence=fence(store), journal=b"")
    other = database(url)

    with closing(other), other.write() as transaction:
        transaction.run("DELETE FROM replicas")
        transaction.run("UPDATE lease SET fence = 77")
        began = time.perf_counter()
        seen = (len(store.load().replicas), len(store.intents()[0]), store.events(), store.lease())
        took_s = time.perf_counter() - began

    assert seen == (1, 1, [], Lease(holder="tests", fence=1, expires_at=60.0))
    assert took_s < 3.0, "the transaction was open all the while"
    assert len(store.load().replicas) == 0


def test_what_is_loaded_is_of_one_moment(url: str, store: SqlStore) -> None:
    token = fence(store)
    done = threading.Event()

    def write() -> None:
        try:
            for tick in range(LOADS):
                plan = Plan(at=float(tick), instances=(instance(f"i{tick}"),), counters=(("i", tick + 1),))
                store.commit(plan, fence=token, journal=b"")
        finally:
            done.set()

    with ThreadPoolExecutor(1) as thread, closing(open_store(url, read_only=True)) as reader:
        writing = thread.submit(write)
        sizes = []
        while not done.is_set():
            state = reader.load()
            sizes.append((len(state.instances), state.counters.get("i", 0)))
        writing.result()

    assert len(set(sizes)) > 5  # it did read while there was writing
    assert all(instances == counted for instances, counted in sizes)


def test_threads_take_turns(store: SqlStore) -> None:
    token = fence(store)
    together = threading.Barrier(8)

    def work(number: int) -> None:
        together.wait(timeout=PROCESS_S)
        for tick in range(10):
            store.commit(Plan(at=float(tick), replicas=(replica(f"{number}-{tick}"),)), fence=token, journal=b"")
            store.put_service(SERVICE, revision=f"{number}-{tick}", at=1.0)
            store.load()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))

    assert len(store.load().replicas) == 80
    assert store.intents_version() == 80


_DECLARE = """
import sys
from fleetctl.model.services import Service
from fleetctl.store import open_store
store = open_store(sys.argv[1])
for number in range(20):
    service = Service(name=f"{sys.argv[2]}-{number}", engine="e", model="m", gpu=(), concurrency=1)
    store.put_service(service, revision="r", at=1.0)
store.close()
"""


def test_users_in_many_processes_lose_no_change(url: str, store: SqlStore) -> None:
    users = [start(_DECLARE, url, str(number)) for number in range(3)]

    finish_all(users)

    assert len(store.intents()[0]) == store.intents_version() == 60


def test_lists_are_quick_in_a_full_store(store: SqlStore) -> None:
    token = fence(store)
    rows = tuple(replica(f"r{number}") for number in range(1000))
    store.commit(Plan(at=1.0, replicas=rows, decisions=(decision(1000),)), fence=token, journal=b"")
    starts = tuple(a_start(f"chat-{number}", float(number)) for number in range(2000))
    store.commit(Plan(at=2.0, starts=starts), fence=token, journal=b"")
    for start_at in range(0, 100_000, 10_000):
        store.add_events(
            event(float(number), "something happened", f"service/s{number % 100}")
            for number in range(start_at, start_at + 10_000)
        )

    for ask in (
        store.load,
        store.decisions,
        store.events,
        lambda: store.events(subject="service/s7"),
        lambda: store.events(since=99_000.0),
        lambda: store.events(subject="service/none"),
        lambda: store.journal(at=5.0),
        store.intents,
        lambda: store.starts(CHAT),
        lambda: store.starts(replica=ReplicaId("chat-999")),
    ):
        took_s = []
        for _ in range(3):  # the least: other tests share the machine
            began = time.perf_counter()
            ask()
            took_s.append(time.perf_counter() - began)
        assert min(took_s) < LIST_LIMIT_S


# ---------------------------------------------------------------- schemas

NEXT = (*MIGRATIONS, ("ALTER TABLE pools ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'",))


def test_an_older_store_is_brought_up_to_date_and_keeps_what_it_holds(url: str) -> None:
    with closing(open_store(url)) as old:
        old.put_pool(POOL, at=1.0)
        epoch = old.epoch

    with closing(SqlStore(database(url), migrations=NEXT)) as new:
        assert (new.epoch, new.intents()[1]) == (epoch, (POOL,))

    with closing(database(url)) as opened, opened.read() as transaction:
        assert transaction.rows("SELECT colour FROM pools") == [("red",)]


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_store_is_refused(url: str, read_only: bool) -> None:
    SqlStore(database(url), migrations=NEXT).close()

    with pytest.raises(Conflict) as caught:
        open_store(url, read_only=read_only)

    assert f"newer fleetctl (schema {len(NEXT)}, this one knows {len(MIGRATIONS)})" in caught.value.message
    assert "upgrade" in caught.value.hint


def test_a_reader_does_not_bring_an_older_store_up_to_date(url: str, store: SqlStore) -> None:
    reader = PostgresDatabase(url, read_only=True) if "://" in url else SqliteDatabase(Path(url), read_only=True)

    with closing(reader), pytest.raises(Conflict, match="older fleetctl"):
        SqlStore(reader, migrations=NEXT)


def test_a_controller_stops_writing_once_a_newer_one_has_changed_the_tables(url: str, store: SqlStore) -> None:
    token = fence(store)
    SqlStore(database(url), migrations=NEXT).close()

    with pytest.raises(Conflict, match="upgraded by a newer fleetctl"):
        store.commit(Plan(at=1.0), fence=token, journal=b"")
    with pytest.raises(Conflict):
        store.put_pool(POOL, at=1.0)


def test_a_migration_that_fails_changes_nothing(url: str) -> None:
    open_store(url).close()
    broken = (*MIGRATIONS, ("ALTER TABLE pools ADD COLUMN colour TEXT", "ALTER TABLE no_such_table ADD COLUMN x TEXT"))

    with closing(database(url)) as opened, pytest.raises(StoreFailure):
        SqlStore(opened, migrations=broken)

    with (
        closing(open_store(url)),
        closing(database(url)) as opened,
        pytest.raises(StoreFailure),
        opened.read() as after,
    ):
        after.rows("SELECT colour FROM pools")


# ---------------------------------------------------------------- PostgreSQL alone


@pytest.mark.postgres
def test_a_server_that_drops_the_connection_is_reached_again(postgres_url: str) -> None:
    with closing(open_store(postgres_url)) as store, psycopg.connect(postgres_url, autocommit=True) as admin:
        token = fence(store)
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'fleetctl' AND pid <> pg_backend_pid()"
        )

        store.commit(Plan(at=1.0), fence=token, journal=b"after")

        assert store.journal(at=1.0) == b"after"


@pytest.mark.postgres
def test_a_connection_lost_in_a_commit_stores_nothing_and_the_next_call_works(postgres_url: str) -> None:
    with closing(PostgresDatabase(postgres_url)) as opened, psycopg.connect(postgres_url, autocommit=True) as admin:
        with pytest.raises(StoreFailure), opened.write() as transaction:
            transaction.run("CREATE TABLE half (x BIGINT)")
            admin.execute(
                "SELECT pg_terminate_backend(?)".replace("?", "%s").encode(),
                transaction.rows("SELECT pg_backend_pid()")[0],
            )
            transaction.run("INSERT INTO half VALUES (1)")

        with opened.read() as transaction:
            assert not transaction.has_table("half")


# ---------------------------------------------------------------- other processes


def start(script: str, *arguments: str) -> "subprocess.Popen[str]":
    root = str(Path(fleetctl.__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )


def line_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def finish_all(processes: "list[subprocess.Popen[str]]", told: str = "") -> list[str]:
    """What each printed, once all of them have ended well."""
    printed = [process.communicate(told, timeout=PROCESS_S)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(printed)
    return printed
