"""All candidates up at once, each on its own port before the same upstream."""

import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp  # noqa: F401  the admin calls' slow import, before anything is timed

from gateway.candidates import Candidate, Setting, free_port
from gateway.processes import Missing, Places, Tools, Tree, compiled, places, raise_file_limit, scratch

ANSWER_BYTES = 2048
START_S = 60.0
"""The routers in Rust take some seconds to find their upstream well."""


@dataclass(frozen=True, slots=True)
class Running:
    candidate: Candidate
    setting: Setting
    tree: Tree | None
    """None: the direct way."""

    @property
    def name(self) -> str:
        return self.candidate.name


@dataclass(frozen=True, slots=True)
class World:
    tools: Tools
    places: Places
    upstream: Tree
    key: str
    folder: Path
    running: tuple[Running, ...]


@contextmanager
def side_by_side(candidates: Sequence[Candidate]) -> Iterator[World]:
    """Start those that are installed, and say on stderr which are not, and how to install them."""
    try:
        raise_file_limit()
        cores = places()
    except Missing as error:
        sys.exit(f"error: {error}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing that was started is left behind
    key = f"sk-{secrets.token_urlsafe(32)}"
    with ExitStack() as ends:
        folder = Path(ends.enter_context(scratch()))
        try:
            tools = compiled(folder)
        except Missing as error:
            sys.exit(f"error: {error}")
        back = Tree(
            (tools.upstream, "0", str(ANSWER_BYTES)), cores=cores.others, log=folder / "upstream.log", talks=True
        )
        ends.callback(back.end)
        assert back.process.stdout is not None
        port = int(back.process.stdout.readline())
        running = []
        for number, candidate in enumerate(candidates):
            room = folder / str(number)
            room.mkdir()
            setting = Setting(port=free_port(), upstream=port, folder=room, key=key)
            try:
                launch = candidate.launch(setting)
            except Missing as error:
                print(f"{candidate.name} is left out; to have it: {error}", file=sys.stderr)
                continue
            if launch is None:
                direct = Setting(port=port, upstream=port, folder=room, key=key)
                running.append(Running(candidate, direct, None))
                continue
            tree = Tree(launch.command, cores=cores.candidate, log=room / "log", env=launch.env, cwd=launch.cwd)
            ends.callback(tree.end)
            running.append(Running(candidate, setting, tree))
        for one in running:
            listens(one)
            one.candidate.routed(one.setting)
        for one in running:
            answers(one)
        yield World(tools, cores, back, key, folder, tuple(running))


def listens(one: Running) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if one.tree is not None and one.tree.process.poll() is not None:
            raise RuntimeError(f"{one.name} ended: {one.tree.last_words()}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", one.setting.port), timeout=1.0):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{one.name} does not listen: {one.tree.last_words() if one.tree else ''}")


def answers(one: Running) -> None:
    """Until a request of the measurement's kind gets its 200."""
    body = b'{"model":"bench","messages":[{"role":"user","content":"hello"}]}'
    asked = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {one.setting.key}\r\n"
        f"Content-Type: application/json\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    until, said = time.monotonic() + START_S, b""
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", one.setting.port), timeout=2.0) as way:
            way.sendall(asked.encode() + body)
            said = way.recv(4096)
            if said.startswith(b"HTTP/1.1 200"):
                return
        time.sleep(0.1)
    raise RuntimeError(f"{one.name} does not answer: {said[:300]!r} {one.tree.last_words() if one.tree else ''}")
