"""The SDK's asynchronous clients: made at the first call, each request with a time limit and without retries.

Nothing is retried, neither by the SDK (`retry_total=0`) nor by what carries its requests: a launch that they repeat by
themselves is one that nobody counts, and reads are repeated by the next tick. Only asking how an operation goes is
repeated, since the operation goes on regardless.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fleetctl.errors import MissingDependency, OutcomeUnknown, ProviderError
from fleetctl.providers.azure.errors import UNKNOWN_HINT, timed_out, translate
from fleetctl.providers.azure.settings import Settings

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from azure.core.polling import AsyncLROPoller
    from azure.mgmt.compute.aio import ComputeManagementClient
    from azure.mgmt.network.aio import NetworkManagementClient
    from azure.mgmt.resource.resources.aio import ResourceManagementClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds that calls may take, and the pause between two looks at an operation."""

    read_s: float = 60.0
    """One read, all its pages; the list of machine sizes of a region has some MB and takes up to twenty seconds."""
    change_s: float = 60.0
    """Until a change is accepted or refused; Azure accepts within seconds."""
    verdict_s: float = 180.0
    """For the operation behind an accepted change. Capacity is refused within two minutes as a rule; what is under
    way after three is left to the listings, well before the controller's own limit of five minutes for an action."""
    pause_s: float = 5.0
    """Where Azure suggests no other; a read each five seconds is nothing beside the 12,000 an hour that it grants."""


_POLLS_RETRIED = 3
"""Looks at an operation that may fail in a row: one lost packet is no reason to call a launch's outcome unknown."""

_CONNECT_S = 10.0
"""For TCP and TLS; Azure's front doors answer in under a second."""


@dataclass(frozen=True, slots=True)
class Clients:
    compute: "ComputeManagementClient"
    network: "NetworkManagementClient"
    resource: "ResourceManagementClient"
    credential: Any
    session: "ClientSession"
    """What carries the requests of all three."""

    async def close(self) -> None:
        for one in (self.compute, self.network, self.resource, self.credential, self.session):
            await one.close()


class Connection:
    """One fleet's way to Azure. `boundary` is called before every request; tests end the process there."""

    def __init__(self, settings: Settings, limits: Limits, boundary: Callable[[str], None]) -> None:
        self.settings = settings
        self.limits = limits
        self._boundary = boundary
        self._clients: Clients | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def clients(self) -> Clients:
        """The clients, made once. Raises `MissingDependency` where the SDK is not installed."""
        async with self._opening:
            if self._closed:
                raise ProviderError("azure: the provider is closed")
            if self._clients is None:
                try:
                    await asyncio.to_thread(_import)  # half a second, which must not hold up the loop
                except ImportError as error:
                    raise MissingDependency(
                        f"the Azure SDK is not installed: {error}", hint="pip install 'fleetctl[azure]'"
                    ) from error
                self._clients = _make(self.settings, self.limits, self._boundary)
            return self._clients

    @asynccontextmanager
    async def reading(self, what: str) -> AsyncIterator[Clients]:
        """Reads inside are bounded in time and raise our errors."""
        clients = await self.clients()
        async with _translated(what, self.limits.read_s, changes=False):
            yield clients

    async def change(self, what: str, begin: Callable[[Clients], Awaitable["AsyncLROPoller[Any]"]]) -> None:
        """Begin an operation and wait for its verdict, at most `limits.verdict_s`: then it is left under way.

        Raises `OutcomeUnknown` when the answer to the beginning, or every answer about the operation, was lost.
        """
        clients = await self.clients()
        async with _translated(what, self.limits.change_s, changes=True):
            poller = await begin(clients)
        try:
            async with asyncio.timeout(self.limits.verdict_s):
                await _verdict(what, poller)
        except TimeoutError:
            return

    async def change_at_once(self, what: str, call: Callable[[Clients], Awaitable[object]]) -> None:
        """A change without an operation behind it."""
        clients = await self.clients()
        async with _translated(what, self.limits.change_s, changes=True):
            await call(clients)

    def polling(self) -> Mapping[str, Any]:
        """The keyword arguments of every `begin_…`."""
        from azure.mgmt.core.polling.async_arm_polling import AsyncARMPolling

        pause_s = self.limits.pause_s
        return {
            "polling": AsyncARMPolling(
                timeout=pause_s, retry_total=_POLLS_RETRIED, retry_backoff_factor=pause_s / 2, retry_backoff_max=30
            )
        }

    async def close(self) -> None:
        self._closed = True
        clients, self._clients = self._clients, None
        if clients is not None:
            await clients.close()


