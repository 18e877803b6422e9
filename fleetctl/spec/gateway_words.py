"""Addresses, hashes, sizes and dates of a gateway's own file, as people write them. Each raises `Unfit`."""

import re
from datetime import UTC, datetime
from urllib.parse import SplitResult, urlsplit

from fleetctl.spec.problems import Unfit
from fleetctl.spec.units import shown, sort_of
from fleetctl.spec.words import word

URL_PATTERN = r"^http://[^\s/@?#]+(:[0-9]{1,5})?/?$"
SHA256_PATTERN = r"^[0-9A-Fa-f]{64}$"
SIZE_PATTERN = r"^[0-9]+(\.[0-9]+)?(kB|MB|GB)$"
HOST_PATTERN = r"^(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$"
EXPIRES_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2}))?$"

HTTP_PORT = 80
"""Of a URL that names none."""
SIZE_MAX_BYTES = 1024**4
"""A terabyte of waiting requests is a slip of the unit."""

_UNITS = {"kB": 1000, "MB": 1000**2, "GB": 1000**3}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(kB|MB|GB)")


def replica_address(value: object) -> str:
    """`host:port` of `http://host:port`."""
    text = word(value)
    if re.fullmatch(r"[^/\s]+", text):
        raise Unfit(f"{shown(text)} is no URL", f"write http://{text}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise Unfit(f"{shown(text)} is no URL: {str(error).lower()}", "write http://HOST:PORT") from None
    if parts.scheme == "https":
        raise Unfit(
            f"{shown(text)}: replicas are spoken to in plain HTTP, over a network that is yours",
            f"write http:// and the engine's plain port, or put a TLS tunnel before it: http://{parts.netloc}",
        )
    if parts.scheme != "http" or not parts.hostname:
        raise Unfit(f"{shown(text)} is no URL of a replica", "write http://HOST:PORT")
    plain = f"http://{_authority(parts)}"
    if "@" in parts.netloc:
        raise Unfit("a replica's URL carries no name and password", f"write {plain}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise Unfit(f"{shown(text)}: paths are the client's, and go to the replica as they are", f"write {plain}")
    if port == 0:
        raise Unfit("port 0 is no replica's", "write http://HOST:PORT")
    return _authority(parts)


def _authority(parts: SplitResult) -> str:
    host = parts.hostname or ""
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or HTTP_PORT}"


def sha256(value: object) -> str:
    """A digest in hexadecimal, in small letters."""
    text = word(value)
    if not re.fullmatch(SHA256_PATTERN, text):
        raise Unfit(
            "is no sha256: 64 hexadecimal digits", "make it from the key on stdin: fleetctl gateway --hash-key"
        )  # what stands there may be the key itself: it is not shown
    return text.lower()


def host(value: object) -> str:
    """A Host header, in small letters; `*.` before it: all below."""
    text = word(value)
    if not re.fullmatch(HOST_PATTERN, text):
        raise Unfit(f"{shown(text)} is no host", "write one such as chat.example.org or *.example.org, without a port")
    return text.lower()


def size(value: object) -> int:
    """Bytes of `256MB`."""
    if not isinstance(value, str):
        raise Unfit(f"must be a size, not {sort_of(value)}", "write a size such as 256MB or 2GB")
    found = _SIZE.fullmatch(value)
    if found is None:
        raise Unfit(f"{shown(value)} is no size", "write a size such as 256MB or 2GB")
    made = int(float(found[1]) * _UNITS[found[2]])
    if not 1 <= made <= SIZE_MAX_BYTES:
        raise Unfit(f"{value} is not from 1kB to 1000GB", "write a size such as 256MB or 2GB")
    return made


def moment(value: object) -> float:
    """Unix seconds of `2027-01-31` (its first moment, UTC) or of `2027-01-31T18:00:00Z`."""
    fix = "write a date such as 2027-01-31, or a moment such as 2027-01-31T18:00:00Z"
    if not isinstance(value, str):
        raise Unfit(f"must be a date, not {sort_of(value)}", fix)
    if not re.fullmatch(EXPIRES_PATTERN, value):
        raise Unfit(f"{shown(value)} is no date", fix)
    try:
        found = datetime.fromisoformat(value)
    except ValueError as error:
        raise Unfit(f"{shown(value)} is no date: {error}", fix) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
