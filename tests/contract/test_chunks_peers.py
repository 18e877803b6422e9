"""Artifacts in chunks between Nodes over real sockets: the chain, what breaks it, resuming, and who is let in."""

import asyncio
import re
import socket
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest
from chunk_nodes import (
    BOUND_S,
    KEY,
    QUICK,
    WEIGHTS,
    ChunkNode,
    MemoryOrigin,
    content,
    feed,
    files_in,
    node,
    nodes,
)

from fleetctl.agent.chunks.layout import CHUNK_LEAST_BYTES
from fleetctl.agent.chunks.serve import PeerServer
from fleetctl.agent.chunks.store import Store
from fleetctl.agent.chunks.wire import name_of, signed
from fleetctl.agent.sources.fetch import Fetch
from fleetctl.errors import AgentFailure
from fleetctl.model.names import InstanceId
from fleetctl.model.nodes import Artifact, ArtifactState, Peer

SIZE = 20 * CHUNK_LEAST_BYTES + 17
MIB = 1024**2


def small(**levers: object) -> MemoryOrigin:
    return MemoryOrigin({"config.json": b"{}", "deep/model.bin": content(SIZE), "empty": b""}, **levers)  # type: ignore[arg-type]


async def until_chunks(one: ChunkNode, count: int) -> None:
    """Return when a Node holds so many chunks of what it fetches."""
    async with asyncio.timeout(BOUND_S):
        while True:
            news = one.store.news
            chunks = one.store.find(name_of(WEIGHTS))
            if chunks is not None:
                news = chunks.news
                if sum(chunks.hash_of(index) is not None for index in range(chunks.layout.count)) >= count:
                    return
            await news.wait()


async def test_a_chain_takes_each_byte_once_from_the_origin(tmp_path: Path) -> None:
    origin = small()
    async with nodes(tmp_path, "abcd") as (a, b, c, d):
        got = await asyncio.gather(d.get(c, b, a), c.get(b, a), b.get(a), a.get(origin=origin))

    assert len({one.digest for one in got}) == 1
    for one in got:
        assert files_in(one.path) == origin.files
        assert one.size == SIZE + 2
    assert origin.bytes_read == SIZE + 2


async def test_chunks_are_passed_on_before_all_are_here(tmp_path: Path) -> None:
    async with nodes(tmp_path, "ab") as (a, b):
        origin = small(stop_after_bytes=5 * CHUNK_LEAST_BYTES)
        first = asyncio.ensure_future(a.get(origin=origin))
        second = asyncio.ensure_future(b.get(a))

        await until_chunks(b, 5)

        assert not first.done() and not second.done()
        first.cancel()
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)


async def test_large_chunks_go_from_file_to_socket(tmp_path: Path) -> None:
    files = {f"{number}.bin": content(3 * MIB + 5, number) for number in range(3)}
    async with nodes(tmp_path, "ab", cut=lambda _: 2 * MIB) as (a, b):
        got = await asyncio.gather(b.get(a), a.get(origin=MemoryOrigin(files)))

    assert files_in(got[0].path) == files


async def test_several_connections_share_a_large_artifact(tmp_path: Path) -> None:
    origin = MemoryOrigin({"m": content(1100 * CHUNK_LEAST_BYTES)}, hashed=False)
    async with nodes(tmp_path, "ab", cut=lambda _: CHUNK_LEAST_BYTES) as (a, b):
        await a.get(origin=origin)
        fetch = b.fetch(a)

        got = await b.store.get(fetch, None)

    assert files_in(got.path) == origin.files
    status = fetch.status(ArtifactState.PRESENT)
    assert (status.peer_bytes, status.origin_bytes, status.bytes_done) == (origin.bytes_read, 0, origin.bytes_read)


async def test_what_is_published_is_read_only_and_given_after_a_restart(tmp_path: Path) -> None:
    async with nodes(tmp_path, "a") as (a,):
        got = await a.get(origin=small())
    places = [Path(got.path), *Path(got.path).rglob("*")]

    async with nodes(tmp_path, "ab") as (a, b):
        again = await a.get()
        passed_on = await b.get(a)

    assert (again.path, again.detail) == (got.path, "was here")
    assert passed_on.digest == got.digest
    assert all(not place.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) for place in places)


async def test_a_node_that_is_not_there_is_passed_over_for_the_next(tmp_path: Path) -> None:
    async with nodes(tmp_path, "abc") as (a, b, c):
        await a.get(origin=small())
        await c.server.close()

        got = await b.get(c, a)

    assert files_in(got.path) == small().files


