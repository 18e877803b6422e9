"""The Node as a whole: its desired state, its Replicas, and the pass that brings the two together."""

import asyncio
import logging
import shutil
import time
from collections.abc import Callable

import fleetctl
from fleetctl.agent import logs
from fleetctl.agent.artifacts import Artifacts
from fleetctl.agent.caches.keeper import EngineCaches
from fleetctl.agent.chunks.store import Store
from fleetctl.agent.disk import disk_failure
from fleetctl.agent.engine_http import EngineHttp
from fleetctl.agent.facts import NO_FACTS, Facts
from fleetctl.agent.folder import Folder, plain, read, write
from fleetctl.agent.gpus import Gpus
from fleetctl.agent.images.kept import KeptImages
from fleetctl.agent.peers import Peers
from fleetctl.agent.replica_run import STOP_GRACE_S, ReplicaRun
from fleetctl.agent.runtimes.choice import Runtimes
from fleetctl.agent.sources.caches import CacheSource
from fleetctl.agent.sources.images import ImageSource
from fleetctl.agent.sources.source import Source
from fleetctl.agent.sources.weights import WeightsSource
from fleetctl.errors import AgentFailure, Conflict, NotFound, UsageError
from fleetctl.model.names import InstanceId, ReplicaId, ServiceName
from fleetctl.model.nodes import Artifact, NodeDesired, NodeStatus, ReplicaSpec
from fleetctl.model.notices import Notice
from fleetctl.model.replicas import Stage
from fleetctl.model.services import LocalMachine

log = logging.getLogger(__name__)

PASS_PERIOD_S = 0.5
"""A pass is made at every change, and this often besides, for what nobody announces: a retry that is due, a log that
has grown. An idle pass takes some 20 µs."""

_ADOPT_LIMIT_S = 5.0
"""How long the agent waits for its engines to be found again before it answers anyone; a Docker daemon that takes
longer is asked again afterwards."""

_REMOVE_PAUSE_S = 5.0
"""Wait before an engine that could not be ended is tried again: its Docker daemon is down, or its process hangs in the
kernel, and neither gets better for being asked often."""

_GPU_POLL_S = 0.05
"""How often a new engine looks whether the one before it has left its GPUs."""

_LOGS_PERIOD_S = 60.0
"""How often engines' logs are measured; at 1 MB/s of chatter a log overshoots its limit by 60 MB at most."""


class MachineGone(Exception):
    """Somebody removed the machine's folder: there is no machine to be the agent of."""


