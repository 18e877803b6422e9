"""Who has waited too long, for waits that all last the same."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class Resting(Protocol):
    rests_since: float
    """Infinite while it does not rest."""


R = TypeVar("R", bound=Resting)


class Waits(Generic[T]):
    """Those that wait, oldest first. Starting, stopping and finding the expired are O(1) each; it reads no clock."""

    __slots__ = ("_since", "timeout_s")

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._since: OrderedDict[T, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._since)

    def start(self, item: T, now: float) -> None:
        """Begin to wait; one that waits already goes on waiting since then."""
        self._since.setdefault(item, now)

    def stop(self, item: T) -> None:
        self._since.pop(item, None)

    def expired(self, now: float) -> list[T]:
        """Take out those whose time is over."""
        over: list[T] = []
        while self._since:
            item, since = next(iter(self._since.items()))
            if since + self.timeout_s > now:
                break
            del self._since[item]
            over.append(item)
        return over


class Idles(Generic[R]):
    """Who has rested too long, for rests that begin and end with every request: noting one costs an attribute, finding
    the expired costs a look at each, once in a while.
    """

    __slots__ = ("timeout_s",)

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s

    def expired(self, resting: Iterable[R], now: float) -> list[R]:
        since = now - self.timeout_s
        return [one for one in resting if one.rests_since <= since]
