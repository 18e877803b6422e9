"""Calls that block, each in a thread of its own."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def in_thread(call: Callable[[], T], *, name: str) -> T:
    """What `call` returns or raises. Whoever stops waiting leaves the thread to its own time limit.

    Not in the event loop's own pool: there are few threads in it, the store needs them, and one that hangs in a cloud's
    SDK would hold up the end of the process.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[T] = loop.create_future()

    def answer(value: T) -> None:
        if not ended.done():
            ended.set_result(value)

    def fail(error: Exception) -> None:
        if not ended.done():
            ended.set_exception(error)

    def run() -> None:
        try:
            value = call()
        except Exception as error:  # noqa: BLE001  whoever waits answers for it
            _tell(loop, fail, error)
        else:
            _tell(loop, answer, value)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await ended


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[[T], None], value: T) -> None:
    with suppress(RuntimeError):  # the loop has ended meanwhile, and nobody waits
        loop.call_soon_threadsafe(what, value)
