"""A small real engine that sleeps as vLLM does, and minds the order, with levers for what goes wrong meanwhile.

What it was asked is at `/seen`; `POST /lever` with `{"at": 2, "how": "lost"}` makes the second control call
from then on fail: `refused` is not done, `broken` is done and answered with 500, `lost` is done and never answered,
`hung` is done and answered after a minute. A call in the wrong order is answered as vLLM answers it, with 200 and
nothing done, and kept as wrong.
"""

import argparse
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--wake-s", type=float, default=0.0, help="what moving or loading the weights takes")
levers = parser.parse_args()

HUNG_S = 60.0
PARTS = {"weights", "kv_cache"}


class Model:
    """Where weights and KV cache are."""

    def __init__(self) -> None:
        self.off: set[str] = set()
        self.dropped = False
        self.took_s = 0.0
        """What the last waking took here."""
        self.calls: list[str] = []
        self.wrong: list[str] = []
        self.fault: dict[str, object] = {}
        self.until_fault = 0
        self.lock = threading.Lock()

    def do(self, path: str, body: bytes) -> None:
        with self.lock:
            begun = time.monotonic()
            match path.split("?"):
                case ["/sleep", query]:
                    if not self.off:
                        self.off, self.dropped, self.took_s = set(PARTS), query == "level=2", 0.0
                    elif self.off != PARTS:
                        self.wrong.append(f"{path} half awake")
                case ["/wake_up"]:
                    if self.dropped:
                        self.wrong.append("woken whole without its weights")
                    elif self.off:
                        time.sleep(levers.wake_s)
                    self.off = set()
                case ["/wake_up", "tags=weights"]:
                    if self.off and not self.dropped:
                        time.sleep(levers.wake_s)
                    self.off -= {"weights"}
                case ["/wake_up", "tags=kv_cache"]:
                    if self.dropped:
                        self.wrong.append("KV cache before the weights")
                    self.off -= {"kv_cache"}
                case ["/collective_rpc"]:
                    assert json.loads(body) == {"method": "reload_weights"}, body
                    if "weights" in self.off:
                        self.wrong.append("weights loaded into no memory")
                    elif self.dropped:
                        time.sleep(levers.wake_s)
                        self.dropped = False
                case ["/reset_prefix_cache"]:
                    if self.off:
                        self.wrong.append("prefix cache reset while asleep")
                case ["/is_sleeping"]:
                    pass
                case _:
                    self.wrong.append(f"no such call: {path}")
            self.took_s += time.monotonic() - begun

    def failing(self, path: str) -> str:
        """How this call is to fail; empty: not."""
        self.calls.append(path)
        if not self.fault:
            return ""
        self.until_fault -= 1
        if self.until_fault > 0:
            return ""
        how, self.fault = str(self.fault["how"]), {}
        return how


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/health":
            return self._say(200)
        if self.path == "/seen":
            seen = {"off": sorted(model.off), "dropped": model.dropped, "calls": model.calls, "wrong": model.wrong}
            return self._say(200, json.dumps({**seen, "took_s": model.took_s}))
        return self._control(b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/lever":
            model.fault = json.loads(body)
            model.until_fault = int(str(model.fault.get("at", 0)))
            model.calls.clear()
            return self._say(200)
        return self._control(body)

    def _control(self, body: bytes) -> None:
        how = model.failing(self.path)
        if how == "refused":
            return self._say(503, "busy")
        model.do(self.path, body)
        match how:
            case "broken":
                return self._say(500, "broken")
            case "lost":
                return self.close_connection_at_once()
            case "hung":
                time.sleep(HUNG_S)
        return self._say(200, json.dumps({"is_sleeping": bool(model.off)}))

    def close_connection_at_once(self) -> None:
        self.connection.shutdown(2)

    def log_message(self, *_: object) -> None:
        """Not in the log: the agent's probes are many."""

    def _say(self, status: int, text: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


model = Model()
server = ThreadingHTTPServer((levers.host, levers.port), Answers)
server.daemon_threads = True
server.serve_forever(poll_interval=0.05)
