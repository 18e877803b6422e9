"""The time of this machine."""

import asyncio
import time


class SystemClock:
    """`ports.Clock` on the system's clock."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
