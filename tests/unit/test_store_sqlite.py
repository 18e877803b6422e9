"""What can go wrong with a file: each failure names the file, the cause and the next step, and loses nothing."""

import os
import pwd
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import fleetctl
from fleetctl.errors import NotFound, StoreFailure, UsageError
from fleetctl.model.decisions import Memory, Plan
from fleetctl.model.names import PoolName, ReplicaId, ServiceName
from fleetctl.model.replicas import Replica
from fleetctl.model.services import Pool
from fleetctl.store import open_store
from fleetctl.store.sqlite import SqliteDatabase
from fleetctl.store.sqlstore import SqlStore

POOL = Pool(name=PoolName("p"), gpu=())
COMMITS_MAX = 2000


def fence(store: SqlStore) -> int:
    lease = store.acquire("tests", ttl_s=60.0, now=0.0)
    assert lease is not None
    return lease.fence


def fill(store: SqlStore, token: int) -> tuple[int, StoreFailure]:
    """Commit until the store refuses: how many it took, and what it said."""
    for tick in range(COMMITS_MAX):
        row = Replica(id=ReplicaId(f"r{tick}"), service=ServiceName("s"), revision="r", created_at=1.0)
        plan = Plan(at=float(tick), replicas=(row,), counters=(("tick", tick + 1),))
        try:
            store.commit(plan, fence=token, journal=os.urandom(16_000))
        except StoreFailure as failure:
            return tick, failure
    raise AssertionError("it never filled up")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folders" / "fleet.db"


def test_it_is_made_for_its_owner_only(path: Path) -> None:
    with closing(open_store(str(path))) as store:
        store.put_pool(POOL, at=1.0)

        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    assert modes == {"fleet.db": 0o600, "fleet.db-wal": 0o600, "fleet.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_every_commit_reaches_the_disk(path: Path) -> None:
    with closing(SqliteDatabase(path)) as database, database.read() as transaction:
        assert transaction.rows("PRAGMA synchronous") == [(2,)]  # FULL
        assert transaction.rows("PRAGMA journal_mode") == [("wal",)]


@pytest.mark.parametrize("name", ["it's a 100% odd?name#.db", "spaces and ünïcode"])
def test_its_name_may_be_odd(tmp_path: Path, name: str) -> None:
    with closing(open_store(str(tmp_path / name))) as store:
        store.put_pool(POOL, at=1.0)

    assert (tmp_path / name).is_file()
    with closing(open_store(str(tmp_path / name), read_only=True)) as store:
        assert store.intents() == ((), (POOL,))


def test_a_file_without_tables_is_no_store_yet(tmp_path: Path) -> None:
    (tmp_path / "fleet.db").touch()

    with pytest.raises(NotFound, match="no fleet yet"):
        open_store(str(tmp_path / "fleet.db"), read_only=True)


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="mysql://"):
        open_store("mysql://here/there")


def _text(path: Path) -> None:
    path.write_bytes(b"this is not a database at all, " * 400)


def _torn(path: Path) -> None:
    with closing(open_store(str(path))) as store:
        store.commit(
            Plan(at=1.0, memories=tuple((ServiceName(f"s{n}"), Memory()) for n in range(2000))),
            fence=fence(store),
            journal=b"",
        )
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))


def _folder(path: Path) -> None:
    path.mkdir()


def _below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.touch()


@pytest.mark.parametrize(
    ("spoil", "message", "hint"),
    [
        pytest.param(_text, "damaged, or is no store", "restore a backup", id="another file"),
        pytest.param(_torn, "damaged, or is no store", "restore a backup", id="overwritten pages"),
        pytest.param(_folder, "cannot be opened", "ls -ld", id="a folder"),
        pytest.param(_below_a_file, "cannot be opened", "FLEETCTL_HOME", id="its folder is a file"),
    ],
)
def test_what_cannot_be_read_is_named(path: Path, spoil: Callable[[Path], None], message: str, hint: str) -> None:
    path.parent.mkdir(parents=True)
    spoil(path)

    with pytest.raises(StoreFailure) as caught, closing(open_store(str(path))) as store:
        store.load()

    assert message in caught.value.message and str(path) in caught.value.message
    assert hint in caught.value.hint


@contextmanager
def another_user() -> Iterator[None]:
    """Nobody's rights on files, when the tests run as root, whom no mode of a file stops."""
    if os.getuid() != 0:
        yield
        return
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_of_others_is_refused() -> None:
    folder = Path(tempfile.mkdtemp(prefix="fleetctl-test-"))
    try:
        path = folder / "fleet.db"
        open_store(str(path)).close()
        path.chmod(0o400)
        folder.chmod(0o500)

        with another_user(), pytest.raises(StoreFailure) as caught:
            open_store(str(path))

        assert "ls -ld" in caught.value.hint and str(path) in caught.value.message
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)


