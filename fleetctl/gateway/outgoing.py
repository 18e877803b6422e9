"""What one turn of the event loop has to write, written all together at its end.

A write wakes the process at the other end, on another core; one that is still awake from the write before costs a
fraction of that. So the many small whole messages of a turn, requests to replicas and answers that came in one piece,
go out back to back. A stream's chunks go out as they come.
"""

import asyncio
from typing import Protocol


class Due(Protocol):
    """A connection that may have something to write."""

    transport: asyncio.Transport
    due: bytes
    """Empty: nothing."""


class Outgoing:
    """The connections with something due."""

    __slots__ = ("_due", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: list[Due] = []

    def add(self, one: Due) -> None:
        """Its `due` is written before the loop sleeps; who writes to its transport or closes it before flushes it."""
        if not self._due:
            self._loop.call_soon(self.flush)
        self._due.append(one)

    def flush(self) -> None:
        due, self._due = self._due, []
        for one in due:
            data = one.due
            if data:
                one.due = b""
                if not one.transport.is_closing():
                    one.transport.write(data)
