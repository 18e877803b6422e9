"""What is said of an engine that failed, and what its log says of why."""

import contextlib

from fleetctl.agent.logs import last_lines
from fleetctl.engines import engine, log_hint
from fleetctl.errors import AgentFailure, UsageError
from fleetctl.model.nodes import ReplicaSpec

LOG_BYTES = 32 * 1024
"""Of a failed engine's log: what may be looked at."""
_LOG_LINES = 10
_LOG_WIDTH = 200
"""Of these, in the failure's message: what a person reads first."""

_PORT_TAKEN = ("address already in use", "eaddrinuse", "errno 98", "is in use; choose another with --port")
"""As engines say it; the last is our own rehearsal's."""


def last_words(spec: ReplicaSpec, text: bytes) -> str:
    """The end of an engine's log, and what is known to be done about it, to follow a failure."""
    said = last_lines(text, lines=_LOG_LINES, width=_LOG_WIDTH)
    if not said:
        return ""
    hint = None
    with contextlib.suppress(UsageError):  # an engine that this node does not know runs all the same
        hint = log_hint(engine(spec.engine), text.decode(errors="replace"))
    return f"; its last words:\n{said}" + (f"\n{hint}" if hint else "")


def asked(spec: ReplicaSpec) -> str:
    """What must be answered before it counts as ready."""
    return f"GET {spec.readiness_path}" + (f", then {spec.lists.expect} from {spec.lists.path}" if spec.lists else "")


def cannot_sleep(spec: ReplicaSpec) -> AgentFailure:
    return AgentFailure(f"{spec.engine} cannot be put to sleep", hint="use standby tier hot or warm for this service")


def port_taken(text: bytes) -> bool:
    """Whether a log says that another process has the port."""
    said = text.decode(errors="replace").lower()
    return any(mark in said for mark in _PORT_TAKEN)
