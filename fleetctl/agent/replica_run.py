"""The life of one Replica on this Node: artifacts, engine, readiness, sleep and wake, until it fails or is removed."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, assert_never

from fleetctl.agent.artifacts import Artifacts
from fleetctl.agent.caches.keeper import EngineCaches
from fleetctl.agent.disk import disk_failure
from fleetctl.agent.engine_http import EngineHttp
from fleetctl.agent.folder import Folder, read, write
from fleetctl.agent.logs import last_lines
from fleetctl.agent.placed import placed
from fleetctl.agent.read_ahead import read_ahead
from fleetctl.agent.runtimes.choice import Runtimes
from fleetctl.agent.runtimes.runtime import WATCH_PERIOD_S, Exit, Runtime, StartedEngine
from fleetctl.engines import engine, log_hint
from fleetctl.errors import AgentFailure, UsageError
from fleetctl.model.names import ReplicaId
from fleetctl.model.nodes import Artifact, Call, EngineCache, ReplicaSpec, ReplicaStatus
from fleetctl.model.replicas import ReplicaPhase, Stage

log = logging.getLogger(__name__)

STOP_GRACE_S = 10.0
"""From SIGTERM to SIGKILL. The controller drains before it removes, so an engine has nothing left to finish; vLLM
takes about two seconds to leave."""

_PORT_TRIES = 3
"""A free port may be taken by another process before the engine binds it: rare, and rarer still twice."""

_PORT_TAKEN = ("address already in use", "eaddrinuse", "errno 98")

_PROBE_FIRST_S = 0.05
_PROBE_GROWTH = 1.3
_PROBE_MOST_S = 1.0
"""Readiness is asked for often at first, when a rehearsal or a woken engine answers within a tenth of a second, and
once a second later, when an engine compiles for minutes."""

_CONTROL_TRIES = 3
_CONTROL_PAUSE_S = 0.5
"""Going to sleep and waking may be refused by an engine that is just busy; three refusals are a failure."""

_ADOPT_PAUSE_S = 1.0
"""Wait before asking again for the engines of a runtime that does not answer."""

_GPU_WAIT_S = 0.01
"""Less is no wait: the GPUs were free."""

_LOG_LINES = 10
_LOG_WIDTH = 200
_LOG_BYTES = 32 * 1024
"""Of a failed engine's log, in the failure's message: what a person reads first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """What must not be forgotten of a Replica while the agent is away."""

    spec: ReplicaSpec
    """As its engine was started."""
    accepted_at: float
    stages: tuple[Stage, ...] = ()
    asleep: bool | None = False
    """None: it was asked to change and the answer is not known."""
    wake: tuple[Call, ...] = ()
    """What wakes it from the sleep that it was last sent to, whatever its spec says by now; empty: it is awake."""
    failure: str | None = None


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
        found = read(folder.replica(spec.id), _Record)
        self._record = found or _Record(spec=spec, accepted_at=time.time())
        self._phase = ReplicaPhase.PREPARING if self._record.failure is None else ReplicaPhase.FAILED
        self._engine: StartedEngine | None = None
        self._made_at = time.time()
        self._adopted = False
        self._awake = False
        self._task: asyncio.Task[None] | None = None
        self._starting: asyncio.Future[StartedEngine] | None = None
        self._news = asyncio.Event()
        self._preparing: asyncio.Task[Stage | None] | None = None
        """Puts back what engines of this kind have compiled before…"""
        self._prepared: EngineCache | None = None
        """…of this key."""
        self._reading: asyncio.Task[int] | None = None
        """Has the weights come into memory."""
        if found is None:
            self._keep(self._record)
        elif found.spec.cache is not None:
            caches.use(spec.id, found.spec.cache)

    @property
    def gpus_held(self) -> frozenset[int]:
        """GPUs that an engine of it may still be using."""
        held = self._engine is not None if self._adopted else self._was_started()
        return frozenset(self._record.spec.gpus) if held else frozenset()

    @property
    def gpus_awake(self) -> frozenset[int]:
        """GPUs whose memory it has for itself: from before its engine is started or woken until that sleeps or ends."""
        awake = self._awake if self._adopted else self._was_started() and self._record.asleep is not True
        return frozenset(self._record.spec.gpus) if awake else frozenset()

    @property
    def failed(self) -> bool:
        return self._phase is ReplicaPhase.FAILED

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """What its engine needs on this machine."""
        caches = (cache for cache in (self._record.spec.cache, self.spec.cache) if cache is not None)
        kept = tuple(cache.artifact for cache in caches if self._caches.holds(cache))
        return _needs(self._record.spec) + _needs(self.spec) + kept

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
        if self._engine is not None and self._record.failure is None and self._was_ready():
            self._phase = self._resting_phase()
        elif self._engine is not None and self._record.failure is None:
            self._phase = ReplicaPhase.LOADING

    async def detach(self) -> None:
        """Stop looking after it; its engine runs on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        for task in (self._preparing, self._reading):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)

    async def remove(self, *, grace_s: float = STOP_GRACE_S) -> None:
        """End its engine and forget it. May be repeated after an error."""
        await self.detach()
        await self._end_engine(grace_s)
        self._folder.log(self.spec.id).unlink(missing_ok=True)
        self._folder.replica(self.spec.id).unlink(missing_ok=True)

    async def log_tail(self, limit_bytes: int) -> bytes:
        return await self._runtime().log_tail(self.spec.id, limit_bytes)

    def status(self) -> ReplicaStatus:
        record = self._record
        engine = self._engine
        stages = record.stages if _stage(record.stages, "engine") else (*self._artifact_stages(), *record.stages)
        return ReplicaStatus(
            id=record.spec.id,
            service=record.spec.service,
            revision=record.spec.revision,
            phase=self._phase,
            gpus=record.spec.gpus,
            address=engine.address if engine is not None else None,
            stages=stages,
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
            text = await runtime.log_tail(self.spec.id, _LOG_BYTES)
            if tries_left and not self._was_ready() and _port_taken(text):
                await self._end_engine()
                continue
            when = "" if self._was_ready() else " before it was ready"
            raise AgentFailure(f"{self.spec.engine} {end}{when}{_last_words(self.spec, text)}")

    async def _start_engine(self) -> StartedEngine:
        self._phase = ReplicaPhase.PREPARING
        if self._record.spec != self.spec:
            self._keep(replace(self._record, spec=self.spec))  # nothing was started yet: the newest counts
        spec = self.spec
        if spec.asleep and not spec.sleep:
            raise _cannot_sleep(spec)
        runtime = self._runtimes.of_spec(spec)
        spec = await self._supplied()
        weights = self._artifacts.path(_weights(spec))
        if weights:
            self._reading = asyncio.ensure_future(read_ahead(Path(weights)))
        cached = await self._cached(spec)
        ready = placed(spec, weights)
        if spec.image is not None:
            # By its own name, or by the one that the image was given here.
            ready = replace(ready, image=self._artifacts.path(Artifact(kind="image", name=spec.image)) or spec.image)
        there_at = time.time()
        await self._take_gpus()
        self._phase = ReplicaPhase.LOADING
        begun = Stage(name="engine", started_at=time.time())
        stages = self._artifact_stages(cached)
        if begun.started_at - there_at > _GPU_WAIT_S:
            stages = (*stages, Stage(name="gpus", started_at=there_at, ended_at=begun.started_at))
        self._keep(replace(self._record, spec=spec, stages=(*stages, begun), asleep=False))
        # Broken off half-way, a start may still happen: whoever ends this Replica first waits for it.
        self._starting = asyncio.ensure_future(runtime.start(ready))
        self._engine = await asyncio.shield(self._starting)
        return self._engine

    async def _supplied(self) -> ReplicaSpec:
        """The newest spec, once all that it needs is here. An image may be wanted by its digest meanwhile."""
        while True:
            spec = self.spec
            if self._record.spec != spec:
                self._keep(replace(self._record, spec=spec))
            self._news.clear()
            self._begin_cache(spec)
            here = asyncio.gather(*(self._artifacts.present(artifact) for artifact in _needs(spec)))
            news = asyncio.ensure_future(self._news.wait())
            waited: list[asyncio.Future[Any]] = [here, news]
            try:
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if here.done() and _needs(self.spec) == _needs(spec):
                    here.result()
                    if self.spec == spec:
                        return spec
            finally:
                here.cancel()
                news.cancel()
                await asyncio.gather(here, news, return_exceptions=True)

    def _begin_cache(self, spec: ReplicaSpec) -> None:
        """Beside the image and the weights; it is done when they are, or hardly later."""
        if spec.cache != self._prepared:
            if self._preparing is not None:
                self._preparing.cancel()
            self._preparing = None
            if spec.cache is not None:
                self._preparing = asyncio.ensure_future(self._caches.prepare(spec.id, spec.cache))
            self._prepared = spec.cache

    async def _cached(self, spec: ReplicaSpec) -> Stage | None:
        self._begin_cache(spec)
        return await asyncio.shield(self._preparing) if self._preparing is not None else None

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
        if not _ended(self._record.stages, "engine"):
            await self._until_ready(engine, runtime, "engine")
        if self.spec.sleepable and (where := await runtime.exposed(engine)):
            raise AgentFailure(
                f"{self.spec.engine} listens on {where}, and who reaches it there could put it to sleep and steer it",
                hint="take --host out of args and command, so that it listens on 127.0.0.1",
            )
        if not self._was_ready():
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
        begun = _stage(self._record.stages, stage)
        since = begun.started_at if begun is not None else time.time()
        pause_s = _PROBE_FIRST_S
        while not (await self._answers(engine) and runtime.listens(engine)):
            if time.time() - since > self.spec.startup_timeout_s:
                text = await runtime.log_tail(self.spec.id, _LOG_BYTES)
                raise AgentFailure(
                    f"{self.spec.engine} was not ready within {self.spec.startup_timeout_s:g} s "
                    f"({_asked(self.spec)}){_last_words(self.spec, text)}"
                )
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * _PROBE_GROWTH, _PROBE_MOST_S)
        warms_up = stage == "engine" and bool(self._record.spec.warm_up)
        self._end_stage(stage, then=Stage(name="warm_up", started_at=time.time()) if warms_up else None)

    async def _answers(self, engine: StartedEngine) -> bool:
        """Whether the engine calls itself ready, and lists its model where it lists any."""
        listed = self.spec.lists
        ready = await self._http.ready(engine.address, self.spec.readiness_path)
        return ready and (listed is None or await self._http.answers(engine.address, listed))

    async def _warm_up(self, engine: StartedEngine) -> None:
        """What it has not done yet, it compiles now and not with a user waiting. Raises `AgentFailure`."""
        self._phase = ReplicaPhase.LOADING
        spec = self._record.spec
        begun = _stage(self._record.stages, "engine")
        # While the agent was away nobody could warm it up: that time is not the engine's.
        since = max(begun.started_at if begun is not None else 0.0, self._made_at)
        for number, call in enumerate(spec.warm_up, 1):
            try:
                async with asyncio.timeout(spec.startup_timeout_s - (time.time() - since)):
                    await self._http.ask(engine.address, call, timeout_s=None)
            except TimeoutError:
                said = f"took longer than the {spec.startup_timeout_s:g} s that a start may take"
            except AgentFailure as failure:
                said = failure.message
            else:
                continue
            raise AgentFailure(
                f"{spec.engine} was ready, but warm-up request {number} of {len(spec.warm_up)} failed: {said}",
                hint="correct warm_up: in the service's file, or remove it",
            )
        self._end_stage("warm_up")

    async def _put_to_sleep(self, engine: StartedEngine) -> None:
        if not self.spec.sleep:
            raise _cannot_sleep(self.spec)
        self._phase = ReplicaPhase.LOADING
        if self._record.asleep is None:
            # Half asleep, it would take the call to sleep for done: first it is woken to the end.
            await self._in_order(engine, self._record.wake or self.spec.wake)
        self._keep(replace(self._record, asleep=None, wake=self.spec.wake))
        await self._in_order(engine, self.spec.sleep)
        self._keep(replace(self._record, asleep=True))
        self._awake = False

    async def _wake(self, engine: StartedEngine, runtime: Runtime) -> None:
        calls = self._record.wake or self.spec.wake
        if not calls:
            raise AgentFailure(f"{self.spec.engine} cannot be woken")
        self._phase = ReplicaPhase.LOADING
        others = tuple(stage for stage in self._record.stages if stage.name != "wake")
        begun = Stage(name="wake", started_at=time.time())
        self._keep(replace(self._record, stages=(*others, begun)))
        await self._take_gpus()
        self._keep(replace(self._record, asleep=None, wake=calls))
        await self._in_order(engine, calls)
        await self._until_ready(engine, runtime, "wake")
        self._keep(replace(self._record, asleep=False, wake=()))

    async def _in_order(self, engine: StartedEngine, calls: tuple[Call, ...]) -> None:
        """Make the calls, each after the one before; after one that fails, whatever it did, all from the first."""
        for tries_left in reversed(range(_CONTROL_TRIES)):
            try:
                for call in calls:
                    await self._http.ask(engine.address, call)
                return
            except AgentFailure:
                if not tries_left:
                    raise
                await asyncio.sleep(_CONTROL_PAUSE_S)

    async def _take_gpus(self) -> None:
        """Wait for the GPUs, and have them from then on: nothing happens between the last look and the taking."""
        await self._gpus_free(self.spec.id, self._record.spec.gpus)
        self._awake = True

    async def _fail(self, failure: str) -> None:
        self._phase = ReplicaPhase.FAILED
        for stage in self._record.stages:
            self._end_stage(stage.name)
        self._keep(replace(self._record, failure=failure))
        log.warning("replica %s failed: %s", self.spec.id, failure)
        try:
            await self._end_engine()
        except AgentFailure as still_there:
            self._keep(replace(self._record, failure=f"{failure}; {still_there.message}"))

    async def _end_engine(self, grace_s: float = STOP_GRACE_S) -> None:
        runtime = self._runtimes.of_record(self.spec.id)
        if runtime is None and self._engine is not None:
            runtime = self._runtimes.of_spec(self._record.spec)  # its record was removed with the machine's folder
        if runtime is not None:
            await runtime.stop(self.spec.id, grace_s=grace_s)
        self._engine = None
        self._adopted = True
        self._awake = False
        if self._preparing is not None:
            self._preparing.cancel()
        self._preparing = self._prepared = None
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

    def _was_started(self) -> bool:
        """By an earlier life of the agent: until it is found, or found to be gone, it may run."""
        return _stage(self._record.stages, "engine") is not None

    def _was_ready(self) -> bool:
        stages = self._record.stages
        return _ended(stages, "engine") and (_stage(stages, "warm_up") is None or _ended(stages, "warm_up"))

    def _artifact_stages(self, cached: Stage | None = None) -> tuple[Stage, ...]:
        """Fetches that this Replica waited, or waits, for; what was here before it came is none of its stages.

        `cached`: an engine cache was put back besides.
        """
        found = []
        for artifact in _needs(self._record.spec):
            stage = self._artifacts.stage(artifact)
            if stage is not None and (stage.ended_at is None or stage.ended_at > self._record.accepted_at):
                if stage.started_at < self._record.accepted_at and stage.ended_at is not None:
                    stage = replace(stage, whole_s=stage.ended_at - stage.started_at)
                found.append(replace(stage, started_at=max(stage.started_at, self._record.accepted_at)))
        return (*found, cached) if cached is not None else tuple(found)

    def _end_stage(self, name: str, *, then: Stage | None = None) -> None:
        """Kept in one with the stage that follows: no crash comes between the two."""
        now = time.time()
        stages = tuple(
            replace(stage, ended_at=now) if stage.name == name and stage.ended_at is None else stage
            for stage in self._record.stages
        )
        self._keep(replace(self._record, stages=(*stages, then) if then is not None else stages))

    def _keep(self, record: _Record) -> None:
        self._record = record
        try:
            write(self._folder.replica(self.spec.id), record)
        except OSError as error:  # it lives on; only an agent that is started again now would know less of it
            log.warning("%s", disk_failure(f"the record of replica {self.spec.id}", error, self._folder.root).message)


def _last_words(spec: ReplicaSpec, text: bytes) -> str:
    """The end of an engine's log, and what is known to be done about it, to follow a failure."""
    said = last_lines(text, lines=_LOG_LINES, width=_LOG_WIDTH)
    if not said:
        return ""
    hint = None
    with contextlib.suppress(UsageError):  # an engine that this node does not know runs all the same
        hint = log_hint(engine(spec.engine), text.decode(errors="replace"))
    return f"; its last words:\n{said}" + (f"\n{hint}" if hint else "")


def _asked(spec: ReplicaSpec) -> str:
    """What must be answered before it counts as ready."""
    return f"GET {spec.readiness_path}" + (f", then {spec.lists.expect} from {spec.lists.path}" if spec.lists else "")


def _cannot_sleep(spec: ReplicaSpec) -> AgentFailure:
    return AgentFailure(f"{spec.engine} cannot be put to sleep", hint="use standby tier hot or warm for this service")


def _weights(spec: ReplicaSpec) -> Artifact:
    return Artifact(kind="weights", name=spec.model)


def _needs(spec: ReplicaSpec) -> tuple[Artifact, ...]:
    weights = _weights(spec)
    return (weights,) if spec.image is None else (Artifact(kind="image", name=spec.image), weights)


def _stage(stages: tuple[Stage, ...], name: str) -> Stage | None:
    return next((stage for stage in stages if stage.name == name), None)


def _ended(stages: tuple[Stage, ...], name: str) -> bool:
    stage = _stage(stages, name)
    return stage is not None and stage.ended_at is not None


def _port_taken(text: bytes) -> bool:
    said = text.decode(errors="replace").lower()
    return any(mark in said for mark in _PORT_TAKEN)
