"""Ranges of bytes over HTTP: one session, few tries, and a plain word for every refusal."""

import asyncio
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp

CONNECTIONS_MAX = 64
"""To all servers at once. One stream of an object store or of the hub's gives 50 to 100 MB/s, so that 64 fill 40 Gbps;
whoever reads decides how many are under way."""
CONNECT_S = 10.0
"""A server that does not take a connection in this long is down or behind a wall."""
SILENCE_S = 60.0
"""A server that sends nothing for this long has lost the connection."""
BUFFER_BYTES = 1024**2
"""Of one connection, before it is held back: with 64 KiB, aiohttp's own, a core moves a quarter less."""
TRIES = 4
"""Of one range. A connection that breaks and a server that restarts are over by then; what is not is told."""
PAUSE_S = 0.25
"""Before the second try; doubled before each further one."""
WAIT_MAX_S = 10.0
"""What a server may ask for in `Retry-After` before it is a refusal: longer waits are those of the whole fetch."""

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Refused(Exception):
    """The server answered, and not with the bytes."""

    def __init__(self, status: int, *, wait_s: float | None = None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.wait_s = wait_s
        """What it asks to wait; None: it does not say."""


class Unreachable(Exception):
    """No answer, or one that broke off, in all tries: the last reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a server sent."""

    data: bytes
    ranged: bool
    """False: it ignored the range and began with the whole, of which `data` is the beginning or all."""
    total: int | None
    """Of the whole file; None: it does not say."""
    version: str
    """Its ETag, where that is a strong one; else empty."""


def session() -> "aiohttp.ClientSession":
    """For one origin: bodies as they are, proxies as the environment says."""
    import aiohttp

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S),
        headers={"Accept-Encoding": "identity"},
        read_bufsize=BUFFER_BYTES,
        auto_decompress=False,
        trust_env=True,
    )


async def read_part(
    http: "aiohttp.ClientSession", url: str, start: int, length: int, headers: Mapping[str, str], *, most: int = 0
) -> Part:
    """`length` bytes from `start`, fewer where the file ends; of a server that ignores ranges the whole up to `most`.

    Raises `Refused`, `Unreachable`.
    """
    import aiohttp

    reason = ""
    for attempt in range(TRIES):
        pause_s = PAUSE_S * 2**attempt
        try:
            return await _asked(http, url, start, length, headers, most)
        except Refused as refused:
            if refused.status < 500 and refused.status != 429:
                raise
            if (refused.wait_s or 0.0) > WAIT_MAX_S or attempt == TRIES - 1:
                raise
            pause_s = max(pause_s, refused.wait_s or 0.0)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            # Its text may hold an address with a signature in it: the kind of error says enough.
            reason = "it went silent" if isinstance(error, TimeoutError) else _words(error)
            if attempt == TRIES - 1:
                break
        await asyncio.sleep(pause_s)
    raise Unreachable(reason)


async def _asked(
    http: "aiohttp.ClientSession", url: str, start: int, length: int, headers: Mapping[str, str], most: int
) -> Part:
    import aiohttp
    from yarl import URL

    asked = {**headers, "Range": f"bytes={start}-{start + length - 1}"}
    # As it stands: a signature is over the very letters of its address.
    async with http.get(URL(url, encoded=True), headers=asked) as answer:
        etag = answer.headers.get("ETag", "")
        version = "" if etag.startswith("W/") else etag
        if answer.status == 206:
            found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            if found is None or int(found[1]) != start:
                raise Refused(502)
            # Of a server that goes on beyond what was asked for, no more than that: the rest may have no end.
            data = await answer.content.readexactly(min(int(found[2]) - start + 1, length))
            total = None if found[3] == "*" else int(found[3])
            if len(data) != length and start + len(data) != total:
                raise aiohttp.ClientPayloadError("another length than asked for")
            return Part(data=data, ranged=True, total=total, version=version)
        if answer.status == 200:
            said = answer.headers.get("Content-Length")
            total = int(said) if said is not None and said.isdigit() else None
            data = b"" if total is None or total > most else await answer.content.readexactly(total)
            return Part(data=data, ranged=False, total=total, version=version)
        raise Refused(answer.status, wait_s=_wait_s(answer.headers.get("Retry-After", "")))


def _wait_s(text: str) -> float | None:
    return float(text) if text.isdigit() else None


def _words(error: Exception) -> str:
    inner = getattr(error, "os_error", error)
    number = inner.errno if isinstance(inner, OSError) else None
    # The number's own words: what is said besides may hold an address.
    return os.strerror(number).lower() if number and number > 0 else type(error).__name__
