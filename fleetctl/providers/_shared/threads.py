"""Calls of SDKs that block, each in a thread of its own, bounded in number and in time.

A thread cannot be ended from outside, so a call that outlives its limit is left to itself: its caller is answered, its
place is free for the next call, and what it brings home at last is dropped. Thus one hung call holds up nobody.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from fleetctl.errors import OutcomeUnknown, ProviderError, Throttled

T = TypeVar("T")

_HUNG_MAX = 64
"""Calls left to themselves at once. Each holds a socket and some 100 kB; a cloud that has swallowed this many is asked
nothing more until some of them end, as the SDK's own socket time-outs make them."""


class Calls:
    """Runs one provider's blocking calls. `threads` may run at once for reading, and as many again for changing, so
    that slow launches never hold up a listing. For use in one event loop at a time.

    What a call raises is raised here unchanged. The threads are daemons: they never hold up the end of the process.
    """

    def __init__(self, name: str, threads: int = 16) -> None:
        self._name = name
        self._reading = asyncio.Semaphore(threads)
        self._changing = asyncio.Semaphore(threads)
        self._hung = 0
        self._made = 0
        self._closed = False

    async def read(self, what: str, call: Callable[[], T], *, limit_s: float = 60.0) -> T:
        """The call's answer. Raises `ProviderError` after `limit_s`; `what` says in words what was asked."""
        try:
            return await self._run(self._reading, what, call, limit_s)
        except TimeoutError:
            raise ProviderError(
                f"{self._name}: no answer within {limit_s:g} s to: {what}",
                hint="it is asked again at the next tick; if this goes on, see the provider's status page",
            ) from None

    async def change(self, what: str, call: Callable[[], T], *, limit_s: float = 120.0) -> T:
        """The call's answer. Raises `OutcomeUnknown` after `limit_s`: it may take effect yet; a listing settles it."""
        try:
            return await self._run(self._changing, what, call, limit_s)
        except TimeoutError:
            raise OutcomeUnknown(
                f"{self._name}: no answer within {limit_s:g} s to: {what}; what it did is not known",
                hint="the next listing settles it: fleetctl ps",
            ) from None

    @property
    def hung(self) -> int:
        """Calls that outlived their limit and run yet."""
        return self._hung

    def close(self) -> None:
        """Take no more calls. Waits for none that runs."""
        self._closed = True

    async def _run(self, places: asyncio.Semaphore, what: str, call: Callable[[], T], limit_s: float) -> T:
        try:
            async with asyncio.timeout(limit_s):
                await places.acquire()
        except TimeoutError:
            # Not sent, so nothing about it is unknown.
            raise Throttled(f"{self._name}: too many calls under way for {limit_s:g} s, not asked: {what}") from None
        try:
            return await self._start(what, call, limit_s)
        finally:
            places.release()

    async def _start(self, what: str, call: Callable[[], T], limit_s: float) -> T:
        if self._closed:
            raise ProviderError(f"{self._name}: closed, not asked: {what}")
        if self._hung >= _HUNG_MAX:
            raise ProviderError(
                f"{self._name}: {self._hung} earlier calls hang, not asked: {what}",
                hint="look at the network and at the provider's status page",
            )
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        left = False

        def ended(value: T | None, error: BaseException | None) -> None:
            if left:
                self._hung -= 1
            elif answer.cancelled():
                pass
            elif error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(value)  # type: ignore[arg-type]  # no error: it is the call's own answer

        def body() -> None:
            value: T | None = None
            failed: BaseException | None = None
            try:
                value = call()
            except BaseException as error:  # noqa: BLE001  # whatever it is, the caller is who must see it
                failed = error
            with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
                loop.call_soon_threadsafe(ended, value, failed)

        self._made += 1
        threading.Thread(target=body, name=f"{self._name}-{self._made}", daemon=True).start()
        try:
            async with asyncio.timeout(limit_s):
                return await asyncio.shield(answer)
        except (TimeoutError, asyncio.CancelledError):
            if answer.done() and not answer.cancelled():
                answer.exception()  # it came in the same moment; taken note of, so that asyncio does not complain
            else:
                left = True
                self._hung += 1
            raise
