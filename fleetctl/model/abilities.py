"""What a Provider's machines can do besides running and ending."""

from fleetctl.model.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """Told without asking the Provider, so that what can never work is refused before it is tried."""

    no_stop: str = ""
    """Why no machine of it can be stopped with its disk kept; empty: they can."""
    no_spot_stop: str = ""
    """Why one of the spot Market cannot; empty: as the others."""
    start_may_fail: str = ""
    """What may keep a stopped machine from starting again; empty: nothing but itself."""
