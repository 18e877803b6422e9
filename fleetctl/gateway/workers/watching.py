"""Whether the processes that were started still do anything: one that was stopped, or hangs, never ends by itself."""

from collections.abc import Iterable
from typing import Final, Protocol, TypeVar

LOOK_EVERY_S: Final = 1.0
"""A message of a few bytes to each process and back; nothing beside what they say to each other."""
SILENT_LOOKS_MAX: Final = 10
"""After so many looks without an answer, ten seconds, it is killed. The longest turn of a loop that was seen, one that
takes in ten thousand tenants, is a tenth of a second; a machine that is out of memory may take some."""


class Watched(Protocol):
    """A process that was started."""

    silent_looks: int
    """Since it was called and has not answered; 0: it has."""

    def call(self) -> None:
        """Ask it for a sign of life."""


W = TypeVar("W", bound=Watched)


class Watch:
    """Counts looks, not time: where everything stood still, the first process too, nobody is to blame."""

    def __init__(self, now: float) -> None:
        self.next_at = now + LOOK_EVERY_S

    def silent(self, watched: Iterable[W], now: float) -> list[W]:
        """Those that have not answered for too long. To be called when `next_at` has come; earlier does nothing."""
        if now < self.next_at:
            return []
        self.next_at = now + LOOK_EVERY_S
        found = []
        for one in watched:
            if not one.silent_looks:
                one.call()
            one.silent_looks += 1
            if one.silent_looks > SILENT_LOOKS_MAX:
                found.append(one)
        return found
