"""The list of events, which `events` and `get events` show."""

import time
from collections.abc import Callable

from fleetctl.cli.output import Column, Listing
from fleetctl.cli.session import event_line
from fleetctl.model.decisions import Event
from fleetctl.store import SqlStore

LATE_S = 60.0
"""An event is stored with the tick that it is of, after it happened; a tick takes less."""
WATCH_MOST = 10_000
"""Events between two looks: more than a fleet of a thousand replicas has in a minute."""

EVENTS: tuple[Column[Event], ...] = (
    Column(header="TIME", cell=lambda row: _when(row.at)),
    Column(header="KIND", cell=lambda row: row.kind, drop=1),
    Column(header="SUBJECT", cell=lambda row: row.subject),
    Column(header="MESSAGE", cell=lambda row: row.message.replace("\n", " / ")),
)


def _when(at: float) -> str:
    """By this computer's clock, with the day where it is not today."""
    local = time.localtime(at)
    today = time.localtime()[:3] == local[:3]
    return time.strftime("%H:%M:%S" if today else "%m-%d %H:%M:%S", local)


def events_since(
    store: SqlStore, since_s: float, *, limit: int, subject: str | None = None, empty: str
) -> Callable[[], Listing[Event]]:
    """How to look at the events of the last `since_s` seconds, the newest `limit`; and after that at what comes."""
    newest: float | None = None

    def look() -> Listing[Event]:
        nonlocal newest
        now = time.time()
        begin, most = (now - since_s, limit) if newest is None else (newest - LATE_S, WATCH_MOST)
        found = store.events(since=begin, limit=most, subject=subject)
        newest = now
        return Listing(rows=found, columns=EVENTS, name=lambda row: row.subject, empty=empty, line=event_line)

    return look
