"""Engines in containers: named and labelled, so that they are found again without a note of ours."""

import asyncio
import hashlib
import json
import re
from typing import Any

import msgspec

from fleetctl.agent.caches.working import made_parts, part
from fleetctl.agent.folder import Folder, write
from fleetctl.agent.runtimes.daemon import DockerDaemon
from fleetctl.agent.runtimes.gpu_refusals import gpu_refusal
from fleetctl.agent.runtimes.runtime import EngineRecord, Exit, StartedEngine
from fleetctl.engines import Engine, engine
from fleetctl.errors import AgentFailure, UsageError
from fleetctl.model.names import InstanceId, ReplicaId
from fleetctl.model.nodes import CacheFolder, EngineCache, ReplicaSpec

_HOST = "127.0.0.1"
_HOME = "/root"
"""Where an engine's image keeps its user's files, for the few caches that no variable moves."""

_CACHES = "/fleetctl"
"""Where the Node's caches are inside a container: weights and compiled kernels outlive it."""

_SHARED_MEMORY_BYTES = 16 * 1024**3
"""A limit, not a reservation: tensor-parallel engines pass tensors through shared memory, and Docker's own 64 MB is
too little for any of them."""

_LOG_FILE = "64m"
"""Docker keeps two files of this size per container, so that an engine's chatter cannot fill a disk of weights."""

_LOG_LINES = 2000
"""Lines asked of Docker, which counts in lines, before the tail is cut to bytes."""

_RECONNECT_S = 1.0
"""Wait before asking again after a daemon that restarts; its containers run on meanwhile."""


