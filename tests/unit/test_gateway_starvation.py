"""Requests without a replica are told once a second of each Service, at once, and to whoever asks for more."""

import asyncio

from fleetctl.gateway.starvation import POKE_EVERY_S, REMEMBERED_MAX, Starvation
from fleetctl.model.names import ServiceName
from fleetctl.model.signals import Starved

CHAT, CODE = ServiceName("chat"), ServiceName("code")


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


async def test_who_waits_hears_at_once() -> None:
    starvation = Starvation(Hand())
    asked = asyncio.ensure_future(starvation.beyond(0))
    await asyncio.sleep(0)

    starvation.note(CHAT)

    assert await asked == Starved(count=1, services=(CHAT,))


async def test_what_has_happened_is_told_without_waiting_and_only_once() -> None:
    starvation = Starvation(Hand())
    starvation.note(CHAT)
    starvation.note(CODE)

    assert await starvation.beyond(0) == Starved(count=2, services=(CHAT, CODE))
    assert await starvation.beyond(1) == Starved(count=2, services=(CODE,))
    assert await starvation.beyond(2, held_max_s=0) == Starved(count=2)


async def test_a_flood_counts_once_a_second_for_each_service() -> None:
    hand = Hand()
    starvation = Starvation(hand)
    for _ in range(1000):
        starvation.note(CHAT)
        starvation.note(CODE)
        hand.now_s += 2 * POKE_EVERY_S / 1000

    assert starvation.count == 4


async def test_a_count_of_a_gateway_before_this_one_tells_all() -> None:
    starvation = Starvation(Hand())
    starvation.note(CHAT)

    assert await starvation.beyond(57) == Starved(count=1, services=(CHAT,))


async def test_everybody_is_answered_at_the_end() -> None:
    starvation = Starvation(Hand())
    asked = asyncio.ensure_future(starvation.beyond(0))
    await asyncio.sleep(0)

    starvation.close()

    assert await asked == Starved(count=0)
    assert await starvation.beyond(0) == Starved(count=0)


async def test_names_are_not_remembered_without_bound() -> None:
    starvation = Starvation(Hand())
    for number in range(REMEMBERED_MAX + 10):
        starvation.note(ServiceName(f"s{number}"))

    assert len((await starvation.beyond(0)).services) == REMEMBERED_MAX