async def test_a_silent_node_is_left_after_a_bounded_time(tmp_path: Path) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    try:
        peer = Peer(instance=InstanceId("silent"), address=f"127.0.0.1:{silent.getsockname()[1]}")
        async with nodes(tmp_path, "ab", patience=QUICK) as (a, b):
            await a.get(origin=small())
            fetch = b.fetch(peer, a)
            began = time.monotonic()

            await b.store.get(fetch, None)
    finally:
        silent.close()

    assert time.monotonic() - began < BOUND_S / 2
    assert fetch.status(ArtifactState.FETCHING).parent == "a"


async def test_who_lives_and_waits_is_not_taken_for_dead(tmp_path: Path) -> None:
    origin = small(stop_after_bytes=CHUNK_LEAST_BYTES)
    async with nodes(tmp_path, "ab", patience=QUICK) as (a, b):
        first = asyncio.ensure_future(a.get(origin=origin))
        fetch = b.fetch(a)
        second = asyncio.ensure_future(b.store.get(fetch, small()))
        await until_chunks(b, 1)

        await asyncio.sleep(QUICK.silent_s * 1.5)  # longer than a silent one is waited for

        assert not second.done()
        assert fetch.status(ArtifactState.FETCHING).origin_bytes == 0
        for task in (first, second):
            task.cancel()
        await asyncio.gather(first, second, return_exceptions=True)


async def test_those_who_follow_one_that_gives_up_go_to_the_origin_at_once(tmp_path: Path) -> None:
    async with nodes(tmp_path, "ab") as (a, b):
        first = asyncio.ensure_future(a.get(origin=small(stop_after_bytes=5 * CHUNK_LEAST_BYTES)))
        fetch = b.fetch(a)
        own = small()
        second = asyncio.ensure_future(b.store.get(fetch, own))
        await until_chunks(b, 5)

        first.cancel()
        async with asyncio.timeout(BOUND_S):
            got = await second

    assert files_in(got.path) == own.files
    assert own.bytes_read <= SIZE + 2 - 5 * CHUNK_LEAST_BYTES


async def test_the_controller_s_word_moves_a_fetch_and_keeps_what_is_here(tmp_path: Path) -> None:
    async with nodes(tmp_path, "abc") as (a, b, c):
        stuck = asyncio.ensure_future(a.get(origin=small(stop_after_bytes=8 * CHUNK_LEAST_BYTES)))
        await c.get(origin=small())
        fetch = b.fetch(a)
        moved = asyncio.ensure_future(b.store.get(fetch, None))
        await until_chunks(b, 8)

        fetch.follow(feed(c, a))
        async with asyncio.timeout(BOUND_S):
            await moved

        status = fetch.status(ArtifactState.FETCHING)
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)

    assert status.parent == "c"
    assert status.peer_bytes == SIZE + 2


