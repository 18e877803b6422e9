"""One machine as its commands meet it: connected, an agent of our build on it, its engines' ports open here."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import fleetctl
from fleetctl.errors import AgentFailure
from fleetctl.model.names import ReplicaId
from fleetctl.model.nodes import NodeDesired, NodeStatus, Ran
from fleetctl.model.replicas import Stage
from fleetctl.node import payload
from fleetctl.node.address import ssh_address
from fleetctl.node.connection import Connection, last_words
from fleetctl.node.keys import ssh_folder
from fleetctl.node.local import UnixNodeLink
from fleetctl.node.tunnels.forwards import Forwards, Opened, listen_at
from fleetctl.paths import Home, socket_path

log = logging.getLogger(__name__)

T = TypeVar("T")

READY_WAIT_S = 1.5
"""A question waits this long for a machine to be made ready; then it is told how far that is, and asks again."""
INSTALL_LIMIT_S = 900.0
"""For the first contact: 25 MB of packages over a slow network, and a Python where the machine's own is too old."""
PROBE_LIMIT_S = 30.0
PAUSE_FIRST_S = 1.0
PAUSE_MOST_S = 60.0
"""Between two tries to make a machine ready, doubled from one to the next: an installation that fails is no light
thing to repeat."""
RUNS_AT_ONCE = 4
"""sshd allows ten sessions on a connection; forwarded ports are none."""
NOT_NOW = 75
"""What the node script exits with where an agent is not for this machine now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What the node script's `probe` says."""

    socket: str
    build: str
    instance: str
    runs: bool
    claimed: bool


