"""Two readers of HTTP/1.1 heads that are not the gateway's, and heads, good and spoiled, to try them all with."""

from dataclasses import dataclass

import httptools
from hypothesis import strategies as st

# Readers


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What a reader takes a head for."""

    method: bytes
    target: bytes
    length: int
    chunked: bool
    headers: tuple[tuple[bytes, bytes], ...]
    """Names in lower case, values trimmed."""


_TCHAR = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def by_the_book(head: bytes) -> Read:
    """RFC 9112 read byte by byte, with neither regular expressions nor leniency. Raises `ValueError`."""
    if not head.endswith(b"\r\n\r\n"):
        raise ValueError("no end")
    line, *fields = head[:-4].split(b"\r\n")
    method, target, version = line.split(b" ")
    if version not in (b"HTTP/1.0", b"HTTP/1.1") or not method or not _TCHAR.issuperset(method):
        raise ValueError("request line")
    if not target.startswith(b"/") or any(not 0x21 <= byte <= 0x7E for byte in target):
        raise ValueError("target")
    headers = []
    for field in fields:
        name, colon, value = field.partition(b":")
        if not colon or not name or not _TCHAR.issuperset(name):
            raise ValueError("name")
        if any(byte == 0x7F or (byte < 0x20 and byte != 0x09) for byte in value):
            raise ValueError("value")
        headers.append((name.lower(), value.strip(b" \t")))
    lengths = [value for name, value in headers if name == b"content-length"]
    codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if len(lengths) + len(codings) > 1 or any(not value.isdigit() for value in lengths):
        raise ValueError("length")
    if codings and codings != [b"chunked"]:
        raise ValueError("coding")
    return Read(
        method=method,
        target=target,
        length=int(lengths[0]) if lengths else 0,
        chunked=bool(codings),
        headers=tuple(headers),
    )


class _Heard:
    """What llhttp calls back."""

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.complete = True


def by_llhttp(head: bytes) -> Read:
    """Raises `ValueError`."""
    heard = _Heard()
    parser = httptools.HttpRequestParser(heard)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise ValueError(str(error)) from None
    if not heard.complete:
        raise ValueError("incomplete")
    found = dict(heard.headers)
    return Read(
        method=parser.get_method(),
        target=heard.target,
        length=int(found.get(b"content-length", b"0")),
        chunked=found.get(b"transfer-encoding", b"").lower() == b"chunked",
        headers=tuple(heard.headers),
    )


# Heads


_NAMES = (
    b"Content-Length", b"Transfer-Encoding", b"Connection", b"Host", b"Expect", b"TE", b"Trailer", b"Upgrade",
    b"Keep-Alive", b"Cookie", b"X-A", b"x-fleetctl-service", b"Authorization", b"traceparent", b"Content_Length",
)  # fmt: skip
_VALUES = (
    b"0", b"3", b"03", b"+3", b"3,3", b"999999999999999", b"chunked", b"Chunked", b"gzip, chunked", b"close",
    b"keep-alive, x-a", b"content-length", b"a", b"100-continue", b"websocket", b"h2c", b"", b"\xe9", b"b:c", b"x y",
)  # fmt: skip
_SPOILERS = (
    b"\r", b"\n", b"\r\n", b"\r\n ", b"\x00", b" ", b"\t", b":", b"\x0b", b"\x7f", b"\xa0", b"\r\n\r\n", b",", b";",
    b"0x",
)  # fmt: skip

_GOOD_FIELDS = (
    b"Content-Length: 3\r\n", b"content-length:\t12 \r\n", b"Content-Length: 007\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"transfer-encoding:chunKED \r\n", b"Connection: keep-alive, X-A\r\n", b"connection: x-b ,close\r\n", b"X-A: 1\r\n",
    b"x-a:2\r\n", b"X-B: \xe9 \r\n", b"X-A-B: 1\r\n", b"TE: trailers\r\n", b"Cookie: a=b; c\r\n", b"Accept:\r\n",
    b"Keep-Alive: 5\r\n", b"Content_Length: 9\r\n", b"Trailer: X-A\r\n", b"Upgrade: h2c\r\n",
)  # fmt: skip
_wild_field = st.builds(
    lambda name, space, value, after: name + b":" + space + value + after + b"\r\n",
    st.sampled_from(_NAMES),
    st.sampled_from((b"", b" ", b"\t", b"  ")),
    st.sampled_from(_VALUES),
    st.sampled_from((b"", b" ", b"\t")),
)
_good_field = st.sampled_from(_GOOD_FIELDS)
_wild_line = st.builds(
    lambda method, target, version: method + b" " + target + b" HTTP/" + version + b"\r\n",
    st.sampled_from((b"GET", b"POST", b"HEAD", b"DELETE", b"OPTIONS", b"PURGE", b"get", b"X-Y")),
    st.sampled_from((b"/", b"/v1/x?y=%20", b"//a/b", b"*", b"http://b/", b"/a b", b"/\xe9", b"/#", b"a:1", b"/a/../b")),
    st.sampled_from((b"1.1", b"1.0", b"2.0", b"1.2")),
)
_good_line = st.builds(
    lambda method, target: method + b" " + target + b" HTTP/1.1\r\n",
    st.sampled_from((b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH")),
    st.sampled_from((b"/", b"/v1/x?y=%20", b"//a/b", b"/a/../b", b"/?", b"/v1/chat;a=b", b"/~!$&'()*+,")),
)


def spoiled(head: bytes, spoils: list[tuple[float, bytes, bool]]) -> bytes:
    for place, spoiler, instead in spoils:
        at = int(place * len(head))
        head = head[:at] + spoiler + head[at + (len(spoiler) if instead else 0) :]
    return head


SPOILS = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(_SPOILERS) | st.binary(min_size=1, max_size=2), st.booleans()),
    max_size=2,
)
HEADS = st.builds(
    lambda line, host, fields, spoils: spoiled(line + host + b"".join(fields) + b"\r\n", spoils),
    _good_line | _good_line | _good_line | _wild_line,
    st.sampled_from((b"Host: a\r\n", b"Host: a\r\n", b"Host: a\r\n", b"")),
    st.lists(_good_field, max_size=5, unique=True) | st.lists(_good_field | _wild_field, max_size=3),
    st.just([]) | SPOILS,
)


# What a proxy passes on


HOP_BY_HOP = frozenset(
    (
        b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te", b"trailer", b"upgrade",
        b"http2-settings", b"expect", b"transfer-encoding", b"content-length",
    )
)  # fmt: skip
_THE_GATEWAYS_OWN = frozenset(
    (
        b"x-fleetctl-service", b"x-fleetctl-priority", b"x-fleetctl-timeout", b"authorization", b"x-api-key",
        b"api-key", b"traceparent", b"x-request-id",
    )
)  # fmt: skip
"""Headers that it reads for itself, and may take out or write anew."""


def end_to_end(read: Read) -> list[tuple[bytes, bytes]]:
    """The headers that a proxy must pass on, in their order."""
    named = {
        option.strip(b" \t")
        for name, value in read.headers
        if name == b"connection"
        for option in value.lower().split(b",")
    }
    dropped = HOP_BY_HOP | _THE_GATEWAYS_OWN | named
    return [(name, value) for name, value in read.headers if name not in dropped]
