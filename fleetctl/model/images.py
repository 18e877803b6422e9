"""Names of container images, taken apart: registry, repository, tag and digest."""

import re
from collections.abc import Mapping

from fleetctl.model.records import dataclass

HUB = "docker.io"
"""The registry of names that tell none."""

# Patterns as text: compiled when an image is read, and not when a fleet is looked at.
_DIGEST = r"sha256:[0-9a-f]{64}"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
"""Of a repository's path, by the distribution specification's own grammar."""
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageName:
    """What an image's name says."""

    repository: str
    """As written, with its registry and without tag and digest."""
    tag: str = ""
    digest: str = ""
    """`sha256:…`; empty: the name does not say it."""

    @property
    def registry(self) -> str:
        """`host` or `host:port`."""
        first, slash, _ = self.repository.partition("/")
        return first if slash and _is_host(first) else HUB

    @property
    def path(self) -> str:
        """The repository as its registry knows it."""
        first, slash, rest = self.repository.partition("/")
        path = rest if slash and _is_host(first) else self.repository
        return f"library/{path}" if self.registry == HUB and "/" not in path else path

    def at(self, digest: str) -> str:
        """The name of exactly that content."""
        return f"{self.repository}@{digest}"


def image_name(name: str) -> ImageName:
    """The name, taken apart; it need not be a good one."""
    rest, _, digest = name.partition("@")
    head, slash, last = rest.rpartition("/")
    last, _, tag = last.partition(":")
    return ImageName(repository=f"{head}{slash}{last}", tag=tag, digest=digest)


def image_fault(name: str) -> str:
    """What is wrong with the name of an image; empty: nothing."""
    taken = image_name(name)
    if "@" in name and not re.fullmatch(_DIGEST, taken.digest):
        return "its digest is not `sha256:` and 64 hexadecimal digits"
    if taken.tag and not re.fullmatch(_TAG, taken.tag):
        return f"{taken.tag!r} cannot be a tag"
    first, slash, rest = taken.repository.partition("/")
    parts = (rest if slash and _is_host(first) else taken.repository).split("/")
    if slash and _is_host(first) and not re.fullmatch(_HOST, first):
        return f"{first!r} cannot be a registry"
    wrong = next((part for part in parts if not re.fullmatch(_PART, part)), None)
    return "" if wrong is None else f"{wrong!r} cannot be part of a repository's name"


def pinned(name: str, pins: Mapping[str, str]) -> str:
    """The name by digest, where it says one or the fleet has pinned it; else as it is."""
    taken = image_name(name)
    if taken.digest:
        return taken.at(taken.digest)
    digest = pins.get(name, "")
    return taken.at(digest) if digest else name


def _is_host(first: str) -> bool:
    """Docker's own rule for what is a registry and not an organisation."""
    return "." in first or ":" in first or first == "localhost" or first != first.lower()
