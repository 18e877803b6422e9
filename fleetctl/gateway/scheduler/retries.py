"""Those that a replica failed before their clients saw a byte: they come before all others, oldest first."""

from bisect import bisect_left, insort
from collections.abc import Iterator

from fleetctl.gateway.scheduler.ticket import Seat, Ticket


class Retries:
    """By the Seat to avoid, in order of arrival. As few groups as replicas that fail at once."""

    __slots__ = ("_groups", "count")

    def __init__(self) -> None:
        self.count = 0
        self._groups: dict[Seat | None, list[Ticket]] = {}

    def __iter__(self) -> Iterator[Ticket]:
        for group in self._groups.values():
            yield from group

    def add(self, ticket: Ticket) -> None:
        insort(self._groups.setdefault(ticket.avoids, []), ticket, key=_number)
        self.count += 1

    def remove(self, ticket: Ticket) -> None:
        group = self._groups[ticket.avoids]
        del group[bisect_left(group, ticket.number, key=_number)]
        self.count -= 1
        if not group:
            del self._groups[ticket.avoids]

    def heads(self) -> list[Ticket]:
        """The oldest of each group, the oldest of all first."""
        return sorted((group[0] for group in self._groups.values()), key=_number)


def _number(ticket: Ticket) -> int:
    return ticket.number
