"""The newest answer of each of many sources: a slow one delays no other, a failed one is unknown."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from fleetctl.controller.latest import Latest
from fleetctl.errors import AgentFailure
from fleetctl.model.signals import Unknown

LONG_S = 30.0
"""A budget that no test uses up."""


class HandClock:
    """A `ports.Clock` that the test moves."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here sleeps")


class Source:
    """One source whose answers the test gives; `asked` counts the questions."""

    def __init__(self, answer: int | None = None) -> None:
        self.asked = 0
        self.failing = False
        self.cancelled = False
        self._open = asyncio.Event()
        self._answer = answer
        if answer is not None:
            self._open.set()

    def answers(self, value: int) -> None:
        self._answer = value
        self._open.set()

    def hangs(self) -> None:
        self._open.clear()

    async def ask(self) -> int:
        self.asked += 1
        try:
            await self._open.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if self.failing:
            raise AgentFailure("no route to it", hint="look at its cable")
        assert self._answer is not None
        return self._answer


Sources = dict[str, Callable[[], Awaitable[int]]]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def asked_of(**sources: Source) -> Sources:
    return {name: source.ask for name, source in sources.items()}


async def settle() -> None:
    """Let every task run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_every_source_is_asked_and_answers(clock: HandClock) -> None:
    latest: Latest[str, int] = Latest(clock, stale_s=10.0, at_once=2)
    sources = {str(number): Source(number) for number in range(50)}

    found = await latest.refresh(asked_of(**sources), budget_s=LONG_S)

    assert found == {str(number): number for number in range(50)}
    await latest.close()


async def test_one_that_hangs_is_unknown_and_the_others_are_not_kept(clock: HandClock) -> None:
    latest: Latest[str, int] = Latest(clock, stale_s=10.0)
    hung, quick = Source(), Source(7)

    await latest.refresh(asked_of(hung=hung, quick=quick), budget_s=0.0)
    await settle()
    found = await latest.refresh(asked_of(hung=hung, quick=quick), budget_s=LONG_S)

    assert isinstance(found["hung"], Unknown)
    assert found["quick"] == 7
    assert hung.asked == 1  # not asked again while it has not answered
    await latest.close()


async def test_a_late_answer_is_taken_when_it_comes(clock: HandClock) -> None:
    latest: Latest[str, int] = Latest(clock, stale_s=10.0, every_s=60.0)
    slow = Source()
    await latest.refresh(asked_of(slow=slow), budget_s=0.0)
    await settle()

    slow.answers(5)
    await settle()
    found = await latest.refresh(asked_of(slow=slow), budget_s=LONG_S)

    assert found == {"slow": 5}
    assert slow.asked == 1
    await latest.close()


async def test_what_was_last_said_holds_until_it_is_stale(clock: HandClock) -> None:
    latest: Latest[str, int] = Latest(clock, stale_s=10.0)
    source = Source(5)
    await latest.refresh(asked_of(source=source), budget_s=LONG_S)
    source.hangs()
    await latest.refresh(asked_of(source=source), budget_s=0.0)
    await settle()

    clock.time += 9.0
    fresh = await latest.refresh(asked_of(source=source), budget_s=LONG_S)
    clock.time += 2.0
    stale = await latest.refresh(asked_of(source=source), budget_s=LONG_S)

    assert fresh == {"source": 5}
    assert isinstance(stale["source"], Unknown)
    assert stale["source"].since == 1000.0
    await latest.close()


async def test_a_failure_is_unknown_since_it_began_and_is_asked_again_at_once(clock: HandClock) -> None:
    latest: Latest[str, int] = Latest(clock, stale_s=10.0, every_s=60.0)
    source = Source(5)
    source.failing = True
    await latest.refresh(asked_of(source=source), budget_s=LONG_S)

    clock.time += 30.0
    failed = await latest.refresh(asked_of(source=source), budget_s=LONG_S)
    source.failing = False
    mended = await latest.refresh(asked_of(source=source), budget_s=LONG_S)

    assert failed == {"source": Unknown(reason="no route to it", since=1000.0, hint="look at its cable")}
    assert mended == {"source": 5}
    await latest.close()


async def test_a_source_is_asked_no_more_often_than_said(clock: HandClock) -> None:
    latest: Latest[str, int] = Latest(clock, stale_s=100.0, every_s=60.0)
    source = Source(5)

    for _ in range(10):
        await latest.refresh(asked_of(source=source), budget_s=LONG_S)
        clock.time += 10.0

    assert source.asked == 2
    await latest.close()


async def test_more_that_hang_than_may_be_asked_at_once_leave_the_rest_for_later(clock: HandClock) -> None:
    latest: Latest[str, int] = Latest(clock, stale_s=10.0, at_once=2)
    hung = {f"hung-{number}": Source() for number in range(2)}
    sources = asked_of(**hung, quick=Source(7))

    first = await latest.refresh(sources, budget_s=0.0)
    await settle()
    hung["hung-0"].answers(1)
    await settle()
    then = await latest.refresh(sources, budget_s=LONG_S)

    assert isinstance(first["quick"], Unknown)
    assert then["quick"] == 7
    await latest.close()


async def test_a_source_that_is_gone_is_given_up_and_frees_its_place(clock: HandClock) -> None:
    latest: Latest[str, int] = Latest(clock, stale_s=10.0, at_once=1)
    hung, waiting = Source(), Source(7)
    await latest.refresh(asked_of(hung=hung, waiting=waiting), budget_s=0.0)
    await settle()

    await latest.refresh(asked_of(waiting=waiting), budget_s=0.0)
    await settle()
    found = await latest.refresh(asked_of(waiting=waiting), budget_s=LONG_S)

    assert hung.cancelled
    assert found == {"waiting": 7}
    await latest.close()


async def test_close_gives_up_what_is_still_asked(clock: HandClock) -> None:
    latest: Latest[str, int] = Latest(clock, stale_s=10.0)
    hung = Source()
    await latest.refresh(asked_of(hung=hung), budget_s=0.0)
    await settle()

    await latest.close()

    assert hung.cancelled
