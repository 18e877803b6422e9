"""A revision for origins that have none of their own."""

import hashlib
from collections.abc import Iterable

from fleetctl.agent.origins.origin import Contents, OriginFile


def pinned(files: Iterable[OriginFile]) -> Contents:
    """The files by path, with a digest of their paths, sizes, hashes and versions as the revision."""
    ordered = tuple(sorted(files, key=lambda file: file.path))
    digest = hashlib.sha256()
    for file in ordered:
        digest.update(f"{file.path}\0{file.size}\0{file.sha256 or ''}\0{file.version}\n".encode())
    return Contents(revision=digest.hexdigest(), files=ordered)
