"""What is left of a fetch that was broken off, and what is done about it."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from fleetctl.agent.chunks.hashes import blake3
from fleetctl.agent.chunks.layout import CHUNK_LEAST_BYTES, File, Layout
from fleetctl.agent.chunks.staging import Staging
from fleetctl.errors import AgentFailure

LAYOUT = Layout(
    revision="r",
    files=(File(path="a", size=100), File(path="deep/b", size=3 * CHUNK_LEAST_BYTES)),
    chunk_size=CHUNK_LEAST_BYTES,
)


def chunk(index: int) -> bytes:
    return bytes([index + 1]) * LAYOUT.length(index)


async def opened(root: Path, layout: Layout = LAYOUT) -> Staging:
    return await Staging.open("s3://models/x", root, layout)


async def put(staging: Staging, *indexes: int) -> None:
    for index in indexes:
        assert await staging.put(index, chunk(index), blake3(chunk(index)))


async def test_chunks_are_where_the_layout_has_them(tmp_path: Path) -> None:
    staging = await opened(tmp_path / "s")

    await put(staging, 3, 0, 2, 1)

    assert staging.missing() == []
    assert staging.arrived == [3, 0, 2, 1]
    assert staging.bytes_here == LAYOUT.size
    whole = b"".join(chunk(index) for index in range(4))
    assert (staging.tree / "a").read_bytes() + (staging.tree / "deep/b").read_bytes() == whole
    staging.close()


async def test_what_was_put_is_there_for_the_next_life(tmp_path: Path) -> None:
    first = await opened(tmp_path / "s")
    await put(first, 1, 3)

    second = await opened(tmp_path / "s")  # the first was never closed, as after kill -9

    assert second.missing() == [0, 2]
    assert second.hash_of(1) == blake3(chunk(1))
    assert second.hash_of(0) is None
    first.close()
    second.close()


async def test_a_chunk_that_comes_twice_counts_once(tmp_path: Path) -> None:
    staging = await opened(tmp_path / "s")
    await put(staging, 1)

    assert not await staging.put(1, chunk(1), blake3(chunk(1)))
    assert staging.arrived == [1]
    staging.close()


async def test_after_a_restart_of_the_machine_every_chunk_is_compared(tmp_path: Path) -> None:
    staging = await opened(tmp_path / "s")
    await put(staging, 0, 1, 2)
    staging.close()
    begun = tmp_path / "s" / "begun.json"
    said = msgspec.json.decode(begun.read_bytes())
    begun.write_bytes(msgspec.json.encode({**said, "boot": "another"}))
    with (staging.tree / "deep/b").open("r+b") as file:
        file.seek(CHUNK_LEAST_BYTES + 10)
        file.write(b"lost")  # what the disk never got

    again = await opened(tmp_path / "s")

    assert again.missing() == [1, 3]
    again.close()


@pytest.mark.parametrize("damage", ["revision", "size", "begun"])
async def test_what_is_of_something_else_is_begun_anew(tmp_path: Path, damage: str) -> None:
    staging = await opened(tmp_path / "s")
    await put(staging, 0, 1, 2, 3)
    staging.close()
    layout = LAYOUT
    if damage == "revision":
        layout = Layout(revision="r2", files=LAYOUT.files, chunk_size=LAYOUT.chunk_size)
    elif damage == "size":
        (staging.tree / "a").write_bytes(b"short")
    else:
        (tmp_path / "s" / "begun.json").write_bytes(b"{")

    again = await opened(tmp_path / "s", layout)

    assert again.missing() == [0, 1, 2, 3]
    again.close()


async def test_what_turned_out_wrong_is_missing_again_also_in_the_next_life(tmp_path: Path) -> None:
    staging = await opened(tmp_path / "s")
    await put(staging, 0, 1, 2, 3)

    staging.forget(range(1, 3))

    assert staging.missing() == [1, 2]
    staging.close()
    again = await opened(tmp_path / "s")
    assert again.missing() == [1, 2]
    again.close()


async def test_who_waits_hears_of_chunks_and_of_the_end(tmp_path: Path) -> None:
    staging = await opened(tmp_path / "s")
    news = staging.news
    waiting = asyncio.ensure_future(news.wait())
    await put(staging, 0)
    await waiting

    end = staging.news
    staging.fail()

    assert end.is_set() and staging.failed
    staging.close()


async def test_more_than_any_disk_holds_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    layout = Layout(revision="r", files=(File(path="a", size=1 << 43),), chunk_size=16 * 1024**2)

    with pytest.raises(AgentFailure, match=r"has no room for s3://models/x: 8796\.1 GB needed, .* GB free"):
        await opened(tmp_path / "s", layout)

    assert not (tmp_path / "s").exists()
