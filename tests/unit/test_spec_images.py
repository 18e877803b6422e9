"""Images in files: names that can be none, mirrors, and images that are begun lazily."""

from pathlib import Path

import pytest

from fleetctl.spec.load import load
from fleetctl.spec.problems import FilesError

CHAT = "kind: service\nname: chat\nengine: rehearsal\nmodel: m\ngpu: L40S:1\n"
POOL = "kind: pool\nname: gpus\ngpu: L40S:1\n"
DIGEST = "sha256:" + "a" * 64


def refused(folder: Path, text: str) -> list[tuple[int, str, str]]:
    """(line, path, message) of each problem."""
    (folder / "fleet.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(FilesError) as caught:
        load([folder])
    return [(one.line, one.path, one.message) for one in caught.value.problems]


@pytest.mark.parametrize(
    "image", ["busybox", "vllm/vllm-openai:v0.11.0", f"quay.io/a/b@{DIGEST}", f"localhost:5000/a/b:c@{DIGEST}"]
)
def test_image_is_taken_as_it_is_written(tmp_path: Path, image: str) -> None:
    (tmp_path / "fleet.yaml").write_text(f"{CHAT}image: {image}\n")

    assert load([tmp_path]).services[0].image == image


@pytest.mark.parametrize(
    ("image", "why"),
    [
        ("quay.io/a/b@sha256:123", "its digest is not `sha256:` and 64 hexadecimal digits"),
        (f"quay.io/a/b@{DIGEST.upper()}", "its digest is not `sha256:` and 64 hexadecimal digits"),
        ("quay.io/a/B:v1", "'B' cannot be part of a repository's name"),
        ("quay.io//b:v1", "'' cannot be part of a repository's name"),
    ],
)
def test_image_that_can_be_none_is_refused_at_its_line(tmp_path: Path, image: str, why: str) -> None:
    assert refused(tmp_path, f"{CHAT}image: {image}\n") == [(6, "image", f"{image} cannot be an image: {why}")]


def test_mirrors_of_the_fleet_and_of_a_pool(tmp_path: Path) -> None:
    fleet = "---\nkind: fleet\nregistry_mirrors: [https://one.example, http://10.0.0.5:5000/]\n---\n"
    (tmp_path / "fleet.yaml").write_text(f"{CHAT}{fleet}{POOL}registry_mirrors: https://two.example:5000\n")

    found = load([tmp_path])

    assert found.config.registry_mirrors == ("https://one.example", "http://10.0.0.5:5000/")
    assert found.pools[0].registry_mirrors == ("https://two.example:5000",)


@pytest.mark.parametrize("mirror", ["one.example", "ftp://one.example", "https://user:pass@one.example", "https://x/y"])
def test_mirror_that_docker_does_not_take_is_refused(tmp_path: Path, mirror: str) -> None:
    ((line, path, message),) = refused(tmp_path, f"{POOL}registry_mirrors: ['{mirror}']\n")

    assert line == 4
    assert path.startswith("registry_mirrors")
    assert "mirror" in message


@pytest.mark.parametrize("lazy", ["soci", "stargz", "nydus"])
def test_lazy_is_the_name_of_a_snapshotter(tmp_path: Path, lazy: str) -> None:
    (tmp_path / "fleet.yaml").write_text(f"{POOL}lazy: {lazy}\n")

    assert load([tmp_path]).pools[0].lazy == lazy


def test_another_snapshotter_is_refused(tmp_path: Path) -> None:
    ((line, path, message),) = refused(tmp_path, f"{POOL}lazy: overlayfs\n")

    assert (line, path) == (4, "lazy")
    assert "soci" in message or "overlayfs" in message
