"""What every runtime offers, and the record it keeps of each engine it was asked for."""

import signal
from dataclasses import dataclass
from typing import Literal, Protocol

from fleetctl.agent.processes import ProcessId
from fleetctl.model.names import ReplicaId
from fleetctl.model.nodes import ReplicaSpec

RuntimeName = Literal["process", "docker"]

WATCH_PERIOD_S = 0.25
"""How often a runtime looks whether an engine has ended, where nothing tells it: noticed well within a tick, and four
looks a second cost nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRecord:
    """Written before an engine is started and again once its process is known, so that none is started twice."""

    replica: ReplicaId
    runtime: RuntimeName
    port: int | None = None
    process: ProcessId | None = None
    """None: intended; whether it was started before a crash is found out by its marks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedEngine:
    """One engine that was started, running or ended."""

    replica: ReplicaId
    address: str
    """`host:port` of its HTTP server."""
    port: int
    process: ProcessId | None = None
    container: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How an engine ended. `code` None: it ended while nobody watched."""

    code: int | None

    def __str__(self) -> str:
        if self.code is None:
            return "ended while the node agent was not watching, so its exit code is not known"
        if self.code < 0:
            return f"was killed by {signal.Signals(-self.code).name}"
        if self.code == 128 + signal.SIGKILL:
            return f"exited with code {self.code} (killed; out of memory?)"
        return f"exited with code {self.code}"


class Runtime(Protocol):
    """Runs engines. Every method may be repeated. Raises `errors.AgentFailure`."""

    async def start(self, spec: ReplicaSpec) -> StartedEngine:
        """Start the engine; the caller has made sure by `find` that there is none."""

    async def find(self, replica: ReplicaId) -> StartedEngine | None:
        """The engine started earlier, running or ended; None: it was never started."""

    async def wait(self, started: StartedEngine) -> Exit:
        """Return when the engine has ended."""

    def listens(self, started: StartedEngine) -> bool:
        """Whether it is this engine, and no stranger, that answers at its address."""

    async def exposed(self, started: StartedEngine) -> str:
        """Where its HTTP server can be reached from other machines; empty: nowhere, as far as can be seen."""

    async def stop(self, replica: ReplicaId, *, grace_s: float) -> None:
        """End the engine and all it started: asked first, killed after `grace_s`; then forget it."""

    async def log_tail(self, replica: ReplicaId, limit_bytes: int) -> bytes: ...
