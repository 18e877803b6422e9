"""Work in threads that cannot be broken off, though whoever waits for it can."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Its result. Cancelled meanwhile, this ends only when the work has: two must not work in one folder."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # told to nobody: what it was for is not wanted any more
        raise
