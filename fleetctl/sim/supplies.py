"""Where the machines of a Service come from, when it shares them with others."""

from typing import Protocol


class Supply(Protocol):
    """Machines that a Service shares with others. `gpus` are those of one of its replicas."""

    def wake(self, now: float, gpus: int) -> bool:
        """Take them from what stands by. False: there are not that many."""
        ...

    def launch(self, now: float, gpus: int) -> bool:
        """Take them from what may still be rented. False: nothing is left."""
        ...

    def give_back(self, now: float, gpus: int) -> None:
        """A replica has ended."""
        ...

    def standing(self, gpus: int) -> int:
        """Replicas of that size that could be woken."""
        ...

    def keep(self, now: float, service: int, units: int, gpus: int) -> None:
        """A Service's wish: so many of its replicas are to stand by."""
        ...