def test_a_store_in_a_folder_that_cannot_be_written_is_still_read() -> None:
    folder = Path(tempfile.mkdtemp(prefix="fleetctl-test-"))
    try:
        path = folder / "fleet.db"
        with closing(open_store(str(path))) as store:
            store.put_pool(POOL, at=1.0)
        path.chmod(0o444)
        folder.chmod(0o555)

        with another_user(), closing(open_store(str(path), read_only=True)) as reader:
            assert reader.intents() == ((), (POOL,))
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)


def test_a_lock_that_is_never_given_back_ends_the_wait(path: Path) -> None:
    open_store(str(path)).close()

    with closing(SqlStore(SqliteDatabase(path, busy_timeout_s=0.02))) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreFailure) as caught:
                store.put_pool(POOL, at=1.0)
            read = store.intents()
        store.put_pool(POOL, at=1.0)

        assert "locked by another process" in caught.value.message
        assert f"fuser -v {path}" in caught.value.hint
        assert (read, store.intents()) == (((), ()), ((), (POOL,)))


def _remove(path: Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()


def _replace(path: Path) -> None:
    _remove(path)
    open_store(str(path)).close()


@pytest.mark.parametrize("change", [_remove, _replace])
def test_a_store_that_was_taken_away_is_neither_written_nor_read(path: Path, change: Callable[[Path], None]) -> None:
    with closing(open_store(str(path))) as store:
        token = fence(store)
        change(path)

        with pytest.raises(StoreFailure, match="removed or replaced"):
            store.commit(Plan(at=1.0), fence=token, journal=b"")
        with pytest.raises(StoreFailure, match="removed or replaced"):
            store.changes()


def test_a_file_at_its_bound_stays_whole_and_goes_on_when_there_is_room(path: Path) -> None:
    with closing(SqlStore(SqliteDatabase(path, pages_max=120))) as store:
        token = fence(store)
        stored, failure = fill(store, token)
        state = store.load()

        assert "disk is full" in failure.message and "df -h" in failure.hint
        assert state.counters == {"tick": stored}
        assert len(state.replicas) == stored
        assert len(store.journal_range(since=0, until=1e9, limit=COMMITS_MAX)) == stored
    with closing(open_store(str(path))) as store:
        store.commit(Plan(at=1e6, counters=(("tick", 9999),)), fence=token, journal=b"more")
        assert (store.load().counters, store.journal(at=1e9)) == ({"tick": 9999}, b"more")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.getuid() != 0:
        pytest.skip("only root can mount a small disk to fill")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def _take_all_room(folder: Path) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


def test_a_full_disk_leaves_the_store_readable_and_the_same_store_goes_on(small_disk: Path) -> None:
    path = small_disk / "fleet.db"
    with closing(open_store(str(path))) as store:
        token = fence(store)
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(500_000))
        stored, failure = fill(store, token)

        with closing(open_store(str(path), read_only=True)) as reader:
            assert reader.load() == store.load()
        assert "disk is full" in failure.message
        assert store.load().counters == {"tick": stored} and stored > 0

        ballast.unlink()
        store.commit(Plan(at=1e6, counters=(("tick", 9999),)), fence=token, journal=b"more")
        assert store.load().counters == {"tick": 9999}


def test_a_closed_store_on_a_full_disk_is_read_and_a_writer_is_seen_once_there_is_room(small_disk: Path) -> None:
    path = small_disk / "fleet.db"
    with closing(open_store(str(path))) as store:
        store.put_pool(POOL, at=1.0)
    ballast = _take_all_room(small_disk)

    with closing(open_store(str(path), read_only=True)) as reader:
        full = reader.intents()
        with pytest.raises(StoreFailure, match="disk is full"):
            open_store(str(path))
        ballast.unlink()
        with closing(open_store(str(path))) as writer:
            writer.put_pool(Pool(name=PoolName("q"), gpu=()), at=2.0)
            assert len(reader.intents()[1]) == 2

    assert full == ((), (POOL,))


@pytest.mark.parametrize(
    ("statement", "read", "message"),
    [
        pytest.param("UPDATE memories SET doc = '{\"load\": 7}'", SqlStore.load, "a stored Memory", id="a document"),
        pytest.param(
            "UPDATE journal SET entry = x'00'", lambda store: store.journal(at=9.0), "damaged", id="a journal"
        ),
    ],
)
def test_a_row_spoiled_by_hand_is_named(
    path: Path, statement: str, read: Callable[[SqlStore], object], message: str
) -> None:
    with closing(open_store(str(path))) as store:
        store.commit(Plan(at=1.0, memories=((ServiceName("s"), Memory()),)), fence=fence(store), journal=b"x")
        with closing(sqlite3.connect(path)) as other, other:
            other.execute(statement)

        with pytest.raises(StoreFailure, match=message):
            read(store)


def test_a_command_loads_the_driver_of_its_own_store_and_no_other(path: Path) -> None:
    script = (
        "import sys; from fleetctl.store import open_store; before = 'sqlite3' in sys.modules;"
        "open_store(sys.argv[1]).close(); print(before, 'sqlite3' in sys.modules, 'psycopg' in sys.modules)"
    )

    ran = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(fleetctl.__file__).parent.parent)},
    )

    assert ran.stdout.split() == ["False", "True", "False"]
