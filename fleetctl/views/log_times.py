"""When the lines of an engine's log were written, by what they say themselves."""

import re
from datetime import UTC, datetime, tzinfo

_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?")
_VLLM = re.compile(r"\b(\d\d)-(\d\d) (\d\d:\d\d:\d\d)\b")
"""`INFO 11-21 20:47:34 [api_server.py:42] …`: without a year."""
HEAD = 120
"""Characters at the beginning of a line in which its time is looked for."""
_YEAR_S = 366 * 86_400.0


def time_of(line: str, *, now: float, zone: tzinfo | None = UTC) -> float | None:
    """Unix seconds; None: it says none. A time without a zone is in `zone` (None: this computer's); one without a year
    is the last such before `now`."""
    head = line[:HEAD]
    found = _ISO.search(head)
    if found:
        text = found[0].replace(",", ".").replace("Z", "+00:00")
        try:
            return _unix(datetime.fromisoformat(text), zone)
        except ValueError:
            return None
    short = _VLLM.search(head)
    if not short:
        return None
    year = datetime.fromtimestamp(now, zone).year
    for one in (year, year - 1):
        try:
            at = _unix(datetime.fromisoformat(f"{one}-{short[1]}-{short[2]} {short[3]}"), zone)
        except ValueError:
            continue  # the 29th of February of another year
        if at <= now + 86_400.0:
            return at if now - at < _YEAR_S else None
    return None


def _unix(at: datetime, zone: tzinfo | None) -> float:
    if at.tzinfo is not None:
        return at.timestamp()
    return (at.astimezone() if zone is None else at.replace(tzinfo=zone)).timestamp()


def since(text: str, begun: float, *, now: float, zone: tzinfo | None = UTC) -> tuple[str, bool]:
    """The lines from the first that was written at or after `begun`; and whether any line says when it was written.

    What follows a line without a time of its own belongs to it. Where no line says any, all are kept.
    """
    lines = text.splitlines(keepends=True)
    known = False
    for index, line in enumerate(lines):
        at = time_of(line, now=now, zone=zone)
        known = known or at is not None
        if at is not None and at >= begun:
            return "".join(lines[index:]), True
    return ("", True) if known else (text, False)
