"""The way from the stand-in of SkyPilot's SDK, in a bridge's process, to the memory in the test's: JSON on loopback.

One connection for each question, one line each way. Of the memory's methods those in `ASKED` are asked by name.
"""

import contextlib
import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

Body = dict[str, Any]

ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")

REGIONS = {"lambda": ("us-east-1", "us-west-2"), "runpod": ("CA", "US"), "aws": ("us-east-1",)}

ASKED = ("submit", "look", "cancel", "under_way", "listing", "knows")

_ANSWER_S = 20.0
"""For the memory to answer; it does within milliseconds, on busy cores within some hundred."""


class Refused(Exception):
    """Becomes an exception of `sky.exceptions`, by name."""

    def __init__(self, kind: str, message: str, attempts: tuple[str, ...] = (), code: str = "") -> None:
        super().__init__(message)
        self.body: Body = {"type": kind, "message": message, "attempts": list(attempts), "code": code}


def ask(port: int, call: str, *words: object, **named: object) -> Any:
    """The memory's answer. Raises `Refused`."""
    with socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_S) as way:
        way.sendall(json.dumps([call, words, named]).encode() + b"\n")
        with way.makefile("rb") as lines:
            answer = json.loads(lines.readline())
    if "refused" in answer:
        told = answer["refused"]
        raise Refused(told["type"], told["message"], tuple(told["attempts"]), told["code"])
    return answer["ok"]


class _Exchange(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        line = self.rfile.readline()
        if not line.endswith(b"\n"):
            return  # the bridge died in the middle of its question, as killed ones do
        call, words, named = json.loads(line)
        assert call in ASKED, call
        assert isinstance(self.server, _Server)
        try:
            answer = {"ok": getattr(self.server.memory, call)(*words, **named)}
        except Refused as refused:
            answer = {"refused": refused.body}
        with contextlib.suppress(OSError):  # nobody waits for it any more
            self.wfile.write(json.dumps(answer).encode() + b"\n")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, memory: object) -> None:
        self.memory = memory
        super().__init__(("127.0.0.1", 0), _Exchange)


@contextlib.contextmanager
def served(memory: object) -> Iterator[int]:
    """The memory, asked at that port of loopback."""
    server = _Server(memory)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
