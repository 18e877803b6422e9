"""Names, texts and expressions as people write them. Each function raises `Unfit` with what to write instead."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from fleetctl.engines import engine, engine_names
from fleetctl.errors import UsageError
from fleetctl.spec.problems import Unfit
from fleetctl.spec.suggestions import did_you_mean, nearest, write_one_of
from fleetctl.spec.units import shown, sort_of

NAME_PATTERN = r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$"
"""A DNS label that begins with a letter and leaves 23 of its 63 characters to the numbers put behind it: names become
part of instance names, and Google's must begin with a letter."""
ENV_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
METRIC_PATTERN = r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"
PATH_PATTERN = r"^/\S*$"
MIRROR_PATTERN = r"^https?://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?/?$"
LABEL_PATTERN = r"^([a-z0-9][a-z0-9.-]{0,252}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
LABEL_VALUE_PATTERN = r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$"
"""Labels are those of Kubernetes, so that those there are can be kept."""
SETTING_PATTERN = r"^[a-z][a-z0-9_]{0,39}$"

TEXT_CHARS_MAX = 4096
"""Of one text: a command line fits; a file pasted by mistake does not."""
CRON_CHARS_MAX = 120
"""Of one cron expression: every field a list still fits."""


def name(value: object) -> str:
    """The name of a Service, Pool, Provider or fleet."""
    if not isinstance(value, str):
        raise Unfit(f"must be a name, not {sort_of(value)}", "write a name such as chat, in quotes if need be")
    if not re.fullmatch(NAME_PATTERN, value):
        better = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-0123456789")[:40].strip("-")
        raise Unfit(
            f"{shown(value)} is no name: at most 40 small letters, digits and '-', a letter first, no '-' last",
            f"write {better}" if better else "write a name such as chat",
        )
    return value


def text(value: object) -> str:
    """Text of a bounded length; numbers and truth values need quotes, so that what is written is what is meant."""
    if isinstance(value, int | float):
        plain = str(value).lower() if isinstance(value, bool) else value
        raise Unfit(f"must be text, not {sort_of(value)}", f'put it in quotes: "{plain}"')
    if not isinstance(value, str):
        raise Unfit(f"must be text, not {sort_of(value)}", "write one text")
    if len(value) > TEXT_CHARS_MAX:
        raise Unfit(f"is {len(value)} characters long", f"write at most {TEXT_CHARS_MAX}")
    return value


def word(value: object) -> str:
    """Text without spaces, not empty."""
    found = text(value)
    if not found or re.search(r"\s", found):
        raise Unfit(f"{shown(found)} must be one word", "write it without spaces")
    return found


def matching(pattern: str, what: str, example: str) -> Callable[[object], str]:
    """A reader of words that the pattern matches."""

    def read(value: object) -> str:
        found = word(value)
        if not re.fullmatch(pattern, found):
            raise Unfit(f"{shown(found)} is no {what}", f"write something like {example}")
        return found

    return read


def label_value(value: object) -> str:
    """The value of a label; it may be empty."""
    found = text(value)
    if not re.fullmatch(LABEL_VALUE_PATTERN, found):
        raise Unfit(
            f"{shown(found)} is no value of a label: at most 63 letters, digits, '-', '_' and '.'",
            "write something like search",
        )
    return found


def one_of(names: Sequence[str], what: str) -> Callable[[object], str]:
    """A reader of one of a few names."""

    def read(value: object) -> str:
        found = word(value)
        if found not in names:
            raise Unfit(f"there is no {what} {found!r}{did_you_mean(found, names)}", write_one_of(found, names))
        return found

    return read


def engine_name(value: object) -> str:
    """The name of an engine that there is."""
    found = word(value)
    try:
        return engine(found).name
    except UsageError as error:
        names = engine_names()
        if found in names:  # another package's, and broken
            raise Unfit(error.message, error.hint) from error
        raise Unfit(f"there is no engine {found!r}{did_you_mean(found, names)}", write_one_of(found, names)) from error


def market(value: object) -> object:
    """`on_demand`, `spot` or `reserved` as the shares they stand for; anything but text as it is."""
    if not isinstance(value, str):
        return value
    name = one_of(("on_demand", "spot", "reserved"), "market")(value)
    return {"spot": 1.0 if name == "spot" else 0.0, "fallback": False, "reserved": name == "reserved"}


def cron(value: object) -> str:
    """A cron expression of five fields that comes at some time."""
    from cronsim import CronSim, CronSimError

    found = text(value)
    fix = 'write minute, hour, day of month, month and weekday, such as "0 8 * * mon-fri"'
    if len(found) > CRON_CHARS_MAX:
        raise Unfit(f"is {len(found)} characters long", f"write at most {CRON_CHARS_MAX}")
    fields = len(found.split())
    if fields != 5:
        raise Unfit(f"{shown(found)} has {fields} fields, a cron expression has 5", fix)
    try:
        next(CronSim(found, datetime(2026, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        raise Unfit(f"{shown(found)} is no cron expression: {str(error).lower()}", fix) from error
    except StopIteration:
        raise Unfit(f"{shown(found)} never comes", "write a day that exists") from None
    return found


def time_zone(value: object) -> str:
    """The name of a time zone that this machine knows."""
    import zoneinfo

    found = word(value)
    try:
        zoneinfo.ZoneInfo(found)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        known = zoneinfo.available_timezones()
        if not known:
            raise Unfit("this machine has no time zones", "install the system's tzdata package") from error
        better = nearest(found, known) or "a name such as Europe/Berlin or UTC"
        raise Unfit(f"there is no time zone {found!r}{did_you_mean(found, known)}", f"write {better}") from error
    return found


def store(value: object) -> str:
    """A path, or the address of a PostgreSQL database without a password."""
    found = word(value)
    if found.startswith(("postgres://", "postgresql://")):
        if re.match(r"[^:]+://[^/@]*:[^/]*@", found) or re.search(r"[?&]password=", found):
            raise Unfit("a password does not belong in a file", "leave it out, and set PGPASSWORD or write ~/.pgpass")
    elif "://" in found:
        scheme = found.partition("://")[0]
        raise Unfit(f"{shown(scheme)} is no kind of store", "write a path, or postgresql://user@host/database")
    return found
