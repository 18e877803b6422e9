"""Waits: who has waited too long."""

from fleetctl.gateway.waits import Waits


def test_only_those_whose_time_is_over_come_out_and_only_once() -> None:
    waits: Waits[str] = Waits(10.0)
    waits.start("early", 0.0)
    waits.start("stopped", 0.0)
    waits.start("late", 5.0)
    waits.stop("stopped")

    first, again, later = waits.expired(10.0), waits.expired(10.0), waits.expired(15.0)

    assert (first, again, later) == (["early"], [], ["late"])
    assert len(waits) == 0


def test_starting_again_does_not_begin_anew() -> None:
    waits: Waits[str] = Waits(10.0)
    waits.start("x", 0.0)

    waits.start("x", 9.0)

    assert waits.expired(10.0) == ["x"]
