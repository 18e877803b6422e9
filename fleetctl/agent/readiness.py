"""What an engine is asked before and while it serves: whether it is ready, to warm up, to sleep and to wake."""

import asyncio
import time
from collections.abc import Callable

from fleetctl.agent.engine_http import EngineHttp
from fleetctl.agent.failures import LOG_BYTES, asked, last_words
from fleetctl.agent.runtimes.runtime import Runtime, StartedEngine
from fleetctl.errors import AgentFailure
from fleetctl.model.nodes import Call, ReplicaSpec

_PROBE_FIRST_S = 0.05
_PROBE_GROWTH = 1.3
_PROBE_MOST_S = 1.0
"""Readiness is asked for often at first, when a rehearsal or a woken engine answers within a tenth of a second, and
once a second later, when an engine compiles for minutes."""

_CONTROL_TRIES = 3
_CONTROL_PAUSE_S = 0.5
"""Going to sleep and waking may be refused by an engine that is just busy; three refusals are a failure."""


async def until_ready(
    http: EngineHttp, engine: StartedEngine, runtime: Runtime, *, wanted: Callable[[], ReplicaSpec], since: float
) -> None:
    """Probe until the engine is ready; `wanted` is the newest spec, whose patience counts from `since`.

    Raises `AgentFailure` after the startup time-out.
    """
    pause_s = _PROBE_FIRST_S
    while not (await _answers(http, engine, wanted()) and runtime.listens(engine)):
        spec = wanted()
        if time.time() - since > spec.startup_timeout_s:
            text = await runtime.log_tail(spec.id, LOG_BYTES)
            raise AgentFailure(
                f"{spec.engine} was not ready within {spec.startup_timeout_s:g} s "
                f"({asked(spec)}){last_words(spec, text)}"
            )
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * _PROBE_GROWTH, _PROBE_MOST_S)


async def _answers(http: EngineHttp, engine: StartedEngine, spec: ReplicaSpec) -> bool:
    """Whether the engine calls itself ready, and lists its model where it lists any."""
    ready = await http.ready(engine.address, spec.readiness_path)
    return ready and (spec.lists is None or await http.answers(engine.address, spec.lists))


async def warm_up(http: EngineHttp, engine: StartedEngine, spec: ReplicaSpec, *, since: float) -> None:
    """What it has not done yet, it compiles now and not with a user waiting. Raises `AgentFailure`."""
    for number, call in enumerate(spec.warm_up, 1):
        try:
            async with asyncio.timeout(spec.startup_timeout_s - (time.time() - since)):
                await http.ask(engine.address, call, timeout_s=None)
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


async def ask_in_order(http: EngineHttp, engine: StartedEngine, calls: tuple[Call, ...]) -> None:
    """Make the calls, each after the one before; after one that fails, whatever it did, all from the first."""
    for tries_left in reversed(range(_CONTROL_TRIES)):
        try:
            for call in calls:
                await http.ask(engine.address, call)
            return
        except AgentFailure:
            if not tries_left:
                raise
            await asyncio.sleep(_CONTROL_PAUSE_S)
