"""Engines as plain processes: each in a session of its own, its output in a file."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace

import psutil

from fleetctl.agent import processes
from fleetctl.agent.caches.working import made_parts
from fleetctl.agent.folder import Folder, read, write
from fleetctl.agent.logs import tail
from fleetctl.agent.runtimes.runtime import WATCH_PERIOD_S, EngineRecord, Exit, StartedEngine
from fleetctl.errors import AgentFailure
from fleetctl.model.names import ReplicaId
from fleetctl.model.nodes import ReplicaSpec

_HOST = "127.0.0.1"

_END_POLL_S = 0.05
"""How often an engine asked to end is looked at; small against any grace, and only while one is ending."""

_KILL_ROUNDS = 100
"""Rounds of SIGKILL, one per poll, for what forks while it is being killed. Five seconds; the kernel needs less."""


class ProcessRuntime:
    """Runs engines as children of the agent that outlive it."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._children: dict[ReplicaId, subprocess.Popen[bytes]] = {}

    async def start(self, spec: ReplicaSpec) -> StartedEngine:
        port = _free_port()
        record = EngineRecord(replica=spec.id, runtime="process", port=port)
        write(self._folder.engine(spec.id), record)
        command = [word.replace("{port}", str(port)).replace("{python}", sys.executable) for word in spec.command]
        if not command:
            raise AgentFailure(f"{spec.engine} has no command to run", hint="give command: in the service's file")
        environment = os.environ | dict(spec.env) | dict(self._marks(spec.id))
        if spec.cache is not None:
            places = made_parts(self._folder, spec.cache)
            environment |= {one.env: str(place) for one, place in places if one.env is not None}
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(str(index) for index in spec.gpus)
        child = self._spawn(spec.id, command, environment)
        self._children[spec.id] = child
        identity = processes.identify(child.pid)
        record = replace(record, process=identity)
        write(self._folder.engine(spec.id), record)
        return _started(record)

    async def find(self, replica: ReplicaId) -> StartedEngine | None:
        record = read(self._folder.engine(replica), EngineRecord)
        if record is None:
            return None
        if record.process is None:
            # The agent died between its intention and the pid: the marks tell whether the engine was started.
            started = await asyncio.to_thread(processes.carriers, self._marks(replica))
            if not started:
                return None
            record = replace(record, process=processes.identify(started[0].pid))
            write(self._folder.engine(replica), record)
        return _started(record)

    async def wait(self, started: StartedEngine) -> Exit:
        child = self._children.get(started.replica)
        while True:
            if child is not None:
                code = child.poll()
                if code is not None:
                    return Exit(code=code)
            elif processes.find(started.process) is None:
                return Exit(code=None)
            await asyncio.sleep(WATCH_PERIOD_S)

    def listens(self, started: StartedEngine) -> bool:
        process = processes.find(started.process)
        return process is not None and processes.listens(process, started.port)

    async def exposed(self, started: StartedEngine) -> str:
        process = processes.find(started.process)
        return processes.open_to_others(process, started.port) if process is not None else ""

    async def stop(self, replica: ReplicaId, *, grace_s: float) -> None:
        record = read(self._folder.engine(replica), EngineRecord)
        leader = processes.find(record.process) if record is not None else None
        members = processes.family(leader) if leader is not None else []
        members += await asyncio.to_thread(processes.carriers, self._marks(replica))
        processes.send(members, signal.SIGTERM)
        deadline = asyncio.get_running_loop().time() + grace_s
        while True:
            if not self._left(replica, members) or asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(_END_POLL_S)
        for _ in range(_KILL_ROUNDS):
            left = self._left(replica, members)
            left += await asyncio.to_thread(processes.carriers, self._marks(replica))
            if not left:
                break
            processes.send(left, signal.SIGKILL)
            await asyncio.sleep(_END_POLL_S)
        else:
            raise AgentFailure(f"the engine of {replica} does not end, not even killed")
        self._children.pop(replica, None)
        self._folder.engine(replica).unlink(missing_ok=True)

    async def log_tail(self, replica: ReplicaId, limit_bytes: int) -> bytes:
        return tail(self._folder.log(replica), limit_bytes)

    def _spawn(self, replica: ReplicaId, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with self._folder.log(replica).open("ab") as log:
            try:
                return subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self._folder.root,
                    env=environment,
                    start_new_session=True,
                )
            except FileNotFoundError:
                raise AgentFailure(
                    f"{command[0]}: command not found on this node",
                    hint="install it there, or name its container with `image` in the service's file",
                ) from None
            except OSError as error:
                raise AgentFailure(f"{command[0]} could not be started: {error.strerror}") from None

    def _left(self, replica: ReplicaId, members: list[psutil.Process]) -> list[psutil.Process]:
        child = self._children.get(replica)
        if child is not None:
            child.poll()
        return processes.still_running(members)

    def _marks(self, replica: ReplicaId) -> tuple[tuple[str, str], ...]:
        """In the environment of an engine and of all it starts; together they name one engine of one machine."""
        return (("FLEETCTL_REPLICA", replica), ("FLEETCTL_MACHINE", str(self._folder.root)))


def _started(record: EngineRecord) -> StartedEngine:
    return StartedEngine(
        replica=record.replica, address=f"{_HOST}:{record.port}", port=record.port or 0, process=record.process
    )


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((_HOST, 0))
        port: int = free.getsockname()[1]
        return port
