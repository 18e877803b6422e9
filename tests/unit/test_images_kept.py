"""Images of ours on a machine: who goes when the disk is needed, and what is said when one cannot be had."""

from pathlib import Path

import pytest

from fleetctl.agent.folder import Folder
from fleetctl.agent.images.kept import Kept, KeptImages
from fleetctl.agent.images.refusals import refusal
from fleetctl.agent.runtimes.images import Image

MB = 1024 * 1024
DIGEST = "sha256:" + "a" * 64
NOBODY = frozenset[str]()


def kept(name: str, used_at: float, *, made: str = "", size: int = MB) -> Kept:
    return Kept(name=name, id=made or f"id-{name}", size=size, used_at=used_at, references=(name,))


def held(folder: Path, *images: Kept, limit: int) -> KeptImages:
    made = KeptImages(Folder(folder), limit_bytes=limit)
    for image in images:
        made.put(image)
    return made


def leaving(images: KeptImages, wanted: frozenset[str] = NOBODY, used: frozenset[str] = NOBODY) -> list[str]:
    return [one.name for one in images.to_let_go(wanted, used, None)]


@pytest.mark.parametrize(
    ("limit", "wanted", "used", "gone"),
    [
        (3, [], [], []),
        (2, [], [], ["a"]),
        (1, [], [], ["a", "b"]),
        (2, ["a"], [], ["b"]),
        (2, [], ["id-a"], ["b"]),
        (0, ["a"], ["id-b"], ["c"]),
        (0, ["a", "b", "c"], [], []),
    ],
    ids=["room", "the oldest", "two", "wanted stays", "used stays", "as many as may", "all wanted"],
)
def test_the_least_recently_used_go_until_there_is_room(
    tmp_path: Path, limit: int, wanted: list[str], used: list[str], gone: list[str]
) -> None:
    images = held(tmp_path, kept("b", 2.0), kept("c", 3.0), kept("a", 1.0), limit=limit * MB)

    assert sorted(leaving(images, frozenset(wanted), frozenset(used))) == gone


def test_one_image_of_two_names_stays_while_either_is_wanted(tmp_path: Path) -> None:
    images = held(tmp_path, kept("x:1", 1.0, made="x"), kept("x@d", 2.0, made="x"), limit=0)

    assert leaving(images, wanted=frozenset(("x@d",))) == []
    assert leaving(images) == ["x:1", "x@d"]
    assert images.ours("x")


def test_one_image_of_two_names_takes_its_room_once(tmp_path: Path) -> None:
    images = held(tmp_path, kept("x:1", 1.0, made="x"), kept("x@d", 2.0, made="x"), limit=MB)

    assert leaving(images) == []


def test_what_is_ours_is_remembered(tmp_path: Path) -> None:
    held(tmp_path, kept("a", 1.0), kept("b", 2.0), limit=0).forget("a")

    again = KeptImages(Folder(tmp_path))

    assert again.get("a") is None
    assert again.get("b") == kept("b", 2.0)


def test_a_damaged_record_leaves_all_alone(tmp_path: Path) -> None:
    Folder(tmp_path).images.write_text("{")

    assert KeptImages(Folder(tmp_path), limit_bytes=0).to_let_go(NOBODY, NOBODY, None) == ()


def test_what_the_first_boot_pulled_is_told_once(tmp_path: Path) -> None:
    images = held(tmp_path, kept("a", 1.0), limit=0)
    Folder(tmp_path).pulled_at_boot.write_text("a\nb\nb\n")

    assert images.begun_at_boot() == ("b",)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("manifest for x:1 not found: manifest unknown: manifest unknown", "missing"),
        ("pull access denied for x, repository does not exist or may require 'docker login'", "login"),
        ("Head http://x/v2/y/manifests/1: no basic auth credentials", "login"),
        ("unauthorized: authentication required", "login"),
        ("error response from daemon: 403 Forbidden", "login"),
        ("toomanyrequests: You have reached your pull rate limit", "busy"),
        ("write /var/lib/docker/tmp/x: no space left on device", "full"),
        ("filesystem layer verification failed for digest sha256:ab", "damaged"),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", "platform"),
        ("repository name not known to registry: name unknown", "missing"),
        ("dial tcp 127.0.0.1:9: connect: connection refused", "other"),
    ],
)
def test_what_docker_says_becomes_one_sentence(said: str, kind: str) -> None:
    found = refusal("i-7", "quay.io/acme/engine:v1", said)

    assert found.kind == kind
    assert "i-7" in found.message
    assert "quay.io/acme/engine" in found.message
    assert "\n" not in found.message
    assert found.hint


def test_a_digest_that_the_registry_does_not_have_is_named() -> None:
    found = refusal("i-7", f"quay.io/acme/engine@{DIGEST}", "manifest unknown")

    assert found.message == f"quay.io has no acme/engine with digest {DIGEST[:19]}…, which i-7 was told to run"
    assert found.hint.startswith("correct the digest in image:")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("vllm/vllm-openai:v1", DIGEST),
        ("docker.io/vllm/vllm-openai:v1", DIGEST),
        ("quay.io/vllm/vllm-openai:v1", ""),
        ("vllm/other", ""),
    ],
)
def test_digest_is_of_the_registry_in_the_name(name: str, found: str) -> None:
    image = Image(name=name, id="x", size=1, digests=(f"vllm/vllm-openai@{DIGEST}",))

    assert image.digest_of(name) == found