async def _verdict(what: str, poller: "AsyncLROPoller[Any]") -> None:
    from azure.core.exceptions import AzureError
    from azure.core.polling.base_polling import OperationFailed

    try:
        await poller.result()
    except AzureError as error:
        said = translate(what, error, changes=True)
        if isinstance(error.inner_exception, OperationFailed):
            raise said from error
        # Not the operation failed but the looking at it, whatever the reason: it was accepted and goes on.
        raise OutcomeUnknown(said.message, hint=UNKNOWN_HINT, provider_code=said.provider_code) from error


@asynccontextmanager
async def _translated(what: str, limit_s: float, *, changes: bool) -> AsyncIterator[None]:
    from azure.core.exceptions import AzureError

    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError:
        raise timed_out(what, limit_s, changes=changes) from None
    except AzureError as error:
        raise translate(what, error, changes=changes) from error


class _Nobody:
    """Stands where a credential has to; it has none to give."""

    async def get_token(self, *scopes: str, **_: object) -> Any:
        raise ProviderError(f"azure: credentials for {scopes} were asked for on loopback, where there are none")

    async def close(self) -> None:
        pass


def _import() -> None:
    import azure.identity.aio
    import azure.mgmt.compute.aio
    import azure.mgmt.network.aio
    import azure.mgmt.resource.resources.aio  # noqa: F401


def _make(settings: Settings, limits: Limits, boundary: Callable[[str], None]) -> Clients:
    import aiohttp
    from azure.core.pipeline import PipelineRequest
    from azure.core.pipeline.policies import SansIOHTTPPolicy
    from azure.core.pipeline.transport import AioHttpTransport
    from azure.identity.aio import DefaultAzureCredential
    from azure.mgmt.compute.aio import ComputeManagementClient
    from azure.mgmt.network.aio import NetworkManagementClient
    from azure.mgmt.resource.resources.aio import ResourceManagementClient

    class Announced(SansIOHTTPPolicy[Any, Any]):
        def on_request(self, request: PipelineRequest[Any]) -> None:
            boundary(f"{request.http_request.method} {request.http_request.url.partition('?')[0]}")

    session = aiohttp.ClientSession(
        trust_env=not settings.on_loopback, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
    )
    # aiohttp sends a PUT or DELETE again by itself when the connection breaks, and offers no other way to forbid it.
    session._retry_connection = False
    options: dict[str, Any] = {
        "retry_total": 0,
        "per_retry_policies": [Announced()],
    }
    credential: Any
    if settings.endpoint:
        options["base_url"] = settings.endpoint
        options["credential_scopes"] = [f"{settings.endpoint}/.default"]
    if settings.on_loopback:
        # No cloud: no token, which the SDK would refuse to send over plain http.
        options["authentication_policy"] = SansIOHTTPPolicy[Any, Any]()
        credential = _Nobody()
    else:
        credential = DefaultAzureCredential()

    def transport() -> AioHttpTransport:
        return AioHttpTransport(
            session=session, session_owner=False, connection_timeout=_CONNECT_S, read_timeout=limits.read_s
        )

    return Clients(
        ComputeManagementClient(credential, settings.subscription, transport=transport(), **options),
        NetworkManagementClient(credential, settings.subscription, transport=transport(), **options),
        ResourceManagementClient(credential, settings.subscription, transport=transport(), **options),
        credential,
        session,
    )
