"""What an address `ssh://user@host:port` says, and under which name its machine's host key is pinned."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from fleetctl.errors import AgentFailure

SSH_PORT = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class SshAddress:
    """`ssh://user@host:port`, and for a rented machine `/instance` behind it."""

    user: str
    host: str
    port: int = SSH_PORT
    instance: str = ""
    """The Instance that is there. Empty: a machine of one's own, which says itself what it is claimed for."""

    @property
    def place(self) -> str:
        """`host:port`, for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def pinned_as(self) -> str:
        """The name of its line in `known_hosts`.

        A cloud gives a terminated machine's address to the next one, so what is rented is known by its Instance; a
        machine of one's own stays what it is while Instances come and go.
        """
        return self.instance or f"[{self.host}]:{self.port}"


def ssh_address(address: str) -> SshAddress:
    """The parts of an address. Raises `AgentFailure` for one that is not of this form."""
    wrong = AgentFailure(
        f"{address!r} is not the address of a machine reached over SSH",
        hint="it is ssh://user@host:port, and for a rented machine /instance behind it",
    )
    try:
        parts = urlsplit(address)
        port = parts.port or SSH_PORT
    except ValueError:
        raise wrong from None
    # What begins with a dash would be read as an option wherever an address is handed on.
    if parts.scheme != "ssh" or not parts.username or not parts.hostname or parts.password is not None:
        raise wrong
    if parts.hostname.startswith("-") or parts.username.startswith("-"):
        raise wrong
    return SshAddress(user=parts.username, host=parts.hostname, port=port, instance=parts.path.strip("/"))
