"""The life of one Replica on this Node: artifacts, engine, readiness, sleep and wake, until it fails or is removed."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, assert_never

from fleetctl.agent.artifacts import Artifacts
from fleetctl.agent.caches.keeper import EngineCaches
from fleetctl.agent.disk import disk_failure
from fleetctl.agent.engine_http import EngineHttp
from fleetctl.agent.failures import LOG_BYTES, cannot_sleep, last_words, port_taken
from fleetctl.agent.folder import Folder
from fleetctl.agent.placed import placed
from fleetctl.agent.read_ahead import read_ahead
from fleetctl.agent.readiness import ask_in_order, until_ready, warm_up
from fleetctl.agent.replica_records import KeptRecord, ReplicaRecord
from fleetctl.agent.runtimes.choice import Runtimes
from fleetctl.agent.runtimes.runtime import WATCH_PERIOD_S, Exit, Runtime, StartedEngine
from fleetctl.agent.supplies import Preparing, fetch_stages, needs, weights
from fleetctl.errors import AgentFailure
from fleetctl.model.names import ReplicaId
from fleetctl.model.nodes import Artifact, ReplicaSpec, ReplicaStatus
from fleetctl.model.replicas import ReplicaPhase, Stage

log = logging.getLogger(__name__)

STOP_GRACE_S = 10.0
"""From SIGTERM to SIGKILL. The controller drains before it removes, so an engine has nothing left to finish; vLLM
takes about two seconds to leave."""

_PORT_TRIES = 3
"""A free port may be taken by another process before the engine binds it: rare, and rarer still twice."""

_ADOPT_PAUSE_S = 1.0
"""Wait before asking again for the engines of a runtime that does not answer."""

_GPU_WAIT_S = 0.01
"""Less is no wait: the GPUs were free."""


class ReplicaRun:
    """One Replica. Its engine outlives this object; `remove` ends both."""

    def __init__(
        self,
        spec: ReplicaSpec,
        *,
        folder: Folder,
        artifacts: Artifacts,
        caches: EngineCaches,
        runtimes: Runtimes,
        http: EngineHttp,
        gpus_free: Callable[[ReplicaId, tuple[int, ...]], Awaitable[None]],
    ) -> None:
        self.spec = spec
        self._folder = folder
        self._artifacts = artifacts
        self._caches = caches
        self._runtimes = runtimes
        self._http = http
        self._gpus_free = gpus_free
        self._kept = KeptRecord(spec, folder)
        self._phase = ReplicaPhase.PREPARING if self._record.failure is None else ReplicaPhase.FAILED
        self._engine: StartedEngine | None = None
        self._made_at = time.time()
        self._adopted = False
        self._awake = False
        self._task: asyncio.Task[None] | None = None
        self._starting: asyncio.Future[StartedEngine] | None = None
        self._news = asyncio.Event()
        self._preparing = Preparing(spec.id, caches)
        self._reading: asyncio.Task[int] | None = None
        """Has the weights come into memory."""
        if self._kept.found and self._record.spec.cache is not None:
            caches.use(spec.id, self._record.spec.cache)

    @property
    def _record(self) -> ReplicaRecord:
        return self._kept.now

    @property
    def gpus_held(self) -> frozenset[int]:
        """GPUs that an engine of it may still be using."""
        held = self._engine is not None if self._adopted else self._record.was_started
        return frozenset(self._record.spec.gpus) if held else frozenset()

    @property
    def gpus_awake(self) -> frozenset[int]:
        """GPUs whose memory it has for itself: from before its engine is started or woken until that sleeps or ends."""
        awake = self._awake if self._adopted else self._record.was_started and self._record.asleep is not True
        return frozenset(self._record.spec.gpus) if awake else frozenset()

    @property
    def failed(self) -> bool:
        return self._phase is ReplicaPhase.FAILED

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """What its engine needs on this machine."""
        caches = (cache for cache in (self._record.spec.cache, self.spec.cache) if cache is not None)
        kept = tuple(cache.artifact for cache in caches if self._caches.holds(cache))
        return needs(self._record.spec) + needs(self.spec) + kept

    def begin(self) -> None:
        self._task = asyncio.ensure_future(self._live())

    def update(self, spec: ReplicaSpec) -> None:
        """Take over what may change without a restart: asleep or awake, paths and patience. Never restarts."""
        if spec != self.spec:
            self.spec = spec
            self._news.set()

    async def adopt(self) -> None:
        """Take up the engine that an earlier life of the agent started. Raises `AgentFailure`: ask again."""
        runtime = self._runtimes.of_record(self.spec.id)
        if runtime is not None:
            self._engine = await runtime.find(self.spec.id)
        self._adopted = True
        self._awake = self._engine is not None and self._record.asleep is not True
        if self._engine is not None and self._record.failure is None and self._record.was_ready:
            self._phase = self._resting_phase()
        elif self._engine is not None and self._record.failure is None:
            self._phase = ReplicaPhase.LOADING

    async def detach(self) -> None:
        """Stop looking after it; its engine runs on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._preparing.detach()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)

    async def remove(self, *, grace_s: float = STOP_GRACE_S) -> None:
        """End its engine and forget it. May be repeated after an error."""
        await self.detach()
        await self._end_engine(grace_s)
        self._folder.log(self.spec.id).unlink(missing_ok=True)
        self._kept.forget()

    async def log_tail(self, limit_bytes: int) -> bytes:
        return await self._runtime().log_tail(self.spec.id, limit_bytes)

    def status(self) -> ReplicaStatus:
        record = self._record
        engine = self._engine
        fetches = () if record.stage("engine") else fetch_stages(self._artifacts, record)
        return ReplicaStatus(
            id=record.spec.id,
            service=record.spec.service,
            revision=record.spec.revision,
            phase=self._phase,
            gpus=record.spec.gpus,
            address=engine.address if engine is not None else None,
            stages=(*fetches, *record.stages),
            accepted_at=record.accepted_at,
            pid=engine.process.pid if engine is not None and engine.process is not None else None,
            container=engine.container if engine is not None else None,
            failure=record.failure,
        )

    async def _live(self) -> None:
        try:
            await self._run()
        except AgentFailure as failure:
            await self._fail(f"{failure.message}; {failure.hint}" if failure.hint else failure.message)
        except OSError as error:
            full = disk_failure(f"replica {self.spec.id}", error, self._folder.root)
            await self._fail(f"{full.message}; {full.hint}")
        except Exception as error:  # a fault of ours in one Replica's life must not leave the others without an agent
            log.exception("replica %s", self.spec.id)
            await self._fail(f"the node agent failed with {type(error).__name__}; agent.log on the node says more")

    async def _run(self) -> None:
        while not self._adopted:
            try:
                await self.adopt()
            except AgentFailure as failure:
                log.warning("replica %s: %s", self.spec.id, failure.message)
                await asyncio.sleep(_ADOPT_PAUSE_S)
        if self._record.failure is not None:
            await self._end_engine()
            return
        for tries_left in reversed(range(_PORT_TRIES)):
            engine = self._engine or await self._start_engine()
            runtime = self._runtime()
            end = await self._until_exit(engine, runtime)
            text = await runtime.log_tail(self.spec.id, LOG_BYTES)
            if tries_left and not self._record.was_ready and port_taken(text):
                await self._end_engine()
                continue
            when = "" if self._record.was_ready else " before it was ready"
            raise AgentFailure(f"{self.spec.engine} {end}{when}{last_words(self.spec, text)}")

    async def _start_engine(self) -> StartedEngine:
        self._phase = ReplicaPhase.PREPARING
        if self._record.spec != self.spec:
            self._kept.keep(replace(self._record, spec=self.spec))  # nothing was started yet: the newest counts
        spec = self.spec
        if spec.asleep and not spec.sleep:
            raise cannot_sleep(spec)
        runtime = self._runtimes.of_spec(spec)
        spec = await self._supplied()
        where = self._artifacts.path(weights(spec))
        if where:
            self._reading = asyncio.ensure_future(read_ahead(Path(where)))
        cached = await self._preparing.done(spec.cache)
        ready = placed(spec, where)
        if spec.image is not None:
            # By its own name, or by the one that the image was given here.
            ready = replace(ready, image=self._artifacts.path(Artifact(kind="image", name=spec.image)) or spec.image)
        there_at = time.time()
        await self._take_gpus()
        self._phase = ReplicaPhase.LOADING
        begun = Stage(name="engine", started_at=time.time())
        stages = fetch_stages(self._artifacts, self._record)
        if cached is not None:
            stages = (*stages, cached)
        if begun.started_at - there_at > _GPU_WAIT_S:
            stages = (*stages, Stage(name="gpus", started_at=there_at, ended_at=begun.started_at))
        self._kept.keep(replace(self._record, spec=spec, stages=(*stages, begun), asleep=False))
        # Broken off half-way, a start may still happen: whoever ends this Replica first waits for it.
        self._starting = asyncio.ensure_future(runtime.start(ready))
        self._engine = await asyncio.shield(self._starting)
        return self._engine

    async def _supplied(self) -> ReplicaSpec:
        """The newest spec, once all that it needs is here. An image may be wanted by its digest meanwhile."""
        while True:
            spec = self.spec
            if self._record.spec != spec:
                self._kept.keep(replace(self._record, spec=spec))
            self._news.clear()
            self._preparing.begin(spec.cache)
            here = asyncio.gather(*(self._artifacts.present(artifact) for artifact in needs(spec)))
            news = asyncio.ensure_future(self._news.wait())
            waited: list[asyncio.Future[Any]] = [here, news]
            try:
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if here.done() and needs(self.spec) == needs(spec):
                    here.result()
                    if self.spec == spec:
                        return spec
            finally:
                here.cancel()
                news.cancel()
                await asyncio.gather(here, news, return_exceptions=True)

    async def _until_exit(self, engine: StartedEngine, runtime: Runtime) -> Exit:
        """Look after the engine until it ends. Raises `AgentFailure` when it shall be ended instead."""
        care = asyncio.ensure_future(self._care(engine, runtime))
        end = asyncio.ensure_future(runtime.wait(engine))
        try:
            await asyncio.wait({care, end}, return_when=asyncio.FIRST_COMPLETED)
            if not end.done():
                # An engine that dies breaks off what it was asked; that it died is the better explanation.
                await asyncio.wait({end}, timeout=3 * WATCH_PERIOD_S)
            if end.done():
                return end.result()
            await care
            raise AssertionError("care ends only by raising")
        finally:
            care.cancel()
            end.cancel()
            await asyncio.gather(care, end, return_exceptions=True)

    async def _care(self, engine: StartedEngine, runtime: Runtime) -> None:
        if not self._record.ended("engine"):
            await self._until_ready(engine, runtime, "engine")
        if self.spec.sleepable and (where := await runtime.exposed(engine)):
            raise AgentFailure(
                f"{self.spec.engine} listens on {where}, and who reaches it there could put it to sleep and steer it",
                hint="take --host out of args and command, so that it listens on 127.0.0.1",
            )
        if not self._record.was_ready:
            await self._warm_up(engine)
        self._caches.save_soon(self._record.spec.cache)
        while True:
            self._news.clear()
            if self.spec.asleep and self._record.asleep is not True:
                await self._put_to_sleep(engine)
            elif not self.spec.asleep and self._record.asleep is not False:
                await self._wake(engine, runtime)
            self._phase = self._resting_phase()
            await self._news.wait()

    async def _until_ready(self, engine: StartedEngine, runtime: Runtime, stage: str) -> None:
        """Probe until the engine is ready and end its open stage. Raises `AgentFailure` after the startup time-out."""
        self._phase = ReplicaPhase.LOADING
        begun = self._record.stage(stage)
        since = begun.started_at if begun is not None else time.time()
        await until_ready(self._http, engine, runtime, wanted=lambda: self.spec, since=since)
        warms_up = stage == "engine" and bool(self._record.spec.warm_up)
        self._kept.end_stage(stage, then=Stage(name="warm_up", started_at=time.time()) if warms_up else None)

    async def _warm_up(self, engine: StartedEngine) -> None:
        self._phase = ReplicaPhase.LOADING
        begun = self._record.stage("engine")
        # While the agent was away nobody could warm it up: that time is not the engine's.
        since = max(begun.started_at if begun is not None else 0.0, self._made_at)
        await warm_up(self._http, engine, self._record.spec, since=since)
        self._kept.end_stage("warm_up")

    async def _put_to_sleep(self, engine: StartedEngine) -> None:
        if not self.spec.sleep:
            raise cannot_sleep(self.spec)
        self._phase = ReplicaPhase.LOADING
        if self._record.asleep is None:
            # Half asleep, it would take the call to sleep for done: first it is woken to the end.
            await ask_in_order(self._http, engine, self._record.wake or self.spec.wake)
        self._kept.keep(replace(self._record, asleep=None, wake=self.spec.wake))
        await ask_in_order(self._http, engine, self.spec.sleep)
        self._kept.keep(replace(self._record, asleep=True))
        self._awake = False

    async def _wake(self, engine: StartedEngine, runtime: Runtime) -> None:
        calls = self._record.wake or self.spec.wake
        if not calls:
            raise AgentFailure(f"{self.spec.engine} cannot be woken")
        self._phase = ReplicaPhase.LOADING
        others = tuple(stage for stage in self._record.stages if stage.name != "wake")
        begun = Stage(name="wake", started_at=time.time())
        self._kept.keep(replace(self._record, stages=(*others, begun)))
        await self._take_gpus()
        self._kept.keep(replace(self._record, asleep=None, wake=calls))
        await ask_in_order(self._http, engine, calls)
        await self._until_ready(engine, runtime, "wake")
        self._kept.keep(replace(self._record, asleep=False, wake=()))

    async def _take_gpus(self) -> None:
        """Wait for the GPUs, and have them from then on: nothing happens between the last look and the taking."""
        await self._gpus_free(self.spec.id, self._record.spec.gpus)
        self._awake = True

    async def _fail(self, failure: str) -> None:
        self._phase = ReplicaPhase.FAILED
        for stage in self._record.stages:
            self._kept.end_stage(stage.name)
        self._kept.keep(replace(self._record, failure=failure))
        log.warning("replica %s failed: %s", self.spec.id, failure)
        try:
            await self._end_engine()
        except AgentFailure as still_there:
            self._kept.keep(replace(self._record, failure=f"{failure}; {still_there.message}"))

    async def _end_engine(self, grace_s: float = STOP_GRACE_S) -> None:
        runtime = self._runtimes.of_record(self.spec.id)
        if runtime is None and self._engine is not None:
            runtime = self._runtimes.of_spec(self._record.spec)  # its record was removed with the machine's folder
        if runtime is not None:
            await runtime.stop(self.spec.id, grace_s=grace_s)
        self._engine = None
        self._adopted = True
        self._awake = False
        self._preparing.cancel()
        self._caches.leave(self.spec.id)

    def _runtime(self) -> Runtime:
        return self._runtimes.of_record(self.spec.id) or self._runtimes.of_spec(self._record.spec)

    def _resting_phase(self) -> ReplicaPhase:
        match self._record.asleep:
            case True:
                return ReplicaPhase.ASLEEP
            case False:
                return ReplicaPhase.READY
            case None:
                return ReplicaPhase.LOADING
        assert_never(self._record.asleep)
