"""Every kind of source behind one method."""

import asyncio
from math import isfinite

from fleetctl.model.outside import Signal
from fleetctl.model.signals import OutsideReading
from fleetctl.ports import Clock
from fleetctl.scrape.outside.commands import printed
from fleetctl.scrape.outside.http import HttpSources, Measured
from fleetctl.scrape.outside.sqs import SqsQueues
from fleetctl.scrape.outside.tokens import Tokens
from fleetctl.scrape.outside.unread import Unread


class OutsideSources:
    """A `ports.OutsideSource`. Needs a running event loop from the first `read` on; `close` it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._http = HttpSources(Tokens())
        self._sqs = SqsQueues()

    async def read(self, signal: Signal) -> OutsideReading:
        """The signal's value, or why it is unknown, within its `timeout_s`."""
        try:
            async with asyncio.timeout(signal.timeout_s):
                measured = await self._measured(signal)
        except TimeoutError:
            return self._unknown(signal, f"no answer within {signal.timeout_s:g} s")
        except Unread as error:
            return self._unknown(signal, str(error))
        if not isfinite(measured.value) or measured.value < 0:
            return self._unknown(signal, f"{measured.value:g} is no amount")
        at = self._clock.now() if measured.at is None else measured.at
        return OutsideReading(name=signal.name, value=measured.value, at=at)

    async def close(self) -> None:
        await self._http.close()
        self._sqs.close()

    async def _measured(self, signal: Signal) -> Measured:
        if signal.prometheus is not None:
            return await self._http.prometheus(signal.prometheus)
        if signal.http is not None:
            return await self._http.json(signal.http)
        if signal.azure_queue is not None:
            return await self._http.azure_queue(signal.azure_queue)
        if signal.pubsub is not None:
            return await self._http.pubsub(signal.pubsub, now=self._clock.now())
        if signal.sqs is not None:
            return Measured(value=await self._sqs.messages(signal.sqs, timeout_s=signal.timeout_s))
        if signal.command:
            return Measured(value=await printed(signal.command))
        raise Unread("it has no source")

    def _unknown(self, signal: Signal, why: str) -> OutsideReading:
        return OutsideReading(name=signal.name, value=None, why_unknown=why, at=self._clock.now())
