"""How files are cut into chunks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.agent.chunks.layout import (
    CHUNK_LEAST_BYTES,
    CHUNK_MOST_BYTES,
    File,
    Layout,
    checked,
    chunk_size,
    layout_of,
    manifest_digest,
)
from fleetctl.agent.origins.origin import Contents, OriginFile
from fleetctl.errors import AgentFailure


@pytest.mark.parametrize(
    ("size", "expected", "why"),
    [
        (0, CHUNK_LEAST_BYTES, "nothing"),
        (1_000_000, CHUNK_LEAST_BYTES, "a small model is not cut into crumbs"),
        (1_000 * 1024**2, 1024**2, "a thousandth"),
        (140_000_000_000, CHUNK_MOST_BYTES, "a large one is not fetched again in lumps"),
    ],
)
def test_chunk_size(size: int, expected: int, why: str) -> None:
    assert chunk_size(size) == expected, why


@given(st.lists(st.integers(0, 3 * CHUNK_LEAST_BYTES), min_size=1, max_size=12))
def test_chunks_hold_every_byte_once(sizes: list[int]) -> None:
    files = tuple(File(path=f"{number:02}", size=size) for number, size in enumerate(sizes))
    layout = Layout(revision="r", files=files, chunk_size=CHUNK_LEAST_BYTES)

    at = dict.fromkeys(range(len(sizes)), 0)
    for index in range(layout.count):
        segments = list(layout.segments(index))
        assert sum(segment.length for segment in segments) == layout.length(index) > 0
        for segment in segments:
            assert segment.offset == at[segment.file]
            assert index in layout.chunks_of(segment.file)
            at[segment.file] += segment.length

    assert list(at.values()) == sizes


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../up", "a/../b", "", "a//b", "./a", "a/", "nul\0", "x" * 300, "a/b/.."]
)
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    contents = Contents(revision="r", files=(OriginFile(path=path, size=1),))

    with pytest.raises(AgentFailure, match="which no file of a folder may be called"):
        layout_of("s3://models/x", contents)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ((), "holds no file"),
        ((File(path="a", size=1), File(path="a", size=2)), "two files of one path"),
        ((File(path="a", size=1), File(path="a/b", size=2)), "two files of one path"),
        ((File(path="a", size=-1),), "too large to be true"),
        ((File(path="a", size=1 << 60),), "too large to be true"),
    ],
)
def test_a_list_that_cannot_be_is_refused(files: tuple[File, ...], said: str) -> None:
    with pytest.raises(AgentFailure, match=said):
        checked("s3://models/x", Layout(revision="r", files=files, chunk_size=CHUNK_LEAST_BYTES))


@pytest.mark.parametrize("size", [0, 1, CHUNK_LEAST_BYTES - 1, CHUNK_MOST_BYTES + 1])
def test_chunks_that_no_node_would_cut_are_refused(size: int) -> None:
    with pytest.raises(AgentFailure, match="which no fleetctl cuts"):
        checked("s3://models/x", Layout(revision="r", files=(File(path="a", size=1),), chunk_size=size))


def test_equal_content_has_one_name_wherever_it_came_from() -> None:
    one = Layout(revision="r1", files=(File(path="a", size=5, sha256="ab"),), chunk_size=CHUNK_LEAST_BYTES)
    other = Layout(revision="r2", files=(File(path="a", size=5),), chunk_size=CHUNK_LEAST_BYTES)

    assert manifest_digest(one, [b"h" * 32]) == manifest_digest(other, [b"h" * 32])
    assert manifest_digest(one, [b"h" * 32]) != manifest_digest(one, [b"g" * 32])
    assert one.digest != other.digest
