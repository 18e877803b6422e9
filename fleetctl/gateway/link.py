"""The controller's way to the gateway: its admin interface on a Unix socket."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from fleetctl.errors import AgentFailure, LeaseLost
from fleetctl.gateway.health import GatewayHealth
from fleetctl.gateway.starvation import HELD_MAX_S
from fleetctl.model.keys import EntryReport
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Identity, Routes
from fleetctl.model.signals import QueueStats, Starved

if TYPE_CHECKING:
    from aiohttp import ClientSession

ANSWER_TIMEOUT_S = 5.0
"""The gateway answers within milliseconds; one that takes longer is not there for us."""

HELD_TIMEOUT_S = HELD_MAX_S + ANSWER_TIMEOUT_S
"""For a question that the gateway holds until there is an answer."""

T = TypeVar("T")


class UnixGatewayLink:
    """A `ports.GatewayLink`. Raises `AgentFailure`; for routes with an outdated fence `LeaseLost`."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._session: ClientSession | None = None

    async def route(self, routes: Routes) -> None:
        """Replace the gateway's whole view of capacity."""
        await self._ask("PUT", "/routes", msgspec.json.encode(routes))

    async def identify(self, identity: Identity) -> None:
        """Say who may enter, in place of what the gateway knew before."""
        await self._ask("PUT", "/identity", msgspec.json.encode(identity))

    async def entry(self) -> EntryReport:
        """Who used it since it began."""
        return self._decode(await self._ask("GET", "/entry"), EntryReport)

    async def stats(self) -> Mapping[ServiceName, QueueStats]:
        body = await self._ask("GET", "/stats")
        return {one.service: one for one in self._decode(body, list[QueueStats])}

    async def starved(self, after: int) -> Starved:
        """Who has requests and no replica, as soon as there are more such requests than `after`; or after a while."""
        return self._decode(await self._ask("GET", f"/starved?after={after}", timeout_s=HELD_TIMEOUT_S), Starved)

    async def health(self) -> GatewayHealth:
        return self._decode(await self._ask("GET", "/healthz"), GatewayHealth)

    async def metrics(self) -> str:
        """The Prometheus text."""
        return (await self._ask("GET", "/metrics")).decode()

    async def shutdown(self) -> None:
        """Tell it to end when its running requests have ended; does not wait."""
        await self._ask("POST", "/shutdown")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(
        self, method: str, path: str, body: bytes | None = None, *, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> bytes:
        import aiohttp  # a slow import, and the CLI loads this module

        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self._socket), limit=4))
        data = None if body is None else BytesIO(body)  # bytes of more than a megabyte would be warned of
        try:
            limit = aiohttp.ClientTimeout(total=timeout_s)
            async with self._session.request(method, f"http://gateway{path}", data=data, timeout=limit) as answer:
                answered = await answer.read()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise AgentFailure(
                f"the gateway at {self._socket} does not answer: {str(error) or type(error).__name__}",
                hint="see its log; `fleetctl up` starts it again",
            ) from error
        if status == 409:
            raise LeaseLost(answered.decode(errors="replace"), hint="another controller has taken over; stop this one")
        if status >= 400:
            raise AgentFailure(
                f"the gateway at {self._socket} refused {method} {path} with {status}: "
                f"{answered[:200].decode(errors='replace')}",
                hint="a gateway of another version? stop it; `fleetctl up` starts it again",
            )
        return answered

    def _decode(self, body: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError as error:
            raise AgentFailure(
                f"the gateway at {self._socket} answered what cannot be read: {error}",
                hint="a gateway of another version? stop it; `fleetctl up` starts it again",
            ) from error
