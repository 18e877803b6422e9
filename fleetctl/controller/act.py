"""Actions in flight: one attempt each, bounded and with a deadline; how it ended is data for the next tick."""

import asyncio
from collections.abc import Callable, Mapping

from fleetctl.errors import FleetError, InvalidRequest, OutcomeUnknown
from fleetctl.model.decisions import Action, Outcome, Verb
from fleetctl.model.instances import LaunchSpec
from fleetctl.model.names import ProviderName
from fleetctl.ports import Clock, NodeLink, Provider

AT_ONCE = 64
"""Actions that run side by side; more wait for a place. Enough for a fleet's burst, few enough for a cloud's limits."""
DEADLINE_S: Mapping[Verb, float] = {
    Verb.LAUNCH: 300.0,
    Verb.START: 300.0,
    Verb.STOP: 300.0,
    Verb.TERMINATE: 300.0,
    Verb.APPLY: 10.0,
}
"""An attempt that takes longer has an unknown outcome; listings and node statuses tell what became of it."""


class Actor:
    """Runs Actions beside the ticks."""

    def __init__(
        self,
        clock: Clock,
        providers: Mapping[ProviderName, Provider],
        nodes: NodeLink,
        *,
        on_end: Callable[[], None],
        boundary: Callable[[str], None],
        complete: Callable[[LaunchSpec], LaunchSpec] = lambda spec: spec,
    ) -> None:
        self._complete = complete
        self._clock = clock
        self._providers = providers
        self._nodes = nodes
        self._on_end = on_end
        self._boundary = boundary
        self._places = asyncio.Semaphore(AT_ONCE)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._ended: list[Outcome] = []

    @property
    def in_flight(self) -> frozenset[str]:
        return frozenset(self._running)

    def begin(self, action: Action) -> None:
        """Start one attempt. The same Action is never in flight twice."""
        if action.key not in self._running:
            self._running[action.key] = asyncio.create_task(self._attempt(action), name=action.key)

    def take_outcomes(self) -> tuple[Outcome, ...]:
        """What ended since the last call."""
        ended, self._ended = tuple(self._ended), []
        return ended

    async def _attempt(self, action: Action) -> None:
        begun = self._clock.now()
        error: FleetError | None = None
        try:
            async with self._places:
                self._boundary(f"before {action.key}")
                async with asyncio.timeout(DEADLINE_S[action.verb]):
                    await self._do(action)
                self._boundary(f"after {action.key}")
        except TimeoutError:
            error = OutcomeUnknown(f"no answer within {DEADLINE_S[action.verb]:g} s")
        except FleetError as failed:
            error = failed
        finally:
            del self._running[action.key]
        now = self._clock.now()
        self._ended.append(
            Outcome(
                key=action.key,
                instance=action.instance,
                verb=action.verb,
                at=now,
                took_s=now - begun,
                error=None if error is None else str(error),
                error_code=None if error is None else error.code,
                retryable=error is None or error.retryable,
            )
        )
        self._on_end()

    async def _do(self, action: Action) -> None:
        if action.verb is Verb.APPLY:
            assert action.address is not None
            assert action.desired is not None
            await self._nodes.apply(action.address, action.desired)
            return
        provider = self._providers.get(action.provider)
        if provider is None:
            raise InvalidRequest(
                f"provider {action.provider!r} is not configured, yet {action.instance} is its instance",
                hint="fleetctl doctor",
            )
        match action.verb:
            case Verb.LAUNCH:
                assert action.launch is not None
                await provider.launch(self._complete(action.launch))
            case Verb.START:
                await provider.start(action.instance)
            case Verb.STOP:
                await provider.stop(action.instance)
            case Verb.TERMINATE:
                await provider.terminate(action.instance)

    async def close(self) -> None:
        """Abandon what is in flight; its outcome is unknown and the next controller finds out."""
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
