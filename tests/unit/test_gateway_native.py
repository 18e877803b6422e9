"""Whether a native build of the gateway may be used: only one of this Python, from exactly these sources."""

import json
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from fleetctl.gateway.native import MODULES, PACKAGE, Build, digest, found, record


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with sources of the same places as ours."""
    made = tmp_path / "fleetctl"
    for name in ("errors.py", "gateway/plane.py", "gateway/scheduler/line.py", "model/routes.py", "cli/up.py"):
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    return made


@pytest.fixture
def folder(tmp_path: Path, package: Path) -> Path:
    """A build of it."""
    made = tmp_path / "_native"
    made.mkdir()
    record(made, {"fleetctl.gateway.plane": "plane.so"}, digest(package))
    return made


def test_a_build_of_these_sources_is_used(folder: Path, package: Path) -> None:
    assert found(folder, package) == Build({"fleetctl.gateway.plane": str(folder / "plane.so")})
    assert found(folder, package, "1") == found(folder, package)


def test_it_can_be_turned_off(folder: Path, package: Path) -> None:
    assert found(folder, package, "0") == "turned off by FLEETCTL_NATIVE=0"


def test_there_may_be_none(tmp_path: Path, package: Path) -> None:
    assert found(tmp_path / "nothing", package) == "there is no native build"


@pytest.mark.parametrize("name", ["errors.py", "gateway/scheduler/line.py", "model/routes.py"])
def test_one_of_other_sources_is_not_used(folder: Path, package: Path, name: str) -> None:
    (package / name).write_text("# changed\n")

    why = found(folder, package)

    assert isinstance(why, str)
    assert "other sources" in why
    assert "python -m fleetctl.gateway.native_build" in why


def test_a_source_that_came_or_went_makes_it_one_of_other_sources(folder: Path, package: Path) -> None:
    (package / "gateway/plane.py").rename(package / "gateway/planes.py")

    assert "other sources" in str(found(folder, package))


def test_what_it_is_not_made_from_may_change(folder: Path, package: Path) -> None:
    (package / "cli/up.py").write_text("# changed\n")

    assert isinstance(found(folder, package), Build)


def test_one_for_another_python_is_not_used(folder: Path, package: Path) -> None:
    note = json.loads((folder / "built.json").read_text())
    assert note["python"] == EXTENSION_SUFFIXES[0]
    note["python"] = ".cpython-399-m68k-linux-gnu.so"
    (folder / "built.json").write_text(json.dumps(note))

    assert "another Python (.cpython-399-m68k-linux-gnu.so)" in str(found(folder, package))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"python": "", "sources": "", "files": 3}'])
def test_one_that_is_damaged_is_not_used(folder: Path, package: Path, text: str) -> None:
    (folder / "built.json").write_text(text)

    assert "damaged" in str(found(folder, package))


def test_each_module_that_is_compiled_is_there() -> None:
    missing = [name for name in MODULES if not (PACKAGE / "gateway" / f"{name.replace('.', '/')}.py").is_file()]

    assert missing == []
