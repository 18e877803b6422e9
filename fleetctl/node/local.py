"""The way to node agents on this machine, over their Unix sockets."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from fleetctl.errors import AgentFailure
from fleetctl.model.names import ReplicaId
from fleetctl.model.nodes import NodeDesired, NodeStatus

if TYPE_CHECKING:
    import aiohttp

STATUS_TIMEOUT_S = 2.0
"""An agent answers in milliseconds; one that takes longer is unknown to this tick, and the next one asks again."""

APPLY_TIMEOUT_S = 5.0
"""The agent stores what it is given before it answers, on a disk that may be busy with weights."""

LOGS_TIMEOUT_S = 10.0
"""A container's log comes through its daemon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """What an agent says when it does not do what it was asked."""

    error: str
    hint: str = ""


class UnixNodeLink:
    """Reaches agents at addresses `unix:PATH`. Keeps one session for each."""

    def __init__(self) -> None:
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def status(self, address: str) -> NodeStatus:
        answer = await self._ask(address, "GET", "/v1/status", timeout_s=STATUS_TIMEOUT_S)
        try:
            return msgspec.json.decode(answer, type=NodeStatus)
        except msgspec.DecodeError as error:
            raise AgentFailure(
                f"the node agent at {address} speaks another language: {error}",
                hint="its fleetctl is of another version: stop the instance and start it again",
            ) from error

    async def apply(self, address: str, desired: NodeDesired) -> None:
        await self._ask(address, "PUT", "/v1/desired", timeout_s=APPLY_TIMEOUT_S, body=msgspec.json.encode(desired))

    async def logs(self, address: str, replica: ReplicaId, tail_bytes: int) -> bytes:
        path = f"/v1/replicas/{replica}/logs?tail={tail_bytes}"
        return await self._ask(address, "GET", path, timeout_s=LOGS_TIMEOUT_S)

    async def close(self) -> None:
        sessions = tuple(self._sessions.values())
        self._sessions.clear()
        for session in sessions:
            await session.close()

    async def _ask(self, address: str, method: str, path: str, *, timeout_s: float, body: bytes | None = None) -> bytes:
        import aiohttp

        session = self._session(address)
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with session.request(method, f"http://node{path}", data=body, timeout=timeout) as answer:
                said = await answer.read()
                if answer.status < 300:
                    return said
                raise _refused(address, answer.status, said)
        except TimeoutError:
            raise AgentFailure(
                f"the node agent at {address} did not answer within {timeout_s:g} s",
                hint="the next tick asks again; see agent.log beside its socket",
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            # Instances come and go; a session for one that is gone would stay for ever.
            await self._forget(address, session)
            raise AgentFailure(
                f"no node agent answers at {address}: {error}",
                hint="it boots, or it ended: fleetctl ps -i; agent.log beside its socket says why",
            ) from None

    def _session(self, address: str) -> "aiohttp.ClientSession":
        session = self._sessions.get(address)
        if session is None:
            import aiohttp

            scheme, _, path = address.partition(":")
            if scheme != "unix" or not path:
                raise AgentFailure(f"{address!r} is not the address of a local node agent (unix:PATH)")
            session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path))
            self._sessions[address] = session
        return session

    async def _forget(self, address: str, session: "aiohttp.ClientSession") -> None:
        if self._sessions.get(address) is session:
            del self._sessions[address]
        await session.close()


def _refused(address: str, status: int, said: bytes) -> AgentFailure:
    try:
        refusal = msgspec.json.decode(said, type=_Refusal)
    except msgspec.DecodeError:
        return AgentFailure(f"the node agent at {address} answered {status}: {said[:200].decode(errors='replace')}")
    return AgentFailure(f"the node agent at {address} refused ({status}): {refusal.error}", hint=refusal.hint)
