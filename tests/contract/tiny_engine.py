"""A small real engine for the node agent's tests: HTTP on a port, with levers for everything that goes wrong."""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--never-ready", action="store_true")
parser.add_argument("--exit-code", type=int, help="leave at once with this code")
parser.add_argument("--port-taken-once", type=Path, help="claim, the first time, that the port is taken")
parser.add_argument("--ignore-term", action="store_true")
parser.add_argument("--linger-s", type=float, default=0.0, help="take this long to end")
parser.add_argument("--ended", type=Path, help="write here, at the end, when that was")
parser.add_argument("--refuse-sleep", action="store_true")
parser.add_argument("--child", action="store_true", help="start a process of its own, as tensor-parallel engines do")
levers = parser.parse_args()


class Answers(BaseHTTPRequestHandler):
    asleep = False

    def do_GET(self) -> None:
        match self.path:
            case "/health":
                self._say(503 if levers.never_ready else 200, "")
            case "/is_sleeping":
                self._say(200, str(Answers.asleep))
            case "/metrics":
                self._say(200, "tiny:num_requests_running 0\n")
            case _:
                self._say(404, "")

    def do_POST(self) -> None:
        match self.path.partition("?")[0]:
            case "/sleep" if levers.refuse_sleep:
                self._say(501, "no sleep mode here")
            case "/sleep":
                Answers.asleep = True
                self._say(200, "")
            case "/wake_up":
                Answers.asleep = False
                self._say(200, "")
            case "/die":
                os._exit(7)
            case _:
                self._say(404, "")

    def log_message(self, *_: object) -> None:
        """Not in the log: the agent's probes are many."""

    def _say(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def leave(_number: int, _frame: FrameType | None) -> None:
    threading.Thread(target=server.shutdown).start()


say(f"tiny engine, GPUs {os.environ.get('CUDA_VISIBLE_DEVICES')}")
if levers.exit_code is not None:
    say("CUDA out of memory, tried to allocate 80 GiB")
    sys.exit(levers.exit_code)
if levers.port_taken_once is not None and not levers.port_taken_once.exists():
    levers.port_taken_once.write_text(str(levers.port))
    say("OSError: [Errno 98] Address already in use")
    sys.exit(1)
if levers.child:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
    say(f"child {child.pid}")
server = ThreadingHTTPServer(("127.0.0.1", levers.port), Answers)
signal.signal(signal.SIGTERM, signal.SIG_IGN if levers.ignore_term else leave)
server.serve_forever(poll_interval=0.05)
time.sleep(levers.linger_s)
if levers.ended is not None:
    levers.ended.write_text(str(time.time()))
