"""Signals from outside, each read in the background at its own interval, so that none waits for another."""

import asyncio
from collections.abc import Sequence

from fleetctl.model.names import ServiceName
from fleetctl.model.outside import Signal
from fleetctl.model.signals import OutsideReading
from fleetctl.model.snapshots import Intent
from fleetctl.ports import Clock, OutsideSource

GRACE_S = 5.0
"""Beyond its own time limit, before a source that does not even keep that is given up."""


class OutsideWatch:
    """Keeps the newest reading of every signal. `readings` never waits."""

    def __init__(self, clock: Clock, source: OutsideSource) -> None:
        self._clock = clock
        self._source = source
        self._tasks: dict[tuple[ServiceName, Signal], asyncio.Task[None]] = {}
        self._newest: dict[tuple[ServiceName, Signal], OutsideReading] = {}

    def readings(self, intents: Sequence[Intent]) -> dict[ServiceName, tuple[OutsideReading, ...]]:
        """Of every Service that is up and has such signals. Begins to read new ones, and ends what nobody wants."""
        wanted = {
            (intent.service.name, signal)
            for intent in intents
            if intent.up
            for signal in intent.service.signals
            if signal.policy is None
        }
        for key in self._tasks.keys() - wanted:
            self._tasks.pop(key).cancel()
            self._newest.pop(key, None)
        for key in wanted - self._tasks.keys():
            self._tasks[key] = asyncio.create_task(self._keep_reading(key))
        found: dict[ServiceName, tuple[OutsideReading, ...]] = {}
        for intent in intents:
            name = intent.service.name
            known = tuple(
                self._newest[name, signal] for signal in intent.service.signals if (name, signal) in self._newest
            )
            if known:
                found[name] = known
        return found

    async def _keep_reading(self, key: tuple[ServiceName, Signal]) -> None:
        _, signal = key
        while True:
            try:
                async with asyncio.timeout(signal.timeout_s + GRACE_S):
                    self._newest[key] = await self._source.read(signal)
            except TimeoutError:
                self._unknown(key, f"no answer within {signal.timeout_s + GRACE_S:g} s")
            except Exception as error:  # noqa: BLE001  a source of any kind must not end the watch
                self._unknown(key, f"it failed: {type(error).__name__}")
            await self._clock.sleep(signal.interval_s)

    def _unknown(self, key: tuple[ServiceName, Signal], why: str) -> None:
        self._newest[key] = OutsideReading(name=key[1].name, value=None, why_unknown=why, at=self._clock.now())

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        self._newest.clear()
