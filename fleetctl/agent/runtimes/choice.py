"""Which runtime runs which Replica on this Node."""

from typing import Literal, assert_never

from fleetctl.agent.folder import Folder, read
from fleetctl.agent.runtimes.daemon import DockerDaemon
from fleetctl.agent.runtimes.docker import DockerRuntime
from fleetctl.agent.runtimes.images import DockerImages
from fleetctl.agent.runtimes.process import ProcessRuntime
from fleetctl.agent.runtimes.runtime import EngineRecord, Runtime, RuntimeName
from fleetctl.errors import AgentFailure
from fleetctl.model.names import InstanceId, ReplicaId
from fleetctl.model.nodes import ReplicaSpec

RuntimeChoice = Literal["process", "docker", "auto"]


class Runtimes:
    """The Node's runtimes. `auto` uses Docker for what has an image, where a daemon answers."""

    def __init__(
        self,
        choice: RuntimeChoice,
        instance: InstanceId,
        folder: Folder,
        *,
        real_gpus: bool,
        docker: str | None = None,
    ) -> None:
        """`docker`: the daemon's address; None: the usual one."""
        self._choice = choice
        self._folder = folder
        self._daemon = DockerDaemon(docker)
        self._process = ProcessRuntime(folder)
        self._docker = DockerRuntime(instance, folder, self._daemon, real_gpus=real_gpus)
        self.images = DockerImages(self._daemon, instance)

    async def pulls_images(self) -> bool:
        """Whether images are really fetched here; elsewhere there is nothing to fetch."""
        match self._choice:
            case "process":
                return False
            case "docker":
                return True
            case "auto":
                return await self._daemon.answers()
        assert_never(self._choice)

    async def containers(self) -> str:
        """What runs containers here, with its version; empty: nothing does."""
        version = "" if self._choice == "process" else await self._daemon.version()
        return f"docker {version}" if version else ""

    async def snapshotter(self) -> str:
        """What unpacks images here, where that is containerd's; empty: nothing does, or Docker's own store."""
        try:
            return "" if not await self.pulls_images() else (await self.images.facts()).snapshotter
        except AgentFailure:
            return ""

    def of_spec(self, spec: ReplicaSpec) -> Runtime:
        """The runtime that shall run it. Raises `AgentFailure` when this Node has none that can."""
        if spec.image is None:
            return self._process
        if spec.engine == "rehearsal" and self._choice != "docker":
            return self._process  # a rehearsed image holds nothing to run
        if self._choice == "process":
            raise AgentFailure(
                f"{spec.engine} wants image {spec.image}, and this node runs engines as processes only",
                hint="leave image: out, or run the node agent with --runtime docker",
            )
        return self._docker

    def of_record(self, replica: ReplicaId) -> Runtime | None:
        """The runtime that was asked for its engine earlier; None: none ever was."""
        record = read(self._folder.engine(replica), EngineRecord)
        return None if record is None else self._named(record.runtime)

    async def close(self) -> None:
        await self._daemon.close()

    def _named(self, name: RuntimeName) -> Runtime:
        match name:
            case "process":
                return self._process
            case "docker":
                return self._docker
        assert_never(name)
