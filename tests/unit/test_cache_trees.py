"""Trees of compiled files: copied out and back exactly, or not at all; and what a machine's builds are known by."""

import os
import stat
from pathlib import Path

import msgspec
import pytest

from fleetctl.agent.builds import installed_engines, instructions
from fleetctl.agent.caches import trees, working
from fleetctl.agent.caches.trees import INDEX, Entry, Index, Moving
from fleetctl.agent.folder import Folder, write
from fleetctl.agent.read_ahead import read_ahead
from fleetctl.errors import AgentFailure
from fleetctl.model.nodes import Artifact, CacheFolder, EngineCache


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    root = tmp_path / "working"
    (root / "VLLM" / "torch_compile_cache" / "rank_0_0").mkdir(parents=True)
    (root / "VLLM" / "torch_compile_cache" / "rank_0_0" / "code.py").write_text("code")
    (root / "TRITON").mkdir()
    kernel = root / "TRITON" / "kernel.so"
    kernel.write_bytes(bytes(range(256)) * 5000)
    kernel.chmod(0o755)
    os.utime(kernel, ns=(5, 1_600_000_000_123_456_789))
    return root


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_it_comes_back_as_it_was(compiled: Path, tmp_path: Path) -> None:
    saved, goal = tmp_path / "saved", tmp_path / "goal"

    size = trees.save(compiled, saved)
    again = trees.restore(saved, goal)

    assert size == again == sum(map(len, content(compiled).values()))
    assert content(goal) == content(compiled)
    kernel = (goal / "TRITON" / "kernel.so").stat()
    assert kernel.st_mtime_ns == 1_600_000_000_123_456_789
    assert stat.S_IMODE(kernel.st_mode) & 0o100, "what can be run still can"


def test_locks_links_and_half_written_files_stay_behind(compiled: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s")
    (compiled / "stolen").symlink_to(secret)
    (compiled / "folder").symlink_to(tmp_path)
    for name in ("a.lock", "lock", "b.tmp", "tmp.1234"):
        (compiled / "TRITON" / name).touch()
    (compiled / "tmp.pid_7").mkdir()
    (compiled / "tmp.pid_7" / "half.so").touch()
    os.mkfifo(compiled / "pipe")
    before = {"VLLM/torch_compile_cache/rank_0_0/code.py", "TRITON/kernel.so"}

    trees.save(compiled, tmp_path / "saved")

    assert content(tmp_path / "saved").keys() == before | {INDEX}
    assert trees.seen(compiled).files == 2


def test_nothing_is_nothing_to_keep(tmp_path: Path) -> None:
    (tmp_path / "empty" / "VLLM").mkdir(parents=True)

    with pytest.raises(Moving):
        trees.save(tmp_path / "empty", tmp_path / "saved")

    assert trees.seen(tmp_path / "empty").files == 0


def test_another_look_at_what_changed_differs(compiled: Path) -> None:
    before = trees.seen(compiled)

    (compiled / "TRITON" / "more.so").write_bytes(b"more")

    assert trees.seen(compiled) != before


@pytest.mark.parametrize("damage", ["flipped", "shorter", "missing", "no index", "no list"])
def test_what_is_damaged_changes_nothing(compiled: Path, tmp_path: Path, damage: str) -> None:
    saved, goal = tmp_path / "saved", tmp_path / "goal"
    trees.save(compiled, saved)
    goal.mkdir()
    (goal / "own").write_text("half compiled")
    kernel = saved / "TRITON" / "kernel.so"
    match damage:
        case "flipped":
            kernel.write_bytes(kernel.read_bytes().replace(b"\x07", b"\x08", 1))
        case "shorter":
            kernel.write_bytes(kernel.read_bytes()[:-1])
        case "missing":
            kernel.unlink()
        case "no index":
            (saved / INDEX).unlink()
        case "no list":
            (saved / INDEX).write_text("{")

    with pytest.raises(AgentFailure, match=r"saved engine cache saved (is damaged|lacks)"):
        trees.restore(saved, goal)

    assert content(goal) == {"own": b"half compiled"}
    assert not list(tmp_path.glob(".*")), "nothing is left over"


@pytest.mark.parametrize("path", ["../outside", "a/../../outside", "/etc/outside"])
def test_no_file_leads_out_of_the_folder(tmp_path: Path, path: str) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()
    write(saved / INDEX, Index(files=(Entry(path=path, size=1, mode=0o644, mtime_ns=1, hash="x"),)))
    assert msgspec.json.decode((saved / INDEX).read_bytes(), type=Index).files[0].path == path

    with pytest.raises(AgentFailure, match="holds a file called"):
        trees.restore(saved, tmp_path / "goal")


# working folders


def place(folder: Folder, key: str, size: int = 1) -> Path:
    made = folder.working / key
    made.mkdir(parents=True)
    (made / "code").write_bytes(b"x" * size)
    return made


def test_what_is_saved_and_unused_goes_and_what_is_used_stays(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    used, saved, unsaved = (place(folder, key) for key in ("aa", "bb", "cc"))
    broken = place(folder, ".dd.coming")
    working.mark(folder, "aa")
    working.mark(folder, "bb")

    found = working.removable(folder, {"aa"})

    assert set(found) == {saved, broken}
    assert working.key_of(broken) == "dd"
    working.clear(folder, saved)
    assert not working.marked(folder, "bb")
    assert used.exists() and unsaved.exists()


def test_a_mark_without_its_folder_says_nothing(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    place(folder, "aa").rename(tmp_path / "elsewhere")
    working.mark(folder, "aa")

    assert not working.marked(folder, "aa")


def test_each_folder_of_an_engine_has_a_place(tmp_path: Path) -> None:
    folders = (
        CacheFolder(path="~/.cache/vllm", env="VLLM_CACHE_ROOT"),
        CacheFolder(path="~/.nv/ComputeCache"),
        CacheFolder(path="~"),
    )
    cache = EngineCache(artifact=Artifact(kind="cache", name="aa"), folders=folders)

    places = [made.name for _, made in working.made_parts(Folder(tmp_path), cache)]

    assert places == ["VLLM_CACHE_ROOT", "nv_ComputeCache", "home"]
    assert all((tmp_path / "working" / "aa" / name).is_dir() for name in places)


# builds


CPU = "processor : 0\nflags\t\t: fpu sse2 avx2 avx512f {more}\nbugs : spectre_v1\n"


def test_instructions_and_nothing_else_tell_cpus_apart() -> None:
    plain = instructions(CPU.format(more=""))

    assert plain == instructions(CPU.format(more="hypervisor md_clear"))
    assert plain != instructions(CPU.format(more="amx_tile"))
    assert instructions("nothing of the kind") == ""
    assert instructions() == instructions()


def test_engines_that_run_here_are_told_with_their_versions() -> None:
    assert dict(installed_engines())["rehearsal"]


# reading ahead


async def test_weights_are_asked_for_whole(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"x" * 1000)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.safetensors").write_bytes(b"x" * 500)
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")

    assert await read_ahead(tmp_path) == 1500
    assert await read_ahead(tmp_path / "a.safetensors") == 1000
    assert await read_ahead(tmp_path / "gone") == 0
