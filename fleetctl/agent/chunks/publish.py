"""From a staging folder to one that anyone may use: on disk for good, under its name at once, then left as it is."""

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fleetctl.agent.chunks.hashes import HASH_BYTES
from fleetctl.agent.chunks.layout import Layout, manifest_digest
from fleetctl.agent.chunks.staging import Staging
from fleetctl.agent.disk import cleared
from fleetctl.agent.folder import write
from fleetctl.errors import AgentFailure

_FILE_MODE = 0o444
_FOLDER_MODE = 0o555

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a published Artifact consists of; beside its folder, as `DIGEST.json`."""

    layout: Layout
    hashes: bytes
    """Of all chunks, one after the other."""

    @property
    def digest(self) -> str:
        return manifest_digest(self.layout, self.chunk_hashes())

    def chunk_hashes(self) -> tuple[bytes, ...]:
        return tuple(self.hashes[at : at + HASH_BYTES] for at in range(0, len(self.hashes), HASH_BYTES))


def publish(staging: Staging, shelf: Path) -> Path:
    """Move a whole, verified staging folder to `shelf/DIGEST`; a crash leaves all of it or nothing. May be repeated."""
    if staging.missing_count:
        raise AssertionError(f"{staging.missing_count} chunks of {staging.name} are missing")
    digest = staging.digest
    goal = shelf / digest
    shelf.mkdir(parents=True, exist_ok=True)
    write(shelf / f"{digest}.json", Manifest(layout=staging.layout, hashes=b"".join(staging.hashes)))
    if not goal.exists():
        folders = list(_folders(staging.tree))
        for file in staging.layout.files:
            path = staging.tree / file.path
            path.chmod(_FILE_MODE)
            _sync(path)
        for folder in folders[1:]:
            folder.chmod(_FOLDER_MODE)
        for folder in folders:
            _sync(folder)
        staging.tree.rename(goal)
        _sync(shelf)
        goal.chmod(_FOLDER_MODE)  # a folder of ours to move must be ours to write to
    staging.remove()
    return goal


def take_away(shelf: Path, digest: str) -> None:
    """Remove what was published; may be repeated."""
    goal = shelf / digest
    leaving = shelf / f".{digest}.leaving"
    if goal.exists():
        cleared(leaving)
        goal.chmod(0o755)
        goal.rename(leaving)
    (shelf / f"{digest}.json").unlink(missing_ok=True)
    cleared(leaving)


def sweep(shelf: Path) -> None:
    """Remove what a crash left half removed or half written."""
    for left in shelf.glob(".*"):
        if left.is_dir():
            cleared(left)
        else:
            left.unlink(missing_ok=True)


def forget_all_but(shelf: Path, digests: Collection[str]) -> None:
    """Remove what is published under any other digest: a crash came between it and the note of it."""
    for path in list(shelf.iterdir()):
        digest = path.name.removesuffix(".json")
        if _DIGEST.fullmatch(digest) and digest not in digests:
            take_away(shelf, digest)


def published(shelf: Path, digest: str) -> Manifest | None:
    """What was published under the digest, if its files are all there in their full size."""
    try:
        manifest = msgspec.json.decode((shelf / f"{digest}.json").read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        return None
    layout = manifest.layout
    if len(manifest.hashes) != layout.count * HASH_BYTES or manifest.digest != digest:
        return None
    for file in layout.files:
        try:
            if (shelf / digest / file.path).stat().st_size != file.size:
                return None
        except OSError:
            return None
    return manifest


def _folders(root: Path) -> Iterator[Path]:
    for folder, _, _ in os.walk(root):
        yield Path(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise AgentFailure(f"{path} could not be written to its disk: {error.strerror}") from None
    finally:
        os.close(descriptor)
