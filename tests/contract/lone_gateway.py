"""The real `fleetctl gateway`, run as people run it, and engines behind it that list their models."""

import asyncio
import hashlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from gateway_world import WITHIN_S, Asked, Engine, Serve, answer

ROOT = Path(__file__).parents[2]
FLEETCTL = (sys.executable, "-m", "fleetctl")
RELOADED = "read again"
KEY = "fk-0123456789abcdef0123456789"


class Running:
    """A process, and what it has said."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.url = ""
        self.out: list[str] = []
        """Lines of stdout after the address."""
        self.err: list[str] = []
        self._came = asyncio.Condition()

    @property
    def address(self) -> str:
        return self.url.partition("://")[2].partition("/")[0]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    async def read(self, *, out: bool) -> None:
        stream = self.process.stdout if out else self.process.stderr
        assert stream is not None
        async for line in stream:
            async with self._came:
                (self.out if out else self.err).append(line.decode().rstrip("\n"))
                self._came.notify_all()

    async def said(self, text: str, *, times: int = 1, out: bool = False) -> str:
        """The newest line with this text, waited for; stderr, or stdout."""
        lines = self.out if out else self.err
        try:
            async with asyncio.timeout(WITHIN_S), self._came:
                await self._came.wait_for(lambda: sum(text in one for one in lines) >= times)
        except TimeoutError:
            raise AssertionError(f"{text!r} was not said: {self.err} {self.out}") from None
        return next(one for one in reversed(lines) if text in one)

    async def reload(self, word: str = RELOADED) -> None:
        """SIGHUP, waited for until `word` is said of it."""
        before = sum(word in one for one in self.err)
        self.process.send_signal(signal.SIGHUP)
        await self.said(word, times=before + 1)

    async def ended(self) -> int:
        async with asyncio.timeout(WITHIN_S):
            return await self.process.wait()


@asynccontextmanager
async def running(
    *words: str,
    environment: dict[str, str] | None = None,
    meanwhile: Callable[[Running], Awaitable[None]] | None = None,
) -> AsyncIterator[Running]:
    """A gateway on a free port; at the end it is told to stop, and must end well. `meanwhile`: before it listens."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLEETCTL_")}
    process = await asyncio.create_subprocess_exec(
        *FLEETCTL, "gateway", "--listen", "127.0.0.1:0", *words,
        stdout=PIPE, stderr=PIPE, env={**kept, **(environment or {})}, cwd=ROOT,
    )  # fmt: skip
    made = Running(process)
    readers = [asyncio.ensure_future(made.read(out=out)) for out in (True, False)]
    try:
        if meanwhile is not None:
            await meanwhile(made)
        made.url = await made.said("/v1", out="-" not in words)
        made.out.clear()
        yield made
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        assert await made.ended() == 0, made.err
    finally:
        if process.returncode is None:
            process.kill()
        await made.ended()
        await asyncio.gather(*readers)
    assert not any("Traceback" in one for one in made.err), "\n".join(made.err)


async def ran(*words: str) -> tuple[int, str, str]:
    """Another program, to its end: exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(*words, stdout=PIPE, stderr=PIPE, cwd=ROOT)
    async with asyncio.timeout(WITHIN_S):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def listing(*models: str, serve: Serve, adapters: tuple[str, ...] = ()) -> Serve:
    """An engine that lists its models as vLLM does, and serves the rest with `serve`."""

    async def served(engine: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.line.startswith(b"GET /v1/models "):
            cards = [{"id": one, "object": "model", "parent": None} for one in models]
            cards += [{"id": one, "object": "model", "parent": models[0]} for one in adapters]
            writer.write(answer(json.dumps({"object": "list", "data": cards}).encode()))
            return
        await serve(engine, asked, writer)

    return served


def lines_of(*engines: Engine, slots: int = 4) -> list[str]:
    return [word for one in engines for word in ("--replica", f"http://{one.address}={slots}")]


async def named(engine_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Says which engine it is."""
    writer.write(answer(str(engine_.port).encode()))


async def stepped(engine_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """A stream of two events; the second when `go` is set."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    writer.write(b"9\r\ndata: 1\n\n\r\n")
    await writer.drain()
    await engine_.go.wait()
    writer.write(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
    await writer.drain()


# a file


def written(file: Path, *replicas: Engine, slots: int = 1, keys: tuple[str, ...] = (KEY,), more: str = "") -> Path:
    entries = "".join(f"  - {{url: 'http://{one.address}', slots: {slots}}}\n" for one in replicas)
    hashes = "".join(
        f"- {{name: k{at}, sha256: {hashlib.sha256(key.encode()).hexdigest()}}}\n" for at, key in enumerate(keys)
    )
    file.write_text(f"kind: gateway\nservices:\n- name: chat\n  replicas:\n{entries}keys:\n{hashes}{more}")
    return file


def bearer(key: str) -> bytes:
    return b"Authorization: Bearer %b\r\n" % key.encode()
