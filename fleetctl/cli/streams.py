"""The three standard streams of a command: closed, full or without a reader, each is answered in one sentence."""

import errno
import io
import os
import select
import sys

TYPE_CHECKING = False
"""Known to type checkers by its name. Importing it from `typing` takes longer than to tell the version."""
if TYPE_CHECKING:
    from typing import TextIO

    from _typeshed import ReadableBuffer, WriteableBuffer

STDIN, STDOUT, STDERR = 0, 1, 2
NAMES = ("standard input", "standard output", "standard error")
"""By descriptor."""


class StreamFailure(Exception):
    """Standard input cannot be read, or standard output not written to: why, and what to do about it."""


def claim() -> None:
    """Put streams of our own in place of the three that Python opened, so that their failures are told from all others.

    A descriptor that is closed is taken, by something that fails as it did: else the next file to be opened, such as
    the store, would get its number, and be written over by whoever means the stream.
    """
    given: tuple[TextIO | None, ...] = (sys.stdin, sys.stdout, sys.stderr)
    for descriptor, stream in enumerate(given):
        if stream is None:
            # The lowest free descriptor is this one. Opened the wrong way round, it cannot be used either.
            os.open(os.devnull, os.O_WRONLY if descriptor == STDIN else os.O_RDONLY)
    sys.stdin, sys.stdout, sys.stderr = (_text(descriptor, stream) for descriptor, stream in enumerate(given))


def abandon() -> None:
    """Let what is still to be written go nowhere, so that the interpreter ends without another word."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (STDOUT, STDERR):
        os.dup2(nowhere, descriptor)


def pause(seconds: float) -> None:
    """Show what was written, then wait so long. Raises `BrokenPipeError` as soon as nobody reads it any more."""
    sys.stdout.flush()
    watched = select.poll()
    watched.register(STDOUT, 0)  # of a stream that nothing is asked of, only its end is told
    if watched.poll(seconds * 1000):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def _text(descriptor: int, given: "TextIO | None") -> io.TextIOWrapper:
    """The stream of that descriptor, in the encoding that Python chose for it."""
    raw = _Raw(descriptor, "rb" if descriptor == STDIN else "wb", closefd=False)
    whole_lines = False
    if isinstance(given, io.TextIOWrapper):
        whole_lines = given.line_buffering or given.write_through
    return io.TextIOWrapper(
        io.BufferedReader(raw) if descriptor == STDIN else io.BufferedWriter(raw),
        encoding="utf-8" if given is None else given.encoding,
        errors="replace" if given is None else given.errors,
        line_buffering=whole_lines,
    )


class _Raw(io.FileIO):
    """One of the three streams, byte by byte."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            if self.fileno() == STDERR:
                # Nobody can be told. What is done goes on: a full disk under its log must not end a controller.
                return memoryview(data).nbytes
            raise _failure(self.fileno(), error) from error

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        try:
            return super().readinto(buffer)
        except OSError as error:
            raise _failure(self.fileno(), error) from error

    def readall(self) -> bytes:
        try:
            return super().readall()
        except OSError as error:
            raise _failure(self.fileno(), error) from error


def _failure(descriptor: int, error: OSError) -> StreamFailure:
    name, use, done = (NAMES[descriptor], *(("reading", "read") if descriptor == STDIN else ("writing", "written to")))
    if error.errno == errno.EBADF:
        return StreamFailure(f"{name} is not open for {use}: give the command a file, a pipe or a terminal there")
    return StreamFailure(f"{name} cannot be {done}: {error.strerror}")
