"""One JSON line per request, written off the hot path. Never a prompt, never a key."""

import fcntl
import logging
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from fleetctl.gateway.limits import ACCESS_LOG_BUFFER_BYTES, ACCESS_LOG_ROTATE_BYTES, ACCESS_LOGS_KEPT

_log = logging.getLogger("fleetctl.gateway")

_SAMPLES: Final = 1 << 32
_LINE_BYTES: Final = 512
"""About what one line takes."""


class Line(msgspec.Struct, kw_only=True, gc=False):
    """Times in seconds. Zeros and empty strings: it did not come to that."""

    time: float
    """Unix time of the request's end."""
    request_id: str
    trace_id: str
    tenant: str
    key: str
    """The key's id."""
    method: str
    path: str
    """Without the query, which may hold secrets."""
    service: str
    replica: str
    status: int
    """As sent to the client; 0: the client left before."""
    outcome: str
    """answered | failed | refused | cancelled"""
    code: str
    """Of a refusal."""
    queued_s: float
    ttft_s: float
    total_s: float
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    bytes_in: int
    retried: bool


class AccessLog:
    """Lines are gathered by `note` and written by `flush`, which the host calls four times a second.

    Several processes may write the same file; one of them rotates it and the others follow. What cannot be written is
    dropped and counted, and requests go on. Raises `OSError` where the file cannot be opened at first.
    """

    def __init__(self, path: Path, *, sample: float = 1.0, rotate_bytes: int = ACCESS_LOG_ROTATE_BYTES) -> None:
        self.dropped = 0
        """Lines that the disk did not take."""
        self._path = path
        self._sampled_below = round(sample * _SAMPLES)
        self._rotate_bytes = rotate_bytes
        self._lines: list[Line] = []
        self._encoder = msgspec.json.Encoder()
        self._failing = False
        self._file = self._open()

    def wants(self, trace_id: bytes) -> bool:
        """Whether an answered request is in the sample. By its trace, so that all gateways choose the same."""
        return int(trace_id[-8:], 16) < self._sampled_below

    def note(self, line: Line) -> None:
        if len(self._lines) * _LINE_BYTES >= ACCESS_LOG_BUFFER_BYTES:
            self.dropped += 1
            return
        self._lines.append(line)

    def flush(self) -> None:
        """Write what has been gathered, in one write; rotate where that made the file too large."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        try:
            self._follow()
            self._write(self._encoder.encode_lines(lines))
            self._failing = False
            if os.fstat(self._file).st_size >= self._rotate_bytes and stat.S_ISREG(os.lstat(self._path).st_mode):
                self._rotate()  # not a link, as /dev/stdout is one: what it leads to is somebody else's to put aside
        except OSError as error:
            self.dropped += len(lines)
            if not self._failing:  # once per failure, not four times a second
                self._failing = True
                _log.warning("the access log %s cannot be written: %s", self._path, error.strerror)

    def reopen(self) -> None:
        """Begin a file anew under the same name: somebody has put the old one aside."""
        self.flush()
        try:
            fresh = self._open()
        except OSError as error:
            _log.warning("the access log %s cannot be opened again: %s", self._path, error.strerror)
            return
        os.close(self._file)
        self._file = fresh

    def close(self) -> None:
        self.flush()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _write(self, data: bytes) -> None:
        written = os.write(self._file, data)
        while written < len(data):  # a disk that fills up takes a part first, and then says so
            written += os.write(self._file, data[written:])

    def _follow(self) -> None:
        """Another process may have put the file aside, or somebody deleted it."""
        try:
            there = self._path.stat()
            ours = os.fstat(self._file)
            if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
                return
        except FileNotFoundError:
            pass
        fresh = self._open()
        os.close(self._file)
        self._file = fresh

    def _rotate(self) -> None:
        """Only one process at a time: the lock is on the file that is to go."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        old = self._file
        try:
            there = self._path.stat()
            if there.st_ino == os.fstat(old).st_ino:
                for number in range(ACCESS_LOGS_KEPT - 1, 0, -1):
                    _rename(self._aside(number), self._aside(number + 1))
                _rename(self._path, self._aside(1))
            self._file = self._open()
        finally:
            if self._file != old:
                os.close(old)
            else:
                fcntl.flock(old, fcntl.LOCK_UN)

    def _aside(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _rename(old: Path, new: Path) -> None:
    with suppress(FileNotFoundError):
        old.replace(new)
