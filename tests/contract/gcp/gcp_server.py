"""Compute Engine over HTTP on this machine. Google's discovery documents judge each request and reply; the memory
behind them, and the faults, are ours."""

import json
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from gcp_compute import Compute
from gcp_discovery import Call, Judge, Refused

DOCUMENTS = ("compute.v1.json", "cloudresourcemanager.v3.json")


@dataclass(slots=True)
class Strike:
    """What happens instead of, or after, a call that it is for."""

    methods: tuple[str, ...]
    """Ids of the documents, as in `compute.instances.insert`."""
    times: int = 1
    zone: str | None = None
    done: bool = False
    """Whether the call is done before the answer goes wrong."""
    status: int = 0
    reason: str = ""
    cut: bool = False
    """The connection is closed in place of an answer."""
    late_s: float = 0.0
    page: bool = False
    """Only requests for a page other than the first."""
    before: Callable[[Compute], None] | None = None
    """Done to the memory before the call, and undone by `after` behind it."""
    after: Callable[[Compute], None] | None = None


@dataclass(slots=True)
class GcpServer:
    """Starts on a free port; `stop` ends it."""

    compute: Compute = field(default_factory=Compute)
    strikes: list[Strike] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    """How often each method was called."""
    refused: list[str] = field(default_factory=list)
    """What the documents did not allow: of requests, the provider's fault; of replies, ours."""
    last: Call | None = None
    """The newest request."""
    _judge: Judge = field(default_factory=lambda: Judge(*DOCUMENTS))
    _server: ThreadingHTTPServer | None = None
    _thread: threading.Thread | None = None

    def start(self) -> str:
        """Its address."""
        outer = self

        class Exchange(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self.answer()

            def do_POST(self) -> None:
                self.answer()

            def do_PUT(self) -> None:
                self.answer()

            def do_DELETE(self) -> None:
                self.answer()

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                found = outer.respond(self.command, self.path, self.rfile.read(length))
                if found is None:
                    self.close_connection = True
                    return
                status, body = found
                head = f"HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                try:
                    # One write: two of them wait for each other's acknowledgement.
                    self.wfile.write(head.encode() + body)
                except OSError:
                    self.close_connection = True

            def log_message(self, format: str, *_: object) -> None:  # noqa: A002
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:
                if not isinstance(sys.exception(), OSError):  # else a client went away in the middle, as killed ones do
                    outer.refused.append(f"our own fault: {traceback.format_exc()}")

        self._server = Server(("127.0.0.1", 0), Exchange)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def respond(self, verb: str, target: str, raw: bytes) -> tuple[int, bytes] | None:
        """Status and body; None: the connection is cut."""
        split = urlsplit(target)
        try:
            call = self._judge.call(verb, split.path, parse_qs(split.query, keep_blank_values=True), raw)
        except Refused as refused:
            self.refused.append(str(refused))
            return _error(refused.status, refused.reason, str(refused))
        with self.compute.lock:
            self.calls[call.id] += 1
            self.last = call
            strike = self._strike(call)
        if strike is None:
            return self._done(call)
        reply = None
        if strike.done or not (strike.status or strike.cut):
            with self.compute.lock:
                if strike.before:
                    strike.before(self.compute)
                try:
                    reply = self._done(call)
                finally:
                    if strike.after:
                        strike.after(self.compute)
        if strike.late_s:
            time.sleep(strike.late_s)
        if strike.cut:
            return None
        return _error(strike.status, strike.reason, f"struck: {strike.reason}") if strike.status else reply

    def _done(self, call: Call) -> tuple[int, bytes]:
        try:
            answer = self.compute.answer(call)
        except Refused as refused:
            return _error(refused.status, refused.reason, str(refused))
        try:
            with self.compute.lock:
                self._judge.reply(call, answer)
                return 200, json.dumps(answer).encode()
        except Refused as refused:
            self.refused.append(f"our own reply to {call.id}: {refused}")
            return _error(500, "internalError", str(refused))

    def _strike(self, call: Call) -> Strike | None:
        for strike in self.strikes:
            if (
                strike.times > 0
                and call.id in strike.methods
                and strike.zone in (None, call.given.get("zone"))
                and (not strike.page or call.given.get("pageToken"))
            ):
                strike.times -= 1
                return strike
        return None


def _error(status: int, reason: str, message: str) -> tuple[int, bytes]:
    """Google's shape of an error."""
    body: dict[str, Any] = {
        "error": {"code": status, "message": message, "errors": [{"message": message, "reason": reason}]}
    }
    return status, json.dumps(body).encode()