class DockerRuntime:
    """Runs engines as containers of the machine's Docker daemon."""

    def __init__(self, instance: InstanceId, folder: Folder, daemon: DockerDaemon, *, real_gpus: bool) -> None:
        self._instance = instance
        self._folder = folder
        self._daemon = daemon
        self._real_gpus = real_gpus

    async def start(self, spec: ReplicaSpec) -> StartedEngine:
        import aiodocker

        name = _container_name(spec.id)
        write(self._folder.engine(spec.id), EngineRecord(replica=spec.id, runtime="docker"))
        with self._daemon.errors(f"container {name} could not be started"):
            client = self._daemon.client()
            config = self._config(spec)
            try:
                container = await client.containers.create(config, name=name)
            except aiodocker.DockerError as error:
                if error.status != 409:
                    raise
                # Left by an earlier life of this Node under a name that is ours alone: not what `find` looks for.
                await client.containers.container(name).delete(force=True)
                container = await client.containers.create(config, name=name)
            try:
                await container.start()
            except aiodocker.DockerError as error:
                refused = gpu_refusal(self._instance, spec.image or "it", str(error.message))
                if refused is not None:
                    raise refused from error
                raise
        return await self._engine(spec.id, container.id)

    async def find(self, replica: ReplicaId) -> StartedEngine | None:
        labels = [f"fleetctl.replica={replica}", f"fleetctl.instance={self._instance}"]
        with self._daemon.errors(f"the container of {replica} could not be looked up"):
            found = await self._daemon.client().containers.list(all="true", filters=json.dumps({"label": labels}))
            if not found:
                return None
            seen = await found[0].show()
            if seen["State"]["Status"] == "created":
                await found[0].start()
        return await self._engine(replica, found[0].id)

    async def wait(self, started: StartedEngine) -> Exit:
        import aiodocker
        import aiohttp

        while True:
            try:
                ended = await self._daemon.client().containers.container(started.container or "").wait()
            except aiodocker.DockerError as error:
                if error.status == 404:
                    return Exit(code=None)
                # Else the daemon restarts, or is busy; its containers run on and are looked at again.
            except (aiohttp.ClientError, OSError, AgentFailure):
                pass  # the same
            else:
                return Exit(code=int(ended["StatusCode"]))
            await asyncio.sleep(_RECONNECT_S)

    def listens(self, started: StartedEngine) -> bool:
        return True  # Docker itself holds the published port

    async def exposed(self, started: StartedEngine) -> str:
        name = started.container or ""
        with self._daemon.errors(f"container {name} could not be inspected"):
            seen = await self._daemon.client().containers.container(name).show()
        if seen["HostConfig"].get("NetworkMode") == "host":
            return "the network of its machine"
        places = [place for some in (seen["NetworkSettings"]["Ports"] or {}).values() for place in some or ()]
        return next((f"{place['HostIp']}:{place['HostPort']}" for place in places if place["HostIp"] != _HOST), "")

    async def stop(self, replica: ReplicaId, *, grace_s: float) -> None:
        import aiodocker

        container = self._daemon.client().containers.container(_container_name(replica))
        with self._daemon.errors(f"container {_container_name(replica)} could not be removed"):
            try:
                await container.stop(t=round(grace_s))
                await container.delete(force=True, v=True)
            except aiodocker.DockerError as error:
                if error.status not in (404, 409):  # gone, or being removed already
                    raise
        self._folder.engine(replica).unlink(missing_ok=True)

    async def log_tail(self, replica: ReplicaId, limit_bytes: int) -> bytes:
        import aiodocker

        with self._daemon.errors(f"the log of {replica} could not be read"):
            try:
                container = self._daemon.client().containers.container(_container_name(replica))
                lines = await container.log(stdout=True, stderr=True, tail=_LOG_LINES)
            except aiodocker.DockerError as error:
                if error.status == 404:
                    return b""
                raise
        return "".join(lines).encode()[-limit_bytes:]

    async def _engine(self, replica: ReplicaId, container: str) -> StartedEngine:
        name = _container_name(replica)
        with self._daemon.errors(f"container {name} could not be inspected"):
            seen = await self._daemon.client().containers.container(container).show()
        # We publish one port. An ended container publishes none.
        published = [place for places in (seen["NetworkSettings"]["Ports"] or {}).values() for place in places or ()]
        port = int(published[0]["HostPort"]) if published else 0
        return StartedEngine(replica=replica, address=f"{_HOST}:{port}", port=port, container=name)

    def _config(self, spec: ReplicaSpec) -> dict[str, Any]:
        """The body of Docker's own `POST /containers/create`."""
        known = _known(spec)
        inside = f"{known.container_port}/tcp"  # Docker picks the port outside
        command = [
            word.replace("{port}", str(known.container_port)).replace("{python}", "python3") for word in spec.command
        ]
        variables, binds = self._caches(known, spec.cache)
        if spec.model.startswith("file://"):
            path = spec.model.removeprefix("file://")
            binds.append(f"{path}:{path}:ro")
        weights = self._folder.store / "weights"
        said = "\n".join((*command, *dict(spec.env).values()))
        for own in sorted(set(re.findall(rf"{re.escape(str(weights))}/[0-9a-f]{{64}}", said))):
            binds.append(f"{own}:{own}:ro")  # the same path as outside, nobody writes there, and nobody else's
        host: dict[str, Any] = {
            "PortBindings": {inside: [{"HostIp": _HOST, "HostPort": ""}]},
            "Binds": binds,
            "ShmSize": _SHARED_MEMORY_BYTES,
            "LogConfig": {"Type": "json-file", "Config": {"max-size": _LOG_FILE, "max-file": "2"}},
        }
        if self._real_gpus and spec.gpus:
            devices = [str(index) for index in spec.gpus]
            host["DeviceRequests"] = [{"Driver": "", "DeviceIDs": devices, "Capabilities": [["gpu"]]}]
        config: dict[str, Any] = {
            "Image": spec.image,
            "Env": [f"{name}={value}" for name, value in (variables | dict(spec.env)).items()],
            "Labels": {
                "fleetctl.replica": spec.id,
                "fleetctl.instance": self._instance,
                "fleetctl.spec": hashlib.sha256(msgspec.json.encode(spec)).hexdigest()[:16],
            },
            "ExposedPorts": {inside: {}},
            "HostConfig": host,
        }
        if command:
            config["Cmd"] = command  # follows the image's own entry point
        return config

    def _caches(self, known: Engine, kept: EngineCache | None) -> tuple[dict[str, str], list[str]]:
        """The engine's caches as folders of the Node: variables that lead there, and what is bound where.

        `kept`: those of which others have use, too; they have places of their own.
        """
        places = made_parts(self._folder, kept) if kept is not None else []
        known_places = {one for one, _ in places}
        for cache in known.caches:
            one = CacheFolder(path=cache.path, env=cache.env)
            if one not in known_places:
                name = cache.holds if cache.holds == "weights" else part(one)
                outside = self._folder.cache / f"{known.name}-{name}"
                outside.mkdir(exist_ok=True)
                outside.chmod(0o777)  # whoever the image's user is; nobody else comes through the machine's folder
                places.append((one, outside))
        variables = {one.env: f"{_CACHES}/{part(one)}" for one, _ in places if one.env is not None}
        inside = {one: f"{_CACHES}/{part(one)}" if one.env else one.path.replace("~", _HOME, 1) for one, _ in places}
        return variables, [f"{outside}:{inside[one]}" for one, outside in places]


def _known(spec: ReplicaSpec) -> Engine:
    try:
        return engine(spec.engine)
    except UsageError as error:
        raise AgentFailure(f"this node cannot run {spec.engine}: {error.message}", hint=error.hint) from error


def _container_name(replica: ReplicaId) -> str:
    return f"fleetctl-{replica}"