class Node:
    """Converges by itself to the newest desired state."""

    def __init__(
        self,
        *,
        instance: InstanceId,
        folder: Folder,
        gpus: Gpus,
        rehearsed: LocalMachine,
        runtimes: Runtimes,
        boot: Stage,
        facts: Callable[[], Facts] = lambda: NO_FACTS,
        notice: Callable[[], Notice | None] = lambda: None,
        peers: str = "off",
        store_limit_bytes: int | None = None,
        images_limit_bytes: int | None = None,
    ) -> None:
        self._instance = instance
        self._folder = folder
        self._gpus = gpus
        self._runtimes = runtimes
        self._boot = boot
        self._notice = notice
        self._facts = facts
        self._changed = asyncio.Event()
        self._http = EngineHttp()
        self._store = Store(folder.store, limit_bytes=store_limit_bytes)
        self._peers = Peers(self._store, peers)
        self._weights = WeightsSource(self._store, rehearsed)
        kept = KeptImages(folder, limit_bytes=images_limit_bytes)
        self._images = ImageSource(instance, runtimes, rehearsed, self._store, kept)
        compiled = CacheSource(self._store)
        sources: dict[str, Source] = {
            "image": self._images,
            "weights": self._weights,
            "cache": compiled,
        }
        self._artifacts = Artifacts(instance, folder, sources, self._changed.set)
        self._caches = EngineCaches(folder, self._store, compiled, self._artifacts, self._changed.set)
        self._desired = read(folder.desired, NodeDesired)
        self._runs: dict[ReplicaId, ReplicaRun] = {}
        self._leaving: dict[ReplicaId, ReplicaRun] = {}
        self._removals: dict[ReplicaId, asyncio.Task[None]] = {}
        self._logs_looked_at = 0.0
        self._trouble = ""
        """Of the last pass, so that it is told once."""

    async def begin(self) -> None:
        """Take up what an earlier life of the agent left, wanted or not."""
        specs = {spec.id: spec for spec in self._desired.replicas} if self._desired is not None else {}
        for replica in sorted({*self._folder.recorded_replicas(), *self._folder.recorded_engines()}):
            spec = specs.get(replica)
            run = self._run_of(spec if spec is not None else _unwanted(replica))
            (self._runs if spec is not None else self._leaving)[replica] = run
        everyone = (*self._runs.values(), *self._leaving.values())
        found = [asyncio.ensure_future(run.adopt()) for run in everyone]
        if found:
            await asyncio.wait(found, timeout=_ADOPT_LIMIT_S)
            for late in found:
                late.cancel()
            for outcome in await asyncio.gather(*found, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    log.warning("an engine is not found yet: %r", outcome)
        for run in self._runs.values():
            run.begin()
        self._passed()

    async def run(self) -> None:
        """Converge for ever. Raises `MachineGone`."""
        while True:
            try:
                async with asyncio.timeout(PASS_PERIOD_S):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            self._passed()

    def apply(self, desired: NodeDesired) -> None:
        """Take over the whole desired state; stored before this returns, where the disk has room for it.

        Raises `Conflict`, `UsageError`.
        """
        before = self._desired
        if before is not None and before.epoch == desired.epoch and desired.fence < before.fence:
            raise Conflict(
                f"desired state with fence {desired.fence} refused: {self._instance} has seen fence {before.fence}",
                hint="another controller took over; this one must stop",
            )
        for spec in desired.replicas:
            if not plain(spec.id):
                raise UsageError(f"replica id {spec.id!r} is not a plain name")
        if desired != before:
            try:
                write(self._folder.desired, desired)
            except OSError as error:  # it may be the very state that frees the disk; the controller has it in any case
                log.warning("%s", disk_failure("the desired state", error, self._folder.root).message)
            self._desired = desired
            self._changed.set()

    def look(self) -> None:
        """Make a pass now: something besides the desired state has changed."""
        self._changed.set()

    def status(self) -> NodeStatus:
        desired = self._desired
        facts = self._facts()
        return NodeStatus(
            instance=self._instance,
            version=fleetctl.__version__,
            at=time.time(),
            generation=desired.generation if desired is not None else "",
            epoch=desired.epoch if desired is not None else "",
            fence=desired.fence if desired is not None else 0,
            gpus=self._gpus.gpus,
            artifacts=tuple(self._images.told(one) for one in self._artifacts.status()),
            replicas=tuple(self._runs[replica].status() for replica in sorted(self._runs)),
            stages=(self._boot,),
            disk_free_bytes=shutil.disk_usage(self._folder.root).free,
            notice=self._notice(),
            memory_bytes=facts.memory_bytes,
            gpus_listed=self._gpus.real,
            driver=facts.driver,
            cuda=facts.cuda,
            runtime=facts.runtime,
            snapshotter=facts.snapshotter,
            instructions=facts.instructions,
            engines=facts.engines,
            peers=self._peers.address,
        )

    async def log_tail(self, replica: ReplicaId, limit_bytes: int) -> bytes:
        """Raises `NotFound`."""
        run = self._runs.get(replica)
        if run is None:
            raise NotFound(f"no replica {replica} on {self._instance}", hint="fleetctl ps -r")
        return await run.log_tail(limit_bytes)

    async def close(self, *, stop_engines: bool, grace_s: float = STOP_GRACE_S) -> None:
        """End the agent's own work; engines run on unless told to stop."""
        for removal in self._removals.values():
            removal.cancel()
        await asyncio.gather(*self._removals.values(), return_exceptions=True)
        everyone = (*self._runs.values(), *self._leaving.values())
        if stop_engines:
            ended = await asyncio.gather(*(run.remove(grace_s=grace_s) for run in everyone), return_exceptions=True)
            for failure in ended:
                if isinstance(failure, BaseException):
                    log.warning("an engine was not ended: %r", failure)
        else:
            await asyncio.gather(*(run.detach() for run in everyone))
        await self._peers.close()
        await self._caches.close()
        await self._artifacts.close()
        await self._images.close()
        await self._http.close()
        await self._runtimes.close()

    def _passed(self) -> None:
        """Make a pass. A disk that is full or broken ends no agent: engines that run are looked after all the same."""
        trouble = ""
        try:
            self._pass()
        except OSError as error:
            trouble = disk_failure(f"what {self._instance} shall do", error, self._folder.root).message
        if trouble != self._trouble:
            self._trouble = trouble
            log.warning("%s", trouble or "the disk can be written again")

    def _pass(self) -> None:
        if not self._folder.root.is_dir():
            raise MachineGone(f"{self._folder.root} was removed")
        if time.monotonic() - self._logs_looked_at > _LOGS_PERIOD_S:
            self._logs_looked_at = time.monotonic()
            logs.bound(self._folder.logs)
            logs.bound(self._folder.root)  # the agent's own
        self._remove_leaving()
        desired = self._desired
        if desired is None:
            return
        self._peers.use(desired.peer_key)
        self._weights.use(desired.hub_token)
        wanted = {spec.id: spec for spec in desired.replicas}
        for replica in [replica for replica in self._runs if replica not in wanted]:
            self._leaving[replica] = self._runs.pop(replica)
        self._remove_leaving()
        notice = self._notice()
        ending = notice is not None and notice.presses(time.time())  # what runs goes on; nothing new is begun
        artifacts: list[Artifact] = list(desired.artifacts)
        for spec in desired.replicas:
            run = self._runs.get(spec.id)
            if run is not None:
                run.update(spec)
            elif spec.id not in self._leaving and not ending:
                run = self._runs[spec.id] = self._run_of(spec)
                run.begin()
            if run is not None:
                artifacts.extend(run.artifacts)
        # An engine on its way out may still read its weights.
        in_use = (*artifacts, *(one for run in self._leaving.values() for one in run.artifacts))
        self._store.keep(in_use)
        self._images.keep(in_use, desired.feeds)
        self._artifacts.want(artifacts, desired.feeds)

    def _run_of(self, spec: ReplicaSpec) -> ReplicaRun:
        return ReplicaRun(
            spec,
            folder=self._folder,
            artifacts=self._artifacts,
            caches=self._caches,
            runtimes=self._runtimes,
            http=self._http,
            gpus_free=self._gpus_free,
        )

    def _remove_leaving(self) -> None:
        for replica, run in self._leaving.items():
            if replica not in self._removals:
                self._removals[replica] = asyncio.create_task(self._removed(replica, run))

    async def _removed(self, replica: ReplicaId, run: ReplicaRun) -> None:
        try:
            await run.remove()
        except (AgentFailure, OSError) as failure:
            log.warning("replica %s is not removed yet: %s", replica, failure)
            await asyncio.sleep(_REMOVE_PAUSE_S)
        else:
            del self._leaving[replica]
        finally:
            del self._removals[replica]
            self._changed.set()

    async def _gpus_free(self, replica: ReplicaId, gpus: tuple[int, ...]) -> None:
        """Wait until no engine on its way out, or to sleep, uses one of the GPUs: two in one memory kill each other."""
        wanted = set(gpus)
        while True:
            leaving = (run.gpus_held for run in self._on_their_way_out(replica))
            if not any(wanted & gpus for gpus in (*leaving, *self._awake_beside(replica))):
                return
            await asyncio.sleep(_GPU_POLL_S)

    def _awake_beside(self, replica: ReplicaId) -> list[frozenset[int]]:
        """GPUs of those that are awake and shall sleep; for one that shall sleep itself, of all that are awake."""
        run = self._runs.get(replica)
        standby = run is not None and run.spec.asleep
        others = (other for key, other in self._runs.items() if key != replica)
        return [other.gpus_awake for other in others if standby or other.spec.asleep]

    def _on_their_way_out(self, replica: ReplicaId) -> list[ReplicaRun]:
        failed = [run for run in self._runs.values() if run.failed and run.spec.id != replica]
        return [*self._leaving.values(), *failed]


def _unwanted(replica: ReplicaId) -> ReplicaSpec:
    """Stands for an engine whose Replica is not wanted any more; only its identifier is ever used."""
    return ReplicaSpec(id=replica, service=ServiceName(""), revision="", engine="", model="", concurrency=0, command=())
