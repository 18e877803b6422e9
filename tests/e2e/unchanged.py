"""Whether answers come through a gateway alone as the engine wrote them: a tap before the engine, raw bytes behind."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

ENDS_S = 60.0
PIECE_BYTES = 65536


@dataclass(slots=True)
class Tap:
    """Passes bytes on between whoever connects and the engine, and keeps what the engine wrote."""

    port: int
    wrote: list[bytes] = field(default_factory=list)

    def body(self) -> bytes:
        """Of the last answer, with its framing."""
        return b"".join(self.wrote).rpartition(b"HTTP/1.1 200")[2].partition(b"\r\n\r\n")[2]


@contextmanager
def tapped(address: str) -> Iterator[Tap]:
    host, _, port = address.rpartition(":")
    listening = socket.create_server(("127.0.0.1", 0))
    tap = Tap(port=listening.getsockname()[1])

    def passes(come: socket.socket, goes: socket.socket, kept: list[bytes] | None) -> None:
        try:
            while piece := come.recv(PIECE_BYTES):
                if kept is not None:
                    kept.append(piece)
                goes.sendall(piece)
            goes.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one side has gone: so does the other

    def serves(client: socket.socket) -> None:
        with client, socket.create_connection((host.strip("[]"), int(port)), timeout=ENDS_S) as engine:
            asks = threading.Thread(target=passes, args=(client, engine, None), daemon=True)
            asks.start()
            passes(engine, client, tap.wrote)
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            asks.join(ENDS_S)

    def accepts() -> None:
        with listening:
            while not over.is_set():
                with suppress(TimeoutError):
                    client, _ = listening.accept()
                    threads.append(threading.Thread(target=serves, args=(client,), daemon=True))
                    threads[-1].start()

    over = threading.Event()
    listening.settimeout(0.1)
    threads = [threading.Thread(target=accepts, daemon=True)]
    threads[0].start()
    try:
        yield tap
    finally:
        over.set()
        for thread in tuple(threads):
            thread.join(ENDS_S)


@contextmanager
def gateway_alone(port: int) -> Iterator[int]:
    """`fleetctl gateway` as a person starts it; the port it listens on."""
    words = ("gateway", "--replica", f"http://127.0.0.1:{port}=4", "--auth", "none", "--listen", "127.0.0.1:0")
    process = subprocess.Popen(
        [sys.executable, "-m", "fleetctl", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().decode().strip()
        assert url, "it did not start"
        yield int(url.removesuffix("/v1").rpartition(":")[2])
    finally:
        process.terminate()
        assert process.wait(ENDS_S) == 0
        process.stdout.close()


def answered(port: int, body: dict[str, object]) -> bytes:
    """All that comes back for one chat request on a connection of its own, after the head."""
    text = json.dumps(body).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(text)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=ENDS_S) as client:
        client.sendall(head.encode() + text)
        pieces = []
        while piece := client.recv(PIECE_BYTES):
            pieces.append(piece)
    head_came, _, came = b"".join(pieces).partition(b"\r\n\r\n")
    assert head_came.startswith(b"HTTP/1.1 200"), head_came
    return came


def assert_unchanged(address: str, *, model: str, tokens: int) -> None:
    """A stream and a whole answer: what the client reads is what the engine wrote, chunk frames and all."""
    with tapped(address) as tap, gateway_alone(tap.port) as port:
        for stream in (True, False):
            body = {
                "model": model, "messages": [{"role": "user", "content": "count"}], "max_tokens": tokens,
                "temperature": 0, "stream": stream,
            }  # fmt: skip
            tap.wrote.clear()
            came = answered(port, body)
            assert came == tap.body()
            assert (came.count(b"data: ") > tokens // 2 and came.endswith(b"0\r\n\r\n")) if stream else json.loads(came)
