"""What the gateway's first process and those it has started say to each other, over a socket pair for each of them.

The ends of the links between workers and the scheduler travel this way too: who succeeds one that died gets new ones.
"""

import os
import socket
from collections import deque
from collections.abc import Sequence
from typing import Final

from fleetctl.gateway.settings import Settings
from fleetctl.gateway.workers.messages import Reader, Said, frames
from fleetctl.model.routes import Identity, Routes

SEND_TIMEOUT_S: Final = 5.0
"""A process that does not read a few bytes in this time does nothing else either."""
_READ_BYTES: Final = 256 * 1024
_FILES_MAX: Final = 16
"""File descriptors taken in with one read; each message brings at most one."""


# to a process that was started


class Join(Said, tag=1):
    """With a file: one end of a link. To the scheduler it is of worker `worker`, to a worker it is of the scheduler."""

    worker: int


class Drain(Said, tag=2):
    """Take no more requests; end when those that run have ended."""


class Apply(Said, tag=3):
    """The settings were read again."""

    settings: Settings


class Call(Said, tag=4):
    """Say `Here`: whoever does nothing at all is started again."""


# from a process that was started


class Ready(Said, tag=1):
    """It has begun; later: it follows the settings that were read again."""


class Cut(Said, tag=2):
    """From the scheduler: end this worker."""

    worker: int
    why: str


class Stop(Said, tag=3):
    """From the scheduler: somebody has ordered the whole gateway to end."""


class Keep(Said, tag=4):
    """From the scheduler: what a controller said last, for the scheduler after this one. None: as it was."""

    routes: Routes | None = None
    identity: Identity | None = None


class Here(Said, tag=5):
    """Its loop turns."""


Told = Join | Drain | Apply | Call
Heard = Ready | Cut | Stop | Keep | Here


class ControlEnd:
    """The end that a started process holds. `receive` is to be called whenever the socket is readable."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._reader: Reader[Told] = Reader(Told)
        self._files: deque[int] = deque()

    def receive(self) -> list[tuple[Told, socket.socket | None]] | None:
        """What has come, each with its file; None: the other end is gone."""
        try:
            data, files, _, _ = socket.recv_fds(self.sock, _READ_BYTES, _FILES_MAX)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError:
            return None
        self._files.extend(files)
        if not data:
            return None
        return [
            (one, socket.socket(fileno=self._files.popleft()) if isinstance(one, Join) else None)
            for one in self._reader.feed(data)
        ]

    def say(self, *messages: Heard) -> None:
        """Send at once. Raises nothing where the other end is gone: `receive` will tell."""
        _send(self.sock, messages)

    def close(self) -> None:
        for file in self._files:
            os.close(file)
        self.sock.close()


class StarterEnd:
    """The end that the first process holds. `receive` is to be called whenever the socket is readable."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._reader: Reader[Heard] = Reader(Heard)

    def receive(self) -> list[Heard] | None:
        """What has come; None: the other end is gone. Raises `BadFrame`."""
        try:
            data = self.sock.recv(_READ_BYTES)
        except OSError:
            return None
        return self._reader.feed(data) if data else None

    def say(self, message: Told, file: socket.socket | None = None) -> None:
        """Send at once, with a file. Raises nothing where the other end is gone: `receive` will tell."""
        _send(self.sock, (message,), file)

    def close(self) -> None:
        self.sock.close()


def _send(sock: socket.socket, messages: Sequence[Said], file: socket.socket | None = None) -> None:
    data = frames(messages)
    sock.settimeout(SEND_TIMEOUT_S)
    try:
        sent = 0 if file is None else socket.send_fds(sock, [data], [file.fileno()])
        sock.sendall(data[sent:])
    except OSError:
        # Half a message would be read as the beginning of the next one.
        sock.close() if sock.fileno() < 0 else sock.shutdown(socket.SHUT_RDWR)
    finally:
        if sock.fileno() >= 0:
            sock.setblocking(False)
