"""Times as people write them."""

import time
from datetime import UTC, datetime

from fleetctl.cli.session import duration_s
from fleetctl.errors import UsageError


def moment(text: str) -> float:
    """Unix seconds of `10m` (ago) or of an ISO time; one without a zone is local. Raises `UsageError`."""
    if text[-1:] in "smhd" and text[:-1].replace(".", "", 1).isdigit():
        return time.time() - duration_s(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no time", hint="write 10m (ago), or 2026-11-21T08:30:00Z") from None
    return (moment if moment.tzinfo else moment.astimezone(UTC)).timestamp()


def left(seconds: float) -> str:
    """Until then, to the nearest minute, hour or day: a key that was just made for 90 days has 90d and not 89d."""
    if seconds <= 0:
        return "over"
    unit, length = next((one for one in (("d", 86400), ("h", 3600)) if seconds >= 2 * one[1]), ("m", 60))
    return f"{max(1, round(seconds / length))}{unit}"
