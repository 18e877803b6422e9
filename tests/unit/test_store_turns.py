"""Threads of one process take turns at a store, and one that never ends is told of."""

import threading

import pytest

from fleetctl.errors import StoreFailure
from fleetctl.store.turns import Turns

JOIN_S = 10.0


def tried(turns: Turns) -> list[StoreFailure]:
    """What another thread is told that wants a turn now."""
    told: list[StoreFailure] = []

    def want() -> None:
        try:
            with turns.mine():
                pass
        except StoreFailure as failure:
            told.append(failure)

    thread = threading.Thread(target=want)
    thread.start()
    thread.join(JOIN_S)
    assert not thread.is_alive()
    return told


def test_who_waits_too_long_is_told_of_the_store_and_where_to_look() -> None:
    turns = Turns("fleet.db", hint="look at its disk", timeout_s=0.01)

    with turns.mine():
        (failure,) = tried(turns)

    assert failure.message == "the store fleet.db was kept busy by this process for 0.01 s"
    assert failure.hint == "look at its disk"


def test_a_turn_ends_with_an_error_too() -> None:
    turns = Turns("fleet.db", hint="look at its disk", timeout_s=0.01)

    with pytest.raises(ValueError, match="broken"), turns.mine():
        raise ValueError("broken")

    assert tried(turns) == []
