"""Ports that a test gives to a process before that process listens there."""

import atexit
import secrets
import socket
from pathlib import Path

FIRST = 20_000
"""Above what services of a machine listen on."""
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_held: list[socket.socket] = []


def free_port() -> int:
    """A port of 127.0.0.1 where nobody listens, and which nobody else is given while this process lives.

    Below those that the system gives to whoever asks for any: between this moment and that in which the process
    under test listens there, another test's engine or connection would be given it. Tests that run in other processes
    are kept away by a UDP socket of the same number, which stays bound.
    """
    last = _ephemeral()
    begin = secrets.randbelow(last - FIRST)
    for step in range(last - FIRST):
        port = FIRST + (begin + step) % (last - FIRST)
        mark = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            mark.bind(("127.0.0.1", port))
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            mark.close()
            continue
        _held.append(mark)
        return port
    raise AssertionError(f"no port of {FIRST}-{last} is free")


def _ephemeral() -> int:
    """The first of those that the system gives out by itself."""
    try:
        first = int(_EPHEMERAL.read_text().split()[0])
    except OSError:
        first = 32_768  # Linux's own; others begin later
    return first if first > FIRST + 1000 else 32_768


@atexit.register
def _let_go() -> None:
    for mark in _held:
        mark.close()
