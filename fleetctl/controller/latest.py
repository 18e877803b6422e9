"""The newest answer of each of many sources, refreshed side by side, so that a slow one delays no other."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from fleetctl.errors import FleetError
from fleetctl.model.signals import Unknown
from fleetctl.ports import Clock

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(slots=True)
class _Entry(Generic[Value]):
    value: Value | None = None
    at: float = 0.0
    """When the newest answer or failure came."""
    failing_since: float | None = None
    failure: str = ""
    hint: str = ""
    asking: bool = False
    """Its question waits for its turn or for its answer."""
    asker: asyncio.Task[None] | None = None
    """Who waits for the answer."""
    gone: bool = False


class _Round:
    """Questions asked together, and the end of the last of them."""

    def __init__(self, questions: int) -> None:
        self.left = questions
        self.over = asyncio.Event()

    def answered(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.over.set()


ANSWER_LIMIT_S = 120.0
"""A question without an answer for so long is given up and asked anew: whoever hung may be well again."""


class Latest(Generic[Key, Value]):
    """Asks sources anew and remembers what they last said.

    `refresh` waits at most `budget_s` for the questions it asks itself; one that takes longer goes on by itself, is
    not asked again meanwhile and not waited for again. A source whose answer failed, or is older than `stale_s`, is
    Unknown. At most `at_once` questions are open; a task asks one after the other, for ten thousand nodes that answer
    quickly would otherwise cost ten thousand tasks on every tick.
    """

    def __init__(self, clock: Clock, *, stale_s: float, every_s: float = 0.0, at_once: int = 64) -> None:
        self._clock = clock
        self._stale_s = stale_s
        self._every_s = every_s
        self._at_once = at_once
        self._entries: dict[Key, _Entry[Value]] = {}
        self._turns: deque[tuple[_Entry[Value], Callable[[], Awaitable[Value]], _Round]] = deque()
        self._askers: set[asyncio.Task[None]] = set()

    async def refresh(
        self,
        sources: Mapping[Key, Callable[[], Awaitable[Value]]],
        *,
        budget_s: float,
        every_s: float | None = None,
    ) -> dict[Key, Value | Unknown]:
        """The newest answer of each source. `every_s`: this time asked again after so long, in place of the usual."""
        every_s = self._every_s if every_s is None else every_s
        for key in self._entries.keys() - sources.keys():
            entry = self._entries.pop(key)
            entry.gone = True
            if entry.asker is not None:
                entry.asker.cancel()
        now = self._clock.now()
        due: list[tuple[_Entry[Value], Callable[[], Awaitable[Value]]]] = []
        for key, ask in sources.items():
            entry = self._entries.get(key) or self._entries.setdefault(key, _Entry())
            if not entry.asking and (entry.at == 0.0 or entry.failing_since is not None or now - entry.at >= every_s):
                entry.asking = True
                due.append((entry, ask))
        asked = _Round(len(due))
        self._turns.extend((entry, ask, asked) for entry, ask in due)
        self._start_askers()
        if due:
            try:
                async with asyncio.timeout(budget_s):
                    await asked.over.wait()
            except TimeoutError:
                pass  # who has not answered yet is Unknown, or what it said last
        now = self._clock.now()
        return {key: self._answer(self._entries[key], now) for key in sources}

    def _start_askers(self) -> None:
        for _ in range(min(len(self._turns), self._at_once - len(self._askers))):
            asker = asyncio.create_task(self._ask_in_turn())
            self._askers.add(asker)
            asker.add_done_callback(self._asker_ended)

    def _asker_ended(self, asker: asyncio.Task[None]) -> None:
        self._askers.discard(asker)
        self._start_askers()  # it may have been cancelled with questions behind it

    async def _ask_in_turn(self) -> None:
        while self._turns:
            entry, ask, asked = self._turns.popleft()
            try:
                if not entry.gone:
                    await self._ask(entry, ask)
            finally:
                asked.answered()

    async def _ask(self, entry: _Entry[Value], ask: Callable[[], Awaitable[Value]]) -> None:
        entry.asker = asyncio.current_task()
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                entry.value = await ask()
            entry.failing_since = None
        except (FleetError, TimeoutError) as error:
            if entry.failing_since is None:
                entry.failing_since = self._clock.now()
            entry.failure = str(error) or type(error).__name__
            entry.hint = error.hint if isinstance(error, FleetError) else ""
        finally:
            entry.at = self._clock.now()
            entry.asking = False
            entry.asker = None

    def _answer(self, entry: _Entry[Value], now: float) -> Value | Unknown:
        if entry.failing_since is not None:
            return Unknown(reason=entry.failure, since=entry.failing_since, hint=entry.hint)
        if entry.value is None:
            return Unknown(reason="not answered yet", since=now)
        if entry.asking and now - entry.at > self._stale_s:
            return Unknown(reason=f"no answer for {now - entry.at:.0f} s", since=entry.at)
        return entry.value

    async def close(self) -> None:
        """Give up what is still being asked."""
        self._turns.clear()
        askers = list(self._askers)
        for asker in askers:
            asker.cancel()
        await asyncio.gather(*askers, return_exceptions=True)
        self._entries.clear()
