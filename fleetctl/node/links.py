"""Every way to node agents as one: an address's scheme says which."""

from collections.abc import Mapping
from dataclasses import replace

from fleetctl.errors import AgentFailure
from fleetctl.model.names import ReplicaId
from fleetctl.model.nodes import NodeDesired, NodeStatus
from fleetctl.node.hub_token import with_hub_token
from fleetctl.node.local import UnixNodeLink
from fleetctl.node.peer_key import peer_key
from fleetctl.node.ssh import SshNodeLink
from fleetctl.paths import Home
from fleetctl.ports import NodeLink


class NodeLinks:
    """Reaches agents at `unix:PATH` and `ssh://user@host:port`."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._peer_key = ""
        self._links: Mapping[str, NodeLink] = {"unix": UnixNodeLink(), "ssh": SshNodeLink(home)}

    async def status(self, address: str) -> NodeStatus:
        return await self._link(address).status(address)

    async def apply(self, address: str, desired: NodeDesired) -> None:
        """With what is stored nowhere with it: the key by which the fleet's Nodes know each other, the hub's token."""
        if not self._peer_key:
            self._peer_key = peer_key(self._home)
        given = replace(desired, peer_key=self._peer_key)
        await self._link(address).apply(address, with_hub_token(given))

    async def logs(self, address: str, replica: ReplicaId, tail_bytes: int) -> bytes:
        return await self._link(address).logs(address, replica, tail_bytes)

    async def close(self) -> None:
        for link in self._links.values():
            await link.close()

    def _link(self, address: str) -> NodeLink:
        scheme, _, _ = address.partition(":")
        link = self._links.get(scheme)
        if link is None:
            raise AgentFailure(
                f"{address!r} is no address of a node agent",
                hint=f"it begins with {' or '.join(f'{name}:' for name in self._links)}",
            )
        return link
