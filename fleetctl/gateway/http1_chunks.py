"""The chunked transfer coding, read strictly and without copying."""

import re
from typing import Final

from fleetctl.gateway.limits import CHUNK_EXTENSIONS_LIMIT_BYTES, CHUNK_LINE_LIMIT_BYTES, TRAILER_LIMIT_BYTES


class BadFraming(Exception):
    """The bytes are not the HTTP/1.1 that we accept; the connection they came on cannot be used again."""


# RFC 9112, section 7.1. Extensions are accepted and ignored; nothing that could end a line early is in them.
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*+;[\t\x20-\x7e\x80-\xff]*+)?\r\n")
_PLAIN_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")
_TRAILER_LINE: Final = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+)?\r\n")

_PLAIN_LINE_BYTES: Final = 10
"""The longest size line without an extension."""
_PIECE_BYTES: Final = 4096
"""Below this payload is collected in one piece: an object for each chunk of two bytes takes 25 times their memory."""

_SIZE, _DATA, _DATA_END, _TRAILER, _DONE = range(5)


class ChunkScanner:
    """Follows one chunked body across reads. With `keep` it also collects the payload into `payload`.

    `feed` returns how many of the bytes belong to the body once it is complete, and -1 while it is not.
    """

    __slots__ = (
        "_extensions_bytes",
        "_line",
        "_missing",
        "_state",
        "_trailers_bytes",
        "keep",
        "payload",
        "payload_bytes",
    )

    def __init__(self, *, keep: bool = False) -> None:
        self._state = _SIZE
        self._missing = 0
        self._line = b""
        self.keep = keep
        self.payload: list[bytes | bytearray] = []
        self.payload_bytes = 0
        self._extensions_bytes = 0
        self._trailers_bytes = 0

    @property
    def between_chunks(self) -> bool:
        """A chunk of our own would be well-formed here."""
        return self._state == _SIZE and not self._line

    def feed(self, data: bytes) -> int:
        """Raises `BadFraming`."""
        position, size = 0, len(data)
        if self._state == _SIZE and not self._line and not self.keep:
            position = self._skip_whole(data, size)
            if position == size:
                return -1
        while True:
            if self._state == _SIZE:
                if self._line:  # a line cut by the end of a read
                    position = self._continue_line(data, _SIZE_LINE, CHUNK_LINE_LIMIT_BYTES)
                    if position < 0:
                        return -1
                    length = int(self._line.partition(b";")[0], 16)
                    line_bytes = len(self._line)
                    self._line = b""
                else:
                    if position == size:
                        return -1
                    found = _SIZE_LINE.match(data, position)
                    if found is None:
                        self._begin_line(data[position:], CHUNK_LINE_LIMIT_BYTES)
                        return -1
                    length = int(found[1], 16)
                    line_bytes = found.end() - position
                    position = found.end()
                if line_bytes > _PLAIN_LINE_BYTES:
                    self._count_extension(line_bytes)
                self._missing = length
                self._state = _DATA if length else _TRAILER
            if self._state == _DATA:
                end = position + self._missing
                if end > size:
                    self._take(data, position, size)
                    self._missing = end - size
                    return -1
                self._take(data, position, end)
                self._missing = 2
                self._state = _DATA_END
                position = end
            if self._state == _DATA_END:
                seen = data[position : position + self._missing]
                if seen != b"\r\n"[2 - self._missing :][: len(seen)]:
                    raise BadFraming("a chunk is longer than it said")
                position += len(seen)
                self._missing -= len(seen)
                if self._missing:
                    return -1
                self._state = _SIZE
                continue
            if self._state == _TRAILER:
                position = self._read_trailers(data, position)
                if position >= 0:
                    self._state = _DONE
                return position
            if self._state == _DONE:
                return 0

    def _skip_whole(self, data: bytes, size: int) -> int:
        """How much of it is whole chunks without extensions, as a stream of events usually comes."""
        position = 0
        while (found := _PLAIN_SIZE_LINE.match(data, position)) is not None:
            start = found.end()
            end = start + int(found[1], 16)
            if data[end : end + 2] != b"\r\n" or end == start:
                break
            self.payload_bytes += end - start
            position = end + 2
            if position == size:
                break
        return position

    def _take(self, data: bytes, start: int, end: int) -> None:
        self.payload_bytes += end - start
        if not self.keep or end == start:
            return
        if end - start >= _PIECE_BYTES:
            self.payload.append(data[start:end])
        elif self.payload and isinstance(last := self.payload[-1], bytearray):
            last += data[start:end]
        else:
            self.payload.append(bytearray(data[start:end]))

    def _count_extension(self, line_bytes: int) -> None:
        self._extensions_bytes += line_bytes
        if line_bytes > CHUNK_LINE_LIMIT_BYTES or self._extensions_bytes > CHUNK_EXTENSIONS_LIMIT_BYTES:
            raise BadFraming("the chunk extensions are too long")

    def _read_trailers(self, data: bytes, position: int) -> int:
        """Where in `data` the empty line after the trailers ends; -1 while it has not come."""
        while True:
            if self._line:
                position = self._continue_line(data, _TRAILER_LINE, CHUNK_LINE_LIMIT_BYTES)
                if position < 0:
                    return -1
                line_bytes = len(self._line)
                self._line = b""
            else:
                found = _TRAILER_LINE.match(data, position)
                if found is None:
                    if position < len(data):
                        self._begin_line(data[position:], CHUNK_LINE_LIMIT_BYTES)
                    return -1
                line_bytes = found.end() - position
                position = found.end()
            self._trailers_bytes += line_bytes
            if line_bytes > CHUNK_LINE_LIMIT_BYTES or self._trailers_bytes > TRAILER_LIMIT_BYTES:
                raise BadFraming("the trailers are too long")
            if line_bytes == 2:
                return position

    def _begin_line(self, line: bytes, limit: int) -> None:
        if b"\n" in line or len(line) > limit or not _may_become(line, self._state):
            raise BadFraming("a chunk's size or trailer is malformed")
        self._line = line

    def _continue_line(self, data: bytes, pattern: re.Pattern[bytes], limit: int) -> int:
        """Where in `data` the line begun in an earlier read ends; -1 while it has not."""
        before = len(self._line)
        line = self._line + data[: limit + 2]
        found = pattern.match(line)
        if found is None:
            self._begin_line(line, limit)
            return -1
        if found.end() > limit:
            raise BadFraming("a chunk's size or trailer is too long")
        self._line = found[0]
        return found.end() - before


_SIZE_BEGUN: Final = re.compile(rb"[0-9A-Fa-f]{1,8}(?:[ \t]*+(?:;[\t\x20-\x7e\x80-\xff]*+)?)?\r?")
_TRAILER_BEGUN: Final = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++(?::[\t\x20-\x7e\x80-\xff]*+)?)?\r?")


def _may_become(line: bytes, state: int) -> bool:
    """More bytes could make this beginning a whole line; if not, waiting for them would hang the connection."""
    pattern = _TRAILER_BEGUN if state == _TRAILER else _SIZE_BEGUN
    return pattern.fullmatch(line) is not None