class Machine:
    """Raises `AgentFailure`s that name the machine."""

    def __init__(self, address: str, home: Home) -> None:
        self.address = address
        self._where = ssh_address(address)
        self._home = home
        self.connection = Connection(self._where, home)
        self.forwards = Forwards(self._open_port)
        self.asked_at = time.monotonic()
        self._link = UnixNodeLink()
        self._runs = asyncio.Semaphore(RUNS_AT_ONCE)
        self._local = _local_socket(home, address)
        self._listener: asyncio.Server | None = None
        self._remote = ""
        self._readying: asyncio.Task[None] | None = None
        self._since = 0.0
        self._step = ""
        self._failure: AgentFailure | None = None
        self._pause_s = 0.0
        self._next_try = 0.0
        self._installed: tuple[float, float] | None = None
        """When the installation of its agent began and ended, by this computer's clock; None: we installed none."""

    async def status(self) -> NodeStatus:
        """The Node's status, its Replicas' addresses as they are reached from this computer."""
        status = await self._asked(self._link.status(await self._agent()))
        status = replace(status, heard_at=time.time())
        local = await self.forwards.keep(one.address for one in status.replicas if one.address is not None)
        replicas = tuple(
            one if one.address is None else replace(one, address=local[one.address]) for one in status.replicas
        )
        return replace(status, replicas=replicas, stages=(*status.stages, *self._install_stage(status)))

    def _install_stage(self, status: NodeStatus) -> tuple[Stage, ...]:
        """The installation as the Node would tell it: by its own clock."""
        if self._installed is None or status.heard_at is None:
            return ()
        began, ended = (at - status.heard_at + status.at for at in self._installed)
        return (Stage(name="install", started_at=began, ended_at=ended),)

    async def apply(self, desired: NodeDesired) -> None:
        await self._asked(self._link.apply(await self._agent(), desired))

    async def logs(self, replica: ReplicaId, tail_bytes: int) -> bytes:
        return await self._asked(self._link.logs(await self._agent(), replica, tail_bytes))

    async def run(self, words: Sequence[str], *, timeout_s: float, contents: Sequence[tuple[str, bytes]] = ()) -> Ran:
        """Run the node script there, with these files beside it."""
        self.asked_at = time.monotonic()
        async with self._runs:
            return await self.connection.run(payload.command(words), payload.packed(contents), timeout_s=timeout_s)

    async def close(self) -> None:
        if self._readying is not None:
            self._readying.cancel()
            with suppress(asyncio.CancelledError, AgentFailure):
                await self._readying
        self.forwards.close()
        if self._listener is not None:
            self._listener.close()
        self._local.unlink(missing_ok=True)
        await self._link.close()
        await self.connection.close()

    async def _agent(self) -> str:
        """The agent's address for this computer, once it is there. Soon, or it raises what is being done about it."""
        self.asked_at = time.monotonic()
        if self._remote:
            return f"unix:{self._local}"
        if self._readying is None:
            if self._failure is not None and time.monotonic() < self._next_try:
                raise self._failure
            self._since = time.monotonic()
            self._readying = asyncio.create_task(self._made_ready())
        task = self._readying
        await asyncio.wait({task}, timeout=READY_WAIT_S)
        if task.done():
            task.result()
            return f"unix:{self._local}"
        raise AgentFailure(
            f"{self.address} is being made ready: {self._step}, for {time.monotonic() - self._since:.0f} s so far",
            hint="the next tick asks again",
        )

    async def _made_ready(self) -> None:
        try:
            self._remote = await self._ready()
            if self._listener is None:
                self._listener = await listen_at(self._local, self._open_agent)
        except AgentFailure as failure:
            self._remote = ""
            self._pause_s = min(PAUSE_MOST_S, max(PAUSE_FIRST_S, 2 * self._pause_s))
            self._next_try = time.monotonic() + self._pause_s
            if self._failure is None or self._failure.message != failure.message:
                log.warning("%s", failure.message)
            self._failure = failure
            raise
        else:
            self._pause_s, self._failure = 0.0, None
            log.info("%s: its node agent answers at %s", self.address, self._remote)
        finally:
            self._readying = None

    async def _ready(self) -> str:
        """See that an agent of our build runs there; the path of its socket."""
        self._step = "connecting"
        ran = await self.run(("probe",), timeout_s=PROBE_LIMIT_S)
        if ran.code != 0:
            raise AgentFailure(
                f"fleetctl's script fails on {self.address}: {last_words(ran)}",
                hint="it wants sh, tar, flock and a folder it can write",
            )
        found = _found(ran.out)
        wheel = payload.wheel()
        self._refuse_newer(found)
        if not self._where.instance and not found.claimed:
            raise AgentFailure(
                f"{self.address} is claimed by nobody, so no node agent is put there", hint="fleetctl ps -i"
            )
        ours = not self._where.instance or found.instance == self._where.instance
        if found.runs and found.build == wheel.build and ours:
            return found.socket
        self._step = "installing the node agent"
        log.info("%s: %s (there: %s)", self.address, self._step, found.build or "nothing")
        bundle = payload.bundled(ssh_folder(self._home) / payload.PACKAGES)
        words = [
            *("install", "--build", wheel.build, "--wheel", wheel.name, "--pins", " ".join(payload.pins())),
            *(("--instance", self._where.instance) if self._where.instance else ("--own",)),
            *(("--packages", payload.PACKAGES) if bundle else ()),
        ]
        began = time.time()
        ran = await self.run(words, timeout_s=INSTALL_LIMIT_S, contents=[(wheel.name, wheel.data), *bundle])
        if ran.code == NOT_NOW:
            raise AgentFailure(f"{self.address} gets no node agent: {last_words(ran)}", hint="fleetctl ps -i")
        if ran.code != 0:
            raise AgentFailure(
                f"the node agent could not be installed on {self.address}: {last_words(ran)}",
                hint=f"it is tried again; by hand: ssh -i {ssh_folder(self._home)}/id_ed25519 "
                f"-p {self._where.port} {self._where.user}@{self._where.host}",
            )
        self._installed = (began, time.time())
        return _found(ran.out).socket

    def _refuse_newer(self, found: _Found) -> None:
        there, _, _ = found.build.partition("-")
        if payload.release(there) > payload.release(fleetctl.__version__):
            raise AgentFailure(
                f"{self.address} runs the node agent of fleetctl {there}, newer than {fleetctl.__version__} here",
                hint=f"pip install 'fleetctl=={there}' on this computer, or give the machine back with that version",
            )

    async def _asked(self, answer: Awaitable[T]) -> T:
        """An agent's answer. One that does not come puts the agent in doubt: it is looked for again."""
        try:
            return await answer
        except AgentFailure as failure:
            self._remote = ""
            told = failure.message.replace(f"unix:{self._local}", self.address)
            raise AgentFailure(told, hint=failure.hint) from failure

    async def _open_agent(self) -> Opened:
        connection = await self.connection.get()
        return await connection.open_unix_connection(self._remote, encoding=None)

    async def _open_port(self, host: str, port: int) -> Opened:
        connection = await self.connection.get()
        return await connection.open_connection(host, port, encoding=None)


def _found(out: bytes) -> _Found:
    said: Mapping[str, str] = dict(
        line.partition("=")[::2] for line in out.decode(errors="replace").splitlines() if "=" in line
    )
    socket = said.get("socket", "")
    return _Found(
        socket=socket,
        build=said.get("build", ""),
        instance=said.get("instance", ""),
        runs=said.get("agent") == "runs",
        claimed="claim" in said,
    )


def _local_socket(home: Home, address: str) -> Path:
    digest = hashlib.sha256(address.encode()).hexdigest()[:16]
    return socket_path(ssh_folder(home) / "agents" / f"{digest}.sock")