async def test_what_an_interrupted_fetch_left_is_not_fetched_again(tmp_path: Path) -> None:
    async with nodes(tmp_path, "a") as (a,):
        task = asyncio.ensure_future(a.get(origin=small(stop_after_bytes=10 * CHUNK_LEAST_BYTES)))
        await until_chunks(a, 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    origin = small()

    async with nodes(tmp_path, "a") as (a,):
        got = await a.get(origin=origin)

    assert files_in(got.path) == origin.files
    assert origin.bytes_read <= SIZE + 2 - 10 * CHUNK_LEAST_BYTES


async def test_without_the_fleet_s_key_nobody_gets_anything(tmp_path: Path) -> None:
    async with nodes(tmp_path, "a") as (a,), node(tmp_path, "stranger", key=bytes(32)) as stranger:
        await a.get(origin=small())
        with pytest.raises(AgentFailure, match=r"403.*another key"):
            await stranger.get(a)

        await a.server.use(None)
        async with node(tmp_path, "friend") as friend:
            with pytest.raises(AgentFailure, match="this node has no key"):
                await friend.get(a)


@pytest.mark.parametrize(("age_s", "times", "why"), [(0, 2, "asked before"), (300, 1, r"signed 30\d s ago")])
async def test_a_question_is_answered_once_and_soon(tmp_path: Path, age_s: float, times: int, why: str) -> None:
    import aiohttp

    path = f"/v1/artifacts/{name_of(WEIGHTS)}/manifest"
    headers = signed(KEY, "GET", path, b"", time.time() - age_s)
    async with nodes(tmp_path, "a") as (a,), aiohttp.ClientSession() as session:
        await a.get(origin=small())
        for _ in range(times):
            async with session.get(f"http://{a.address}{path}", headers=headers) as answer:
                status, said = answer.status, await answer.text()

    assert status == 403
    assert re.fullmatch(f"not let in: {why}", said)


async def test_a_file_that_is_not_what_its_origin_promised_is_not_published(tmp_path: Path) -> None:
    origin = small(promised={"deep/model.bin": "0" * 64})
    async with nodes(tmp_path, "a") as (a,):
        with pytest.raises(AgentFailure, match=r"deep/model\.bin of s3://models/tiny is not what its origin promised"):
            await a.get(origin=origin)

        assert a.store.find(name_of(WEIGHTS)) is None
        assert not list((tmp_path / "a").glob("weights/*"))

        got = await a.get(origin=small())

    assert files_in(got.path) == small().files


async def test_a_full_disk_is_one_sentence_and_others_go_on(tmp_path: Path) -> None:
    async with nodes(tmp_path, "a") as (a,):
        huge = Artifact(kind="weights", name="s3://models/huge")
        with pytest.raises(AgentFailure, match=r"has no room for s3://models/huge: 5629\d\d\.\d GB needed") as failure:
            await a.store.get(Fetch(huge), MemoryOrigin({"m": b"x"}, claimed={"m": 1 << 49}))

        got = await a.get(origin=small())

    assert "free space on this node" in (failure.value.hint or "")
    assert [path.name for path in (tmp_path / "a" / "staging").glob("*")] == []
    assert files_in(got.path) == small().files


async def test_an_origin_that_refuses_is_told_in_its_own_words(tmp_path: Path) -> None:
    async with nodes(tmp_path, "a") as (a,):
        with pytest.raises(AgentFailure, match="needs a token"):
            await a.get(origin=MemoryOrigin({}, refuse="the model needs a token"))


async def test_the_least_recently_used_goes_when_the_limit_is_reached_and_never_what_is_wanted(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", limit_bytes=2 * MIB)
    artifacts = [Artifact(kind="weights", name=f"s3://models/{number}") for number in range(4)]

    async def get(number: int) -> None:
        await store.get(Fetch(artifacts[number]), MemoryOrigin({"m": content(MIB - 10, number)}))

    store.keep([artifacts[0]])
    for number in (0, 1, 2, 3):
        await get(number)

    held = [number for number, artifact in enumerate(artifacts) if await store.held(artifact) is not None]
    assert held == [0, 3]
    folders = [path for path in (tmp_path / "store" / "weights").iterdir() if path.is_dir()]
    assert len(folders) == 2


async def test_who_had_to_go_elsewhere_comes_back_when_it_may(tmp_path: Path) -> None:
    free = socket.create_server(("127.0.0.1", 0))
    address = free.getsockname()
    free.close()
    late = Peer(instance=InstanceId("late"), address=f"127.0.0.1:{address[1]}")
    patience = replace(QUICK, connect_s=0.1, avoid_s=0.2)
    async with nodes(tmp_path, "ab", patience=patience) as (a, b):
        await a.get(origin=small())
        fetch = b.fetch(late)
        moving = asyncio.ensure_future(b.store.get(fetch, small(stop_after_bytes=CHUNK_LEAST_BYTES)))
        await until_chunks(b, 1)
        listener = socket.create_server(address)
        server = PeerServer(listener, a.store)
        await server.use(KEY)

        async with asyncio.timeout(BOUND_S):
            got = await moving

        await server.close()
    status = fetch.status(ArtifactState.PRESENT)
    assert files_in(got.path) == small().files
    assert status.origin_bytes > 0 and status.peer_bytes > 0


async def test_behind_a_wall_not_everyone_is_tried(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    walled = [Peer(instance=InstanceId(f"i-{number}"), address="127.0.0.1:1") for number in range(4)]
    async with nodes(tmp_path, "a", patience=replace(QUICK, connect_s=0.1)) as (a,):
        got = await a.get(*walled, origin=small())

    assert files_in(got.path) == small().files
    assert [record.args[1] for record in caplog.records if record.args] == ["i-0", "i-1"]


async def test_what_the_other_node_has_counts_not_what_was_begun_of_another_revision(tmp_path: Path) -> None:
    newer = MemoryOrigin({"deep/model.bin": content(SIZE, 2)}, revision="r2")
    async with nodes(tmp_path, "ab") as (a, b):
        await a.get(origin=newer)
        begun = asyncio.ensure_future(b.get(origin=small(stop_after_bytes=5 * CHUNK_LEAST_BYTES)))
        await until_chunks(b, 5)
        begun.cancel()
        await asyncio.gather(begun, return_exceptions=True)

        got = await b.get(a)

    assert files_in(got.path) == newer.files
