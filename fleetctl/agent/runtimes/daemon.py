"""The connection to the Docker daemon of this machine, and its errors as ours."""

import contextlib
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetctl.errors import AgentFailure

if TYPE_CHECKING:
    import aiodocker
    import aiohttp

_CALL_TIMEOUT_S = 30.0
"""For one call that does not wait for an engine or a download: a daemon busy unpacking 20 GB answers in seconds."""

_CONNECT_TIMEOUT_S = 2.0
"""The daemon is on this machine: it is there at once or not at all."""

NO_CONNECTION = 900
"""What aiodocker calls a daemon that it cannot connect to."""

_SOCKETS = (Path("/var/run/docker.sock"), Path("/run/docker.sock"), Path.home() / ".docker/run/docker.sock")


class DockerDaemon:
    """Connects at first use; nothing of Docker is loaded before."""

    def __init__(self, url: str | None = None) -> None:
        """`url`: where it is; None: where DOCKER_HOST or the usual places say."""
        self._named = url
        self._client: aiodocker.Docker | None = None

    def client(self) -> "aiodocker.Docker":
        """Raises `AgentFailure` when this machine has no Docker daemon to speak to."""
        if self._client is None:
            try:
                import aiodocker
                import aiohttp
            except ImportError:
                raise AgentFailure(
                    "containers need the aiodocker package, which is not installed on this node",
                    hint="pip install 'fleetctl[docker]', or leave image: out to run the engine as a process",
                ) from None
            self._client = aiodocker.Docker(
                url=self._url(),
                timeout=aiohttp.ClientTimeout(total=_CALL_TIMEOUT_S, sock_connect=_CONNECT_TIMEOUT_S),
            )
        return self._client

    @property
    def local(self) -> bool:
        """Whether the daemon is on this machine, so that it reaches our loopback and we its disk."""
        try:
            return self._url().startswith("unix://")
        except AgentFailure:
            return False

    @contextlib.asynccontextmanager
    async def lines(
        self, path: str, *, params: Mapping[str, str], headers: Mapping[str, str]
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """Ask for what takes long, and hear line by line how it goes. Raises `DockerError` for what Docker refuses.

        However the block ends, the connection has ended with it, and with that what Docker does for us: aiodocker's own
        streams leave it to the garbage collector when they break off.
        """
        import aiodocker
        import aiohttp

        client = self.client()
        response = await client.session.post(
            f"{client.docker_host}/{path}",
            params=params,
            headers=headers,
            timeout=aiohttp.ClientTimeout(sock_connect=_CONNECT_TIMEOUT_S),
        )
        try:
            if response.status >= 400:
                raise aiodocker.DockerError(response.status, _said(await response.text()))
            async with contextlib.aclosing(_told(response)) as told:
                yield told
        finally:
            response.close()

    async def answers(self) -> bool:
        """Whether a daemon is there and answers now."""
        return bool(await self.version())

    async def version(self) -> str:
        """Of the daemon that answers now; empty: none does."""
        try:
            with self.errors("the Docker daemon did not answer"):
                return str((await self.client().version()).get("Version", ""))
        except AgentFailure:
            return ""

    @contextlib.contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Turn whatever aiodocker raises into an `AgentFailure` that begins with `what`."""
        import aiodocker
        import aiohttp

        try:
            yield
        except aiodocker.DockerError as error:
            if error.status == NO_CONNECTION:
                raise AgentFailure(f"{what}: no Docker daemon answers at {self._url()}", hint=_HINT) from error
            raise AgentFailure(f"{what}: {error.message}") from error
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise AgentFailure(f"{what}: no Docker daemon answers at {self._url()}: {error}", hint=_HINT) from error

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _url(self) -> str:
        return self._named or _url()


async def _told(response: "aiohttp.ClientResponse") -> AsyncGenerator[dict[str, Any], None]:
    """Docker says what goes wrong on the way in a line, too: its status has long gone."""
    import aiodocker

    async for line in response.content:
        told: dict[str, Any] = json.loads(line)
        if "error" in told or "errorDetail" in told:
            detail = told.get("errorDetail") or {}
            raise aiodocker.DockerError(response.status, str(detail.get("message") or told.get("error") or detail))
        yield told


def _said(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, TypeError, KeyError):
        return text


_HINT = "start Docker on this node, set DOCKER_HOST, or leave image: out to run the engine as a process"


def _url() -> str:
    named = os.environ.get("DOCKER_HOST")
    if named:
        return named
    for path in _SOCKETS:
        if path.is_socket():
            return f"unix://{path}"
    raise AgentFailure(f"no Docker daemon: DOCKER_HOST is not set and {_SOCKETS[0]} is not there", hint=_HINT)
