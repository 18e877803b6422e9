"""Manifests of images: what kind one is, and the blobs that an image of one platform consists of."""

import hashlib

import msgspec

from fleetctl.agent.images.refusals import refusal
from fleetctl.errors import AgentFailure

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
"""Name one manifest for each platform."""
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
SIZE_MAX_BYTES = 8 * 1024**2
"""Of a manifest; registries themselves take 4 MB."""


class _Platform(msgspec.Struct, frozen=True):
    os: str = ""
    architecture: str = ""
    variant: str = ""


class Blob(msgspec.Struct, frozen=True):
    """Something that a manifest names."""

    digest: str
    size: int
    media_type: str = msgspec.field(name="mediaType", default="")
    platform: _Platform | None = None


class Manifest(msgspec.Struct, frozen=True):
    """Of an image, or an index of such."""

    media_type: str = msgspec.field(name="mediaType", default="")
    config: Blob | None = None
    layers: tuple[Blob, ...] = ()
    manifests: tuple[Blob, ...] = ()

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEX_TYPES or (not self.media_type and self.config is None)

    @property
    def kind(self) -> str:
        """Its media type; OCI's may leave it out of the text."""
        return self.media_type or (INDEX_TYPES[0] if self.is_index else MANIFEST_TYPES[0])


def digest_of(text: bytes) -> str:
    return f"sha256:{hashlib.sha256(text).hexdigest()}"


def parsed(name: str, text: bytes) -> Manifest:
    """Raises `AgentFailure` naming the image."""
    try:
        found = msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError:
        raise AgentFailure(f"the manifest of image {name} cannot be read", hint="push the image again") from None
    if not found.is_index and found.kind not in MANIFEST_TYPES:
        raise AgentFailure(
            f"image {name} has a manifest of kind {found.media_type}, which is not of an image",
            hint="push it again with a newer Docker",
        )
    return found


def of_platform(node: str, name: str, index: Manifest, platform: str) -> Blob:
    """The manifest for `os/architecture`. Raises `Refusal`."""
    os, _, architecture = platform.partition("/")
    for blob in index.manifests:
        if blob.platform is not None and (blob.platform.os, blob.platform.architecture) == (os, architecture):
            return blob
    raise refusal(node, name, "no matching manifest", platform=platform)
