"""A request that meets no Replica brings a tick forward, and a flood of them not more than one a second."""

from fleetctl.controller.starvation import EARLY_EVERY_S, Pokes
from fleetctl.model.names import ServiceName

CHAT, CODE = ServiceName("chat"), ServiceName("code")


def test_each_service_may_once_a_second() -> None:
    pokes = Pokes()

    allowed = [
        pokes.allow((CHAT,), 10.0),
        pokes.allow((CHAT,), 10.0 + EARLY_EVERY_S / 2),
        pokes.allow((CHAT, CODE), 10.0 + EARLY_EVERY_S / 2),
        pokes.allow((CODE,), 10.0 + EARLY_EVERY_S),
        pokes.allow((CHAT,), 10.0 + EARLY_EVERY_S),
        pokes.allow((), 20.0),
    ]

    assert allowed == [True, False, True, False, True, False]


def test_a_clock_that_was_set_back_holds_nobody_up() -> None:
    pokes = Pokes()
    pokes.allow((CHAT,), 1e9)

    assert pokes.allow((CHAT,), 10.0)
