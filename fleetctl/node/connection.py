"""One machine's SSH connection: kept, made anew when it is gone, and never made to a machine that shows another key."""

import asyncio
import time
from typing import TYPE_CHECKING, Any

from fleetctl.errors import AgentFailure
from fleetctl.model.nodes import Ran
from fleetctl.node.address import SshAddress
from fleetctl.node.keys import need_asyncssh, public_key, secret_key, ssh_folder
from fleetctl.node.known_hosts import KnownHosts
from fleetctl.paths import Home

if TYPE_CHECKING:
    import asyncssh

CONNECT_LIMIT_S = 15.0
"""For TCP, key exchange and login; half a second on a good network, some seconds on a machine that is booting."""
KEEPALIVE_S = 5.0
KEEPALIVES_LOST = 3
"""A machine that is silent for so many of them is gone: 15 s, well before a silent node is given up."""
PAUSE_FIRST_S = 0.5
PAUSE_MOST_S = 30.0
"""Between two tries, doubled from one to the next: quick for an sshd that is starting, rare for one that is dead."""
_WORDS_MAX = 400
"""Of what a machine said when a command failed, in a message: its last sentences."""

_RSA = "ssh-rsa"


class Connection:
    """Makes at most one connection at a time. Raises `AgentFailure` with what happened and what to do."""

    def __init__(self, address: SshAddress, home: Home) -> None:
        self.address = address
        self._home = home
        self._known = KnownHosts(ssh_folder(home) / "known_hosts")
        self._making = asyncio.Lock()
        self._made: asyncssh.SSHClientConnection | None = None
        self._pause_s = 0.0
        self._next_try = 0.0
        self._failure: AgentFailure | None = None
        self.count = 0
        """How often one was made."""

    @property
    def alive(self) -> bool:
        return self._made is not None and not self._made.is_closed()

    async def get(self) -> "asyncssh.SSHClientConnection":
        """The connection; made where there is none. After a failure it is tried again only after a pause."""
        async with self._making:
            if self._made is not None and not self._made.is_closed():
                return self._made
            if self._failure is not None and time.monotonic() < self._next_try:
                raise self._failure
            try:
                made = await self._make()
            except AgentFailure as failure:
                self._pause_s = min(PAUSE_MOST_S, max(PAUSE_FIRST_S, 2 * self._pause_s))
                self._next_try = time.monotonic() + self._pause_s
                self._failure = failure
                raise
            self._pause_s, self._failure, self._made = 0.0, None, made
            self.count += 1
            return made

    async def run(self, command: str, data: bytes, *, timeout_s: float) -> Ran:
        """Run a command with this on its stdin."""
        import asyncssh

        connection = await self.get()
        try:
            done = await connection.run(command, input=data, encoding=None, timeout=timeout_s)
        except asyncssh.TimeoutError:
            raise AgentFailure(
                f"{self._name} did not end what it was asked within {timeout_s:g} s",
                hint="the next try finds out what became of it",
            ) from None
        except (asyncssh.Error, OSError) as error:
            raise AgentFailure(
                f"the connection to {self._name} broke: {error}", hint="it is made again by itself"
            ) from error
        return Ran(
            code=-1 if done.exit_status is None else done.exit_status, out=_bytes(done.stdout), err=_bytes(done.stderr)
        )

    async def close(self) -> None:
        if self._made is not None:
            self._made.close()
            self._made = None

    @property
    def _name(self) -> str:
        where = f"{self.address.user}@{self.address.place}"
        return f"{self.address.instance} ({where})" if self.address.instance else where

    async def _make(self) -> "asyncssh.SSHClientConnection":
        need_asyncssh()
        import asyncssh

        own_key = await asyncio.to_thread(public_key, self._home)
        name = self.address.pinned_as
        pinned = self._known.pinned(name)
        shown: list[str] = []

        class Client(asyncssh.SSHClient):
            def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
                words = key.export_public_key().decode().split()
                shown.append(f"{words[0]} {words[1]}")
                return pinned is None or pinned == shown[-1]

        options: dict[str, Any] = {}
        if pinned is not None:
            algorithm = pinned.split()[0]
            # It has keys of other kinds, too; only the pinned one is asked for.
            options["server_host_key_algs"] = ["rsa-sha2-512", "rsa-sha2-256"] if algorithm == _RSA else [algorithm]
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                made = await asyncssh.connect(
                    self.address.host,
                    self.address.port,
                    username=self.address.user,
                    client_factory=Client,
                    client_keys=[str(secret_key(self._home))],
                    known_hosts=((), (), ()),
                    config=None,  # the user's own settings are for the user's own connections
                    agent_path=None,
                    preferred_auth="publickey",
                    gss_host=None,
                    keepalive_interval=KEEPALIVE_S,
                    keepalive_count_max=KEEPALIVES_LOST,
                    **options,
                )
        except asyncssh.HostKeyNotVerifiable:
            raise self._changed(pinned, shown) from None
        except asyncssh.KeyExchangeFailed as error:
            # It has no key of the pinned kind any more: another machine, or one made anew.
            if pinned is not None and "host key" in str(error).lower():
                raise self._changed(pinned, shown) from None
            raise AgentFailure(
                f"{self._name} speaks another SSH than ours: {error}", hint="see its sshd_config"
            ) from None
        except asyncssh.PermissionDenied:
            raise AgentFailure(
                f"{self._name} does not let the fleet's key in",
                hint=f"add this line to ~/.ssh/authorized_keys of {self.address.user} there: {own_key}",
            ) from None
        except TimeoutError:
            raise AgentFailure(
                f"{self._name} did not answer within {CONNECT_LIMIT_S:g} s",
                hint="it boots, it is down, or a firewall is between: is its port open to this machine?",
            ) from None
        except (asyncssh.Error, OSError) as error:
            raise AgentFailure(
                f"{self._name} cannot be reached: {_reason(error)}",
                hint="it boots, it is down, or a firewall is between: is its port open to this machine?",
            ) from None
        if pinned is None:
            # Only now: a stranger that does not know our key is not remembered in its place.
            self._known.pin(name, shown[-1])
        return made

    def _changed(self, pinned: str | None, shown: list[str]) -> AgentFailure:
        now = _short(shown[-1]) if shown else "one of another kind"
        return AgentFailure(
            f"{self._name} shows another host key than at the first contact ({now}, not {_short(pinned or '')}): "
            "it was made anew, or somebody is in between",
            hint=f"if it was made anew, remove the line of {self.address.pinned_as} from {self._known.path}",
        )


def last_words(ran: Ran) -> str:
    """The end of what a failed command said."""
    said = " ".join((ran.err or ran.out).decode(errors="replace").split())
    return said[-_WORDS_MAX:] or f"exit code {ran.code}"


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _short(key: str) -> str:
    """Enough of a key for a person to compare: the kind, and the end of it."""
    kind, _, rest = key.partition(" ")
    return f"{kind} …{rest[-12:]}"


def _bytes(text: object) -> bytes:
    return text if isinstance(text, bytes) else str(text or "").encode()
