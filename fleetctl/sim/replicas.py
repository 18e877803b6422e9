"""Replicas in virtual time, by what they are doing."""

from fleetctl.rehearsal.batching import Pace
from fleetctl.sim.engine_model import EngineModel

STARTING, READY, DRAINING, ENDED = range(4)
"""What a Replica does."""


class Replica:
    """One replica's life. Numbers count from 0 in order of launch."""

    __slots__ = ("engine", "number", "ordered_at", "state")

    def __init__(self, number: int, ordered_at: float, pace: Pace) -> None:
        self.number = number
        self.ordered_at = ordered_at
        self.state = STARTING
        self.engine = EngineModel(pace)


class Replicas:
    """All of a run, those that ended too, and apart those that start, serve and drain."""

    __slots__ = ("draining", "every", "serving", "starting")

    def __init__(self) -> None:
        self.every: list[Replica] = []
        """By number."""
        self.starting: list[Replica] = []
        self.serving: list[Replica] = []
        """Ready ones, in the order in which they became so."""
        self.draining: list[Replica] = []

    @property
    def ordered(self) -> int:
        """Ready and starting."""
        return len(self.serving) + len(self.starting)

    def order(self, now: float, pace: Pace) -> Replica:
        """One more, which nobody counts as starting or ready yet."""
        made = Replica(len(self.every), now, pace)
        self.every.append(made)
        return made
