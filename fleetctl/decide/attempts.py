"""What launches came to, place by place, and until when each place rests: failover as people can read it."""

from collections.abc import Iterable, Mapping

from fleetctl.decide.offers import rests_until
from fleetctl.model.instances import Instance
from fleetctl.model.places import Experience, place_of
from fleetctl.model.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One Place, the last thing that happened there, and what is known of it."""

    place: str
    """`provider/zone/type/market`."""
    at: float
    """Unix seconds of the last attempt's end, or of its beginning while it goes on."""
    outcome: str
    """`ready`, `booting`, … for one that was granted; else the error's code."""
    detail: str
    """The words of the last error there; empty where there was none."""
    attempts: int
    """Launches there that are remembered."""
    failures: int
    """Those of them that failed."""
    rests_until: float | None
    """Unix seconds; None: it may be tried now."""
    shortage: float
    """The share of launches there that find no capacity, as far as experience goes."""


def attempts(rows: Iterable[Instance], known: Mapping[str, Experience], now: float) -> tuple[Attempt, ...]:
    """One line for each Place that a Pool's rows were launched at, those that rest last."""
    rows = tuple(rows)
    by_place: dict[str, list[Instance]] = {}
    for row in sorted(rows, key=_at):
        by_place.setdefault(str(place_of(row.offer)), []).append(row)
    found = [_attempt(place, there, rows, known.get(place), now) for place, there in by_place.items()]
    return tuple(sorted(found, key=lambda one: (one.rests_until is not None, one.rests_until or 0.0, one.place)))


def _attempt(
    place: str, there: list[Instance], rows: Iterable[Instance], known: Experience | None, now: float
) -> Attempt:
    last, failures = there[-1], [row for row in there if _failed(row)]
    until, _ = rests_until(rows, last.offer)
    return Attempt(
        place=place,
        at=_at(last),
        outcome=(last.failure_code or "failed") if _failed(last) else str(last.phase),
        detail=(failures[-1].failure or "") if failures else "",
        attempts=len(there),
        failures=len(failures),
        rests_until=until if until > now else None,
        shortage=0.0 if known is None else known.faded(now).shortage,
    )


def _failed(row: Instance) -> bool:
    return row.failed_at is not None and row.booted_at is None


def _at(row: Instance) -> float:
    return max(row.created_at, row.failed_at or 0.0, row.booted_at or 0.0)
