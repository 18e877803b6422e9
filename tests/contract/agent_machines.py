"""A machine for tests: a folder with a real node agent in it, started, killed and asked."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from fleetctl.errors import AgentFailure
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.nodes import Artifact, Call, NodeDesired, NodeStatus, ReplicaSpec, ReplicaStatus
from fleetctl.model.replicas import ReplicaPhase
from fleetctl.node.local import UnixNodeLink
from fleetctl.paths import socket_path

BOUND_S = 60.0
ENGINE = Path(__file__).with_name("tiny_engine.py")
SOURCE = Path(__file__).parents[2]


def spec(name: str = "chat-1", *levers: str, **changes: object) -> ReplicaSpec:
    made = ReplicaSpec(
        id=ReplicaId(name),
        service=ServiceName("chat"),
        revision="r1",
        engine="tiny",
        model="rehearsal://tiny",
        concurrency=4,
        command=("{python}", str(ENGINE), "--port", "{port}", *levers),
        gpus=(0,),
        sleep=(Call(path="/sleep?level=1"),),
        wake=(Call(path="/wake_up"),),
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # a table of fields, checked by the class itself


def wanted(
    *replicas: ReplicaSpec, fence: int = 1, epoch: str = "e1", artifacts: tuple[Artifact, ...] = ()
) -> NodeDesired:
    digest = str(hash((replicas, artifacts, fence, epoch)))
    return NodeDesired(generation=digest, epoch=epoch, fence=fence, artifacts=artifacts, replicas=replicas)


@dataclass
class Machine:
    """A folder, and the agent that runs in it now."""

    folder: Path
    link: UnixNodeLink
    agent: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return socket_path(self.folder / "agent.sock")

    @property
    def address(self) -> str:
        return f"unix:{self.socket}"

    def start(self, *options: str, **environment: str) -> None:
        if self.agent is not None:
            self.agent.wait(BOUND_S)
        with (self.folder / "agent.log").open("ab") as log:
            self.agent = subprocess.Popen(
                [*self.program("--socket", str(self.socket), "--gpus", "L40S:2"), *options],
                env=os.environ | {"PYTHONPATH": str(SOURCE)} | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def program(self, *options: str) -> list[str]:
        place = ("--instance", "i-1", "--folder", str(self.folder))
        return [sys.executable, "-m", "fleetctl.agent", *place, *options]

    async def run(self, *options: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
        """The agent's program, run to its end."""
        return await asyncio.to_thread(
            subprocess.run,
            self.program(*options),
            env=os.environ | {"PYTHONPATH": str(SOURCE)} | environment,
            capture_output=True,
            timeout=BOUND_S,
            check=False,
        )

    def kill(self) -> None:
        assert self.agent is not None
        self.agent.kill()
        self.agent.wait()

    async def up(self, *options: str, **environment: str) -> NodeStatus:
        self.start(*options, **environment)
        return await self.until(lambda _: True)

    async def apply(self, desired: NodeDesired) -> None:
        await self.link.apply(self.address, desired)

    async def until(self, holds: Callable[[NodeStatus], bool]) -> NodeStatus:
        """The first status of which it holds, within the bound."""
        status: NodeStatus | AgentFailure = AgentFailure("never asked")
        deadline = time.monotonic() + BOUND_S
        while time.monotonic() < deadline:
            try:
                status = await self.link.status(self.address)
            except AgentFailure as failure:
                status = failure
            else:
                if holds(status):
                    return status
            await asyncio.sleep(0.02)
        log = (self.folder / "agent.log").read_text()
        raise AssertionError(f"not within {BOUND_S} s; last: {status!r}\n{log}")

    async def until_phase(self, phase: ReplicaPhase, name: str = "chat-1") -> ReplicaStatus:
        def reached(status: NodeStatus) -> bool:
            return any(replica.id == name and replica.phase is phase for replica in status.replicas)

        return of(await self.until(reached), name)


def of(status: NodeStatus, name: str = "chat-1") -> ReplicaStatus:
    return next(replica for replica in status.replicas if replica.id == name)


def engines(folder: Path) -> list[psutil.Process]:
    """Every live engine process of the machine, found from outside."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE or str(ENGINE) not in process.cmdline():
                continue
            if process.environ().get("FLEETCTL_MACHINE") == str(folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


async def ended(process: psutil.Process) -> bool:
    deadline = time.monotonic() + BOUND_S
    while time.monotonic() < deadline:
        try:
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        await asyncio.sleep(0.02)
    return False
