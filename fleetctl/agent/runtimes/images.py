"""Container images on this machine: pulled with progress, and removed when nothing wants them."""

from collections.abc import Callable

from fleetctl.agent.runtimes.daemon import DockerDaemon


class DockerImages:
    def __init__(self, daemon: DockerDaemon) -> None:
        self._daemon = daemon

    async def held(self, name: str) -> int | None:
        """The image's size in bytes; None: this machine does not have it. Raises `AgentFailure`."""
        import aiodocker

        with self._daemon.errors(f"image {name} could not be looked up"):
            try:
                found = await self._daemon.client().images.inspect(name)
            except aiodocker.DockerError as error:
                if error.status == 404:
                    return None
                raise
        return int(found["Size"])

    async def pull(self, name: str, progress: Callable[[int, int], None]) -> None:
        """Pull the image; `progress` hears bytes done and bytes known of. Raises `AgentFailure`."""
        layers: dict[str, tuple[int, int]] = {}
        with self._daemon.errors(f"image {name} could not be pulled"):
            async for line in self._daemon.client().images.pull(name, stream=True):
                detail = line.get("progressDetail") or {}
                if line.get("status") == "Downloading" and "current" in detail:
                    layers[line["id"]] = (int(detail["current"]), int(detail.get("total", detail["current"])))
                elif line.get("status") in ("Download complete", "Pull complete") and line.get("id") in layers:
                    total = layers[line["id"]][1]
                    layers[line["id"]] = (total, total)
                else:
                    continue
                progress(sum(done for done, _ in layers.values()), sum(total for _, total in layers.values()))

    async def remove(self, name: str) -> bool:
        """Remove the image unless something uses it; whether it is gone. Raises `AgentFailure`."""
        import aiodocker

        with self._daemon.errors(f"image {name} could not be removed"):
            try:
                await self._daemon.client().images.delete(name)
            except aiodocker.DockerError as error:
                if error.status == 409:
                    return False
                if error.status != 404:
                    raise
        return True
