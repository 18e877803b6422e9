"""A Node that gives chunks stays one, whatever goes wrong with single answers."""

import socket
from pathlib import Path

from chunk_files import content

from fleetctl.agent.chunks.follow import Follower, Patience, PeerFailed
from fleetctl.agent.chunks.hashes import blake3
from fleetctl.agent.chunks.layout import CHUNK_LEAST_BYTES, File, Layout
from fleetctl.agent.chunks.serve import STREAMS_MAX, PeerServer
from fleetctl.agent.chunks.staging import Staging
from fleetctl.agent.chunks.store import Store
from fleetctl.agent.chunks.wire import name_of
from fleetctl.agent.origins.files import FilesOrigin
from fleetctl.agent.sources.fetch import Fetch
from fleetctl.errors import AgentFailure
from fleetctl.model.names import InstanceId
from fleetctl.model.nodes import Artifact, Peer

KEY = bytes(range(32))
WEIGHTS = Artifact(kind="weights", name="s3://models/x")
LAYOUT = Layout(revision="r", files=(File(path="a", size=3 * CHUNK_LEAST_BYTES),), chunk_size=CHUNK_LEAST_BYTES)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_answers_that_could_not_begin_take_no_place_from_others(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "data").write_bytes(content(1000))
    store = Store(tmp_path / "store")
    got = await store.get(Fetch(WEIGHTS), FilesOrigin(tree))
    listener = socket.create_server(("127.0.0.1", 0))
    server = PeerServer(listener, store)
    await server.use(KEY)
    peer = Peer(instance=InstanceId("i-1"), address=f"127.0.0.1:{listener.getsockname()[1]}")
    follower = Follower(peer, name_of(WEIGHTS), KEY, WEIGHTS.name, Patience())
    layout = await follower.layout()
    staging = await Staging.open(WEIGHTS.name, tmp_path / "staging", layout)
    Path(got.path).rename(tmp_path / "aside")  # as while it is published, or when somebody removed it

    refused = 0
    for _ in range(STREAMS_MAX):
        try:
            await follower.fetch(staging, lambda length, new: None)
        except PeerFailed:
            refused += 1
    (tmp_path / "aside").rename(got.path)
    await follower.fetch(staging, lambda length, new: None)

    assert refused == STREAMS_MAX
    assert staging.missing_count == 0
    staging.close()
    await server.close()


async def test_a_chunk_that_comes_too_late_opens_no_file(tmp_path: Path) -> None:
    staging = await Staging.open("x", tmp_path / "s", LAYOUT)
    staging.close()
    before = open_files()

    said = ""
    try:
        await staging.put(0, content(CHUNK_LEAST_BYTES), blake3(content(CHUNK_LEAST_BYTES)))
    except AgentFailure as failure:
        said = failure.message

    assert "not fetched any more" in said
    assert open_files() == before
    assert staging.missing_count == LAYOUT.count


async def test_what_a_crash_left_half_published_can_be_written_again(tmp_path: Path) -> None:
    """After a power cut some of its chunks may be wrong, and are written anew."""
    staging = await Staging.open("x", tmp_path / "s", LAYOUT)
    staging.close()
    (staging.tree / "a").chmod(0o444)

    again = await Staging.open("x", tmp_path / "s", LAYOUT)

    assert (again.tree / "a").stat().st_mode & 0o200
    again.close()
