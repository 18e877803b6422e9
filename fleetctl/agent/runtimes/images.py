"""Container images in this machine's Docker: looked up, pulled with progress, named, and removed."""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetctl.agent.images.credentials import login
from fleetctl.agent.images.refusals import refusal
from fleetctl.agent.runtimes.daemon import NO_CONNECTION, DockerDaemon
from fleetctl.model.images import image_name
from fleetctl.model.names import InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image that Docker has."""

    name: str
    """By which it was asked for."""
    id: str
    size: int
    """Bytes, unpacked."""
    digests: tuple[str, ...] = ()
    """`repository@sha256:…`, one for each registry that it came from."""

    def digest_of(self, name: str) -> str:
        """What the registry in the name calls it; empty: it did not come from there."""
        wanted = image_name(name)
        for one in self.digests:
            taken = image_name(one)
            if (taken.registry, taken.path) == (wanted.registry, wanted.path):
                return taken.digest
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerFacts:
    """What Docker says of itself."""

    platform: str = ""
    """As in `linux/amd64`."""
    root: Path | None = None
    """Where it keeps images; None: on another machine."""
    mirrors: tuple[str, ...] = ()
    """Addresses that it asks first for images of docker.io."""
    insecure: tuple[str, ...] = ()
    """`host:port` of registries that need no TLS, besides those on loopback."""
    snapshotter: str = ""
    """Of containerd's, what unpacks its images, as in `stargz`; empty: it has a store of its own."""


class DockerImages:
    """Raises `AgentFailure`; where a pull is refused, a `Refusal`."""

    def __init__(self, daemon: DockerDaemon, node: InstanceId) -> None:
        self._daemon = daemon
        self._node = node

    @property
    def local(self) -> bool:
        """Whether Docker is on this machine and reaches our loopback."""
        return self._daemon.local

    async def inspect(self, name: str) -> Image | None:
        """By any of its names or by its identifier; None: Docker does not have it."""
        import aiodocker

        with self._daemon.errors(f"image {name} could not be looked up on {self._node}"):
            try:
                found = await self._daemon.client().images.inspect(name)
            except aiodocker.DockerError as error:
                if error.status == 404:
                    return None
                raise
        digests = tuple(found.get("RepoDigests") or ())
        return Image(name=name, id=str(found["Id"]), size=int(found["Size"]), digests=digests)

    async def pull(self, name: str, progress: Callable[[int, int], None], *, said_of: str = "") -> None:
        """Pull the image; `progress` hears bytes done and bytes known of.

        `said_of`: what people call it, where `name` is only where it comes from.
        """
        import aiodocker

        said_of = said_of or name
        # The daemon has no logins of its own: whoever asks it brings them.
        known = await asyncio.to_thread(login, image_name(said_of).registry) if said_of == name else None
        headers = (
            {"X-Registry-Auth": _login(*known, name.partition("/")[0])} if known is not None and "/" in name else {}
        )
        params = {"fromImage": name}
        if not (image_name(name).tag or image_name(name).digest):
            params["tag"] = "latest"  # else Docker would pull every tag there is
        layers: dict[str, tuple[int, int]] = {}
        with self._daemon.errors(f"image {said_of} could not be pulled to {self._node}"):
            try:
                async with self._daemon.lines("images/create", params=params, headers=headers) as lines:
                    async for line in lines:
                        if _count(layers, line):
                            done = sum(done for done, _ in layers.values())
                            progress(done, sum(total for _, total in layers.values()))
            except aiodocker.DockerError as error:
                if error.status == NO_CONNECTION:
                    raise
                platform = (await self.facts()).platform
                raise refusal(self._node, said_of, str(error.message), platform=platform) from error

    async def tag(self, image: str, name: str) -> None:
        """Give the image this name, too."""
        taken = image_name(name)
        with self._daemon.errors(f"image {image} could not be called {name} on {self._node}"):
            await self._daemon.client().images.tag(image, taken.repository, tag=taken.tag)

    async def remove(self, name: str) -> bool:
        """Take the name from an image, and the image away with its last name; false: something uses it."""
        import aiodocker

        with self._daemon.errors(f"image {name} could not be removed from {self._node}"):
            try:
                await self._daemon.client().images.delete(name)
            except aiodocker.DockerError as error:
                if error.status == 409:
                    return False
                if error.status != 404:
                    raise
        return True

    async def used(self) -> frozenset[str]:
        """Identifiers of the images that any container here has, running or ended."""
        with self._daemon.errors(f"the containers of {self._node} could not be listed"):
            listed = await self._daemon.client().containers.list(all="true")
        return frozenset(str(one["ImageID"]) for one in listed)

    async def facts(self) -> DockerFacts:
        """As of now: its settings may change while it runs."""
        with self._daemon.errors(f"Docker on {self._node} could not be asked about itself"):
            client = self._daemon.client()
            return _facts(await client.version(), await client.system.info(), local=self._daemon.local)


def _login(user: str, password: str, server: str) -> str:
    """As Docker's API takes it."""
    said = json.dumps({"username": user, "password": password, "serveraddress": server})
    return base64.urlsafe_b64encode(said.encode()).decode()


def _count(layers: dict[str, tuple[int, int]], line: Mapping[str, Any]) -> bool:
    """Take in one line of Docker's; whether it says anything of bytes."""
    detail = line.get("progressDetail") or {}
    if line.get("status") == "Downloading" and "current" in detail:
        layers[line["id"]] = (int(detail["current"]), int(detail.get("total", detail["current"])))
    elif line.get("status") in ("Download complete", "Pull complete") and line.get("id") in layers:
        total = layers[line["id"]][1]
        layers[line["id"]] = (total, total)
    else:
        return False
    return True


def _facts(version: Mapping[str, Any], info: Mapping[str, Any], *, local: bool) -> DockerFacts:
    registries = info.get("RegistryConfig") or {}
    indexes = registries.get("IndexConfigs") or {}
    root = info.get("DockerRootDir") if local else None
    kinds = dict(pair for pair in info.get("DriverStatus") or () if len(pair) == 2)
    by_containerd = kinds.get("driver-type", "").startswith("io.containerd.snapshotter")
    return DockerFacts(
        platform=f"{version.get('Os', 'linux')}/{version.get('Arch', 'amd64')}",
        root=Path(root) if root and Path(root).is_dir() else None,
        mirrors=tuple(registries.get("Mirrors") or ()),
        snapshotter=str(info.get("Driver", "")) if by_containerd else "",
        insecure=tuple(name for name, index in indexes.items() if not index.get("Secure", True)),
    )
