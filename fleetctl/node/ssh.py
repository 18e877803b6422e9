"""The way to node agents, and to the machines themselves, over SSH: through the tunnels' process of this home."""

from collections.abc import Sequence

import msgspec

from fleetctl.errors import AgentFailure
from fleetctl.model.names import ReplicaId
from fleetctl.model.nodes import NodeDesired, NodeStatus, Ran
from fleetctl.node.tunnels import api
from fleetctl.node.tunnels.client import TunnelsLink
from fleetctl.paths import Home

STATUS_TIMEOUT_S = 8.0
"""The tunnels wait 1.5 s for a machine to be made ready and 2 s for its agent; the rest is for a busy computer."""
APPLY_TIMEOUT_S = 10.0
LOGS_TIMEOUT_S = 20.0
CONNECT_S = 20.0
"""On top of what a run of the script may take: for the connection that it may first need."""


class SshNodeLink:
    """Reaches agents at addresses `ssh://user@host:port`, with `/instance` behind it for a rented machine.

    The agent is installed at the first contact; until it answers, each question tells how far that is. Addresses of
    Replicas come back as this computer reaches them.
    """

    def __init__(self, home: Home) -> None:
        self._tunnels = TunnelsLink(home)

    async def status(self, address: str) -> NodeStatus:
        answer = await self._tunnels.ask(api.STATUS, api.Ask(address=address), timeout_s=STATUS_TIMEOUT_S)
        return msgspec.json.decode(answer, type=NodeStatus)

    async def apply(self, address: str, desired: NodeDesired) -> None:
        await self._tunnels.ask(api.APPLY, api.Ask(address=address, desired=desired), timeout_s=APPLY_TIMEOUT_S)

    async def logs(self, address: str, replica: ReplicaId, tail_bytes: int) -> bytes:
        ask = api.Ask(address=address, replica=replica, tail_bytes=tail_bytes)
        return await self._tunnels.ask(api.LOGS, ask, timeout_s=LOGS_TIMEOUT_S)

    async def close(self) -> None:
        """The tunnels stay."""


class SshShell:
    """A `ports.Shell`: runs the node script on machines, over the same connections."""

    def __init__(self, home: Home) -> None:
        self._tunnels = TunnelsLink(home)

    async def run(self, address: str, words: Sequence[str], *, timeout_s: float) -> Ran:
        ask = api.Ask(address=address, words=tuple(words), timeout_s=timeout_s)
        answer = await self._tunnels.ask(api.RUN, ask, timeout_s=timeout_s + CONNECT_S)
        try:
            return msgspec.json.decode(answer, type=Ran)
        except msgspec.DecodeError as error:
            raise AgentFailure(f"the tunnels to machines speak another language: {error}") from error

    async def close(self) -> None:
        """The tunnels stay."""
