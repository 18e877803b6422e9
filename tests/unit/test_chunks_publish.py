"""What is proved before anything may use it, how it gets its name, and what is let go."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from chunk_files import content, safetensors

from fleetctl.agent.chunks import publish
from fleetctl.agent.chunks.hashes import blake3
from fleetctl.agent.chunks.layout import CHUNK_LEAST_BYTES, File, Layout
from fleetctl.agent.chunks.lru import Entry, evicted
from fleetctl.agent.chunks.staging import Staging
from fleetctl.agent.chunks.verify import check_safetensors
from fleetctl.errors import AgentFailure

WHOLE = safetensors({"a": content(100), "b": content(50)})


async def staged(root: Path, files: Mapping[str, bytes]) -> Staging:
    names = sorted(files)
    layout = Layout(
        revision="r",
        files=tuple(File(path=name, size=len(files[name])) for name in names),
        chunk_size=CHUNK_LEAST_BYTES,
    )
    staging = await Staging.open("s3://models/x", root, layout)
    stream = b"".join(files[name] for name in names)
    for index in range(layout.count):
        data = stream[index * CHUNK_LEAST_BYTES :][: layout.length(index)]
        await staging.put(index, data, blake3(data))
    return staging


async def test_published_under_the_digest_of_what_it_holds(tmp_path: Path) -> None:
    staging = await staged(tmp_path / "s", {"a": b"x", "d/b": content(CHUNK_LEAST_BYTES)})
    digest = staging.digest

    goal = publish.publish(staging, tmp_path / "shelf")

    assert goal == tmp_path / "shelf" / digest
    assert (goal / "a").read_bytes() == b"x"
    assert not (tmp_path / "s").exists()
    manifest = publish.published(tmp_path / "shelf", digest)
    assert manifest is not None and manifest.digest == digest


async def test_half_an_artifact_is_never_published(tmp_path: Path) -> None:
    staging = await staged(tmp_path / "s", {"a": content(2 * CHUNK_LEAST_BYTES)})
    staging.forget(range(1))

    with pytest.raises(AssertionError, match="1 chunks of"):
        publish.publish(staging, tmp_path / "shelf")

    assert not (tmp_path / "shelf").exists()
    staging.close()


@pytest.mark.parametrize("loss", ["folder", "file", "manifest", "changed"])
async def test_what_a_crash_left_is_not_taken_for_published(tmp_path: Path, loss: str) -> None:
    goal = publish.publish(await staged(tmp_path / "s", {"a": b"xyz"}), tmp_path / "shelf")
    goal.chmod(0o755)
    said = tmp_path / "shelf" / f"{goal.name}.json"
    match loss:
        case "folder":
            goal.rename(tmp_path / "gone")
        case "file":
            (goal / "a").unlink()
        case "manifest":
            said.write_bytes(said.read_bytes()[:-5])
        case _:
            said.write_bytes(said.read_bytes().replace(b'"path":"a"', b'"path":"b"'))

    assert publish.published(tmp_path / "shelf", goal.name) is None


async def test_taken_away_whole_and_swept_after_a_crash(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    one = publish.publish(await staged(tmp_path / "s", {"d/a": b"one"}), shelf)
    two = publish.publish(await staged(tmp_path / "s", {"d/a": b"two"}), shelf)
    two.chmod(0o755)
    two.rename(shelf / f".{two.name}.leaving")  # as far as an earlier life got

    publish.take_away(shelf, one.name)
    publish.take_away(shelf, one.name)
    publish.sweep(shelf)

    assert [path.name for path in shelf.iterdir()] == [f"{two.name}.json"]


def write(folder: Path, files: Mapping[str, bytes]) -> dict[str, Path]:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in files}


INDEX = b'{"weight_map": {"a": "1.safetensors", "b": "2.safetensors", "c": "left-out.safetensors"}}'


def test_whole_files_pass(tmp_path: Path) -> None:
    files = {
        "model.safetensors": WHOLE,
        "1.safetensors": safetensors({"a": b"1"}),
        "2.safetensors": safetensors({"b": b"2"}),
        "model.safetensors.index.json": INDEX,
        "odd.safetensors": safetensors({}),
        "notes.txt": b"no tensors",
    }

    check_safetensors("s3://models/x", write(tmp_path, files))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"m.safetensors": WHOLE[:-1]}, "its tensors take 150 bytes, and it holds 149"),
        ({"m.safetensors": WHOLE + b"x"}, "its tensors take 150 bytes, and it holds 151"),
        ({"m.safetensors": WHOLE[:20]}, "does not fit into 20 bytes"),
        ({"m.safetensors": b""}, "does not fit into 0 bytes"),
        ({"m.safetensors": b"\0" * 64}, "its header is not one of tensors"),
        ({"m.safetensors": b"<html>" + b" " * 100}, "does not fit"),
        (
            {
                "1.safetensors": safetensors({"b": b"2"}),
                "2.safetensors": safetensors({"a": b"1"}),
                "model.safetensors.index.json": INDEX,
            },
            "1.safetensors of s3://models/x is damaged: it lacks tensor a.*swapped",
        ),
        ({"model.safetensors.index.json": b"[]"}, "no index of tensors"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, files: dict[str, bytes], said: str) -> None:
    with pytest.raises(AgentFailure, match=said):
        check_safetensors("s3://models/x", write(tmp_path, files))


def entry(digest: str, used_at: float) -> Entry:
    return Entry(digest=digest, size=10, used_at=used_at)


@pytest.mark.parametrize(
    ("excess", "keep", "expected"),
    [
        (0, "", ""),
        (1, "", "b"),
        (11, "", "bc"),
        (11, "b", "ca"),
        (100, "ab", "c"),
        (100, "abc", ""),
    ],
)
def test_least_recently_used_first_and_never_what_is_kept(excess: int, keep: str, expected: str) -> None:
    entries = [entry("a", 30), entry("b", 10), entry("c", 20)]

    assert "".join(one.digest for one in evicted(entries, frozenset(keep), excess=excess)) == expected
