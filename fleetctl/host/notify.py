"""systemd's notification protocol (sd_notify(3), systemd.service(5)): a few words over a datagram socket."""

import contextlib
import os
import socket
from collections.abc import MutableMapping

STATUS_CHARS_MAX = 200
"""One line of `systemctl status`."""


class Notifier:
    """Tells systemd how the process is. Where nothing listens, nothing is told."""

    def __init__(self, address: str | None) -> None:
        """`address` as NOTIFY_SOCKET has it: a path, or @ and a name of Linux's abstract namespace."""
        self._socket: socket.socket | None = None
        self._address = ""
        if address and address[0] in "/@":
            self._address = "\0" + address[1:] if address[0] == "@" else address
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def ready(self, status: str) -> None:
        """The controller works from now on."""
        self._send(f"READY=1\n{_status(status)}")

    def beat(self, status: str) -> None:
        """A tick has ended: the watchdog waits anew."""
        self._send(f"WATCHDOG=1\n{_status(status)}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> None:
        if self._socket is None:
            return
        # systemd being restarted must not end a controller.
        with contextlib.suppress(OSError):
            self._socket.sendto(text.encode(), self._address)


def from_environment(environment: MutableMapping[str, str] = os.environ) -> Notifier:
    """The notifier of this process; what it starts must not speak for it, so the variables are taken away."""
    address = environment.pop("NOTIFY_SOCKET", None)
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        environment.pop(name, None)
    return Notifier(address)


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())[:STATUS_CHARS_MAX]
