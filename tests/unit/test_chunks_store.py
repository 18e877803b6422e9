"""What a Node's store knows and holds when a fetch is broken off, the disk takes nothing, or two things meet."""

import asyncio
import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from chunk_files import content

from fleetctl.agent.chunks import publish
from fleetctl.agent.chunks.layout import CHUNK_LEAST_BYTES, CHUNKS_MAX, File, Layout
from fleetctl.agent.chunks.staging import Staging
from fleetctl.agent.chunks.store import Store
from fleetctl.agent.chunks.wire import name_of
from fleetctl.agent.origins.files import FilesOrigin
from fleetctl.agent.sources.fetch import Fetch
from fleetctl.agent.sources.source import Got
from fleetctl.errors import AgentFailure
from fleetctl.model.nodes import Artifact, ArtifactState

SIZE = 100_000


class Gate(ThreadPoolExecutor):
    """The loop's threads, where one kind of work waits for its release."""

    def __init__(self, held_up: Callable[..., object]) -> None:
        super().__init__(4)
        self._held_up = held_up
        self.reached = asyncio.Event()
        self.open = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.set_default_executor(self)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        asked = fn.args[0] if isinstance(fn, functools.partial) else None
        if asked is not self._held_up:
            return super().submit(fn, *args, **kwargs)
        self._loop.call_soon(self.reached.set)

        def later() -> Any:
            self.open.wait(30)
            return fn(*args, **kwargs)

        return super().submit(later)


def weights(name: str) -> Artifact:
    return Artifact(kind="weights", name=f"s3://models/{name}")


def origin(folder: Path, name: str) -> FilesOrigin:
    tree = folder / "origin" / name
    tree.mkdir(parents=True, exist_ok=True)
    (tree / "data").write_bytes(content(SIZE, seed=len(name) + sum(name.encode())))
    return FilesOrigin(tree)


async def get(store: Store, folder: Path, name: str) -> Got:
    return await store.get(Fetch(weights(name)), origin(folder, name))


def on_shelf(store: Store) -> set[str]:
    return {path.name for path in (store.root / "weights").iterdir()}


def unwritable(store: Store, name: str) -> None:
    """From now on the disk does not take what the store notes of it."""
    store.root.joinpath("names", f".{name_of(weights(name))}.json.new").mkdir(parents=True)


async def test_a_disk_that_takes_no_notes_stops_no_pass_and_hides_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", limit_bytes=1)
    store.keep([weights("old")])
    await get(store, tmp_path, "old")
    unwritable(store, "old")

    found = await store.held(weights("old"))
    store.keep([])
    new = await get(store, tmp_path, "new")

    assert found is not None
    assert on_shelf(store) >= {new.digest}
    assert found.digest not in on_shelf(store), "what nothing wants any more must go"


async def test_what_is_published_is_known_though_its_note_cannot_be_written(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    unwritable(store, "a")

    got = await get(store, tmp_path, "a")

    assert Path(got.path).is_dir()
    assert await store.held(weights("a")) is not None


async def test_broken_off_while_it_is_published_it_is_here_and_known_all_the_same(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    gate = Gate(publish.publish)
    first = asyncio.create_task(get(store, tmp_path, "a"))
    await gate.reached.wait()
    first.cancel()
    again = Fetch(weights("a"))
    second = asyncio.create_task(store.get(again, origin(tmp_path, "a")))
    for _ in range(10):
        await asyncio.sleep(0)
    gate.open.set()

    with pytest.raises(asyncio.CancelledError):
        await first
    got = await second

    assert Path(got.path, "data").stat().st_size == SIZE
    assert await Store(store.root).held(weights("a")) is not None
    assert again.status(ArtifactState.PRESENT).origin_bytes == 0, "it was fetched twice"


async def test_what_nobody_knows_by_name_gives_its_place_back(tmp_path: Path) -> None:
    """Killed between publishing and the note of it, or between the removal of the note and of the files."""
    before = Store(tmp_path / "store")
    lost = await get(before, tmp_path, "lost")
    kept = await get(before, tmp_path, "kept")
    store_names = tmp_path / "store" / "names"
    (store_names / f"{name_of(weights('lost'))}.json").unlink()

    store = Store(tmp_path / "store")
    new = await get(store, tmp_path, "new")

    assert lost.digest not in on_shelf(store)
    assert on_shelf(store) == {name for got in (kept, new) for name in (got.digest, f"{got.digest}.json")}


async def test_what_is_wanted_while_others_are_let_go_stays(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", limit_bytes=2 * SIZE)
    await get(store, tmp_path, "a")
    await get(store, tmp_path, "bb")
    gate = Gate(publish.take_away)
    store = Store(store.root, limit_bytes=SIZE)
    coming = asyncio.create_task(get(store, tmp_path, "c"))
    await gate.reached.wait()
    store.keep([weights("bb"), weights("c")])
    wanted = await store.held(weights("bb"))
    gate.open.set()
    await coming

    assert wanted is not None
    assert Path(wanted.path, "data").exists()


async def test_what_comes_anew_under_another_digest_is_what_is_given_to_others(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    old = await get(store, tmp_path, "a")
    assert store.find(name_of(weights("a"))) is not None
    publish.take_away(store.root / "weights", old.digest)  # somebody removed it by hand
    other = tmp_path / "other"
    other.mkdir()
    (other / "data").write_bytes(b"another revision")

    new = await store.get(Fetch(weights("a")), FilesOrigin(other))

    found = store.find(name_of(weights("a")))
    assert found is not None
    assert str(found.tree) == new.path


async def test_chunks_without_number_are_refused_before_memory_is_taken_for_them(tmp_path: Path) -> None:
    """As another Node may tell of them, whose list is as short as that of any other file."""
    size = (CHUNKS_MAX + 1) * CHUNK_LEAST_BYTES
    layout = Layout(revision="r", files=(File(path="a", size=size),), chunk_size=CHUNK_LEAST_BYTES)

    with pytest.raises(AgentFailure, match="too large to be true"):
        await Staging.open("x", tmp_path / "s", layout)

    assert not (tmp_path / "s").exists()
