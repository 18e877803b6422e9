"""Tells the gateway who may enter, and keeps what it tells of who did."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from fleetctl.decide.identity import OPEN, identity_of, month_of
from fleetctl.errors import AgentFailure
from fleetctl.model.keys import ApiKey
from fleetctl.model.routes import Identity, TenantEntry
from fleetctl.ports import GatewayLink, Store

USE_EVERY_S = 5.0
"""The gateway is asked who used it this often. One that is killed takes with it what it counted since."""


def keys_asked_for() -> bool:
    """Without a word of the user's, nobody enters without a key."""
    return True


class Entrance:
    """Sends an Identity when it has changed, and to a gateway that does not know it."""

    def __init__(self, store: Store, gateway: GatewayLink, *, auth: Callable[[], bool] = keys_asked_for) -> None:
        """`auth` tells whether keys are asked for; it may change at any time."""
        self._store = store
        self._gateway = gateway
        self._auth = auth
        self._version = -1
        self._tenants: Sequence[TenantEntry] = ()
        self._keys: Sequence[ApiKey] = ()
        self._used: Mapping[str, int] = {}
        self._month = ""
        self._sent: Identity | None = None
        self._told = ""
        """The gateway's incarnation that answered last."""
        self._others: dict[str, int] = {}
        """Tokens of the month that other gateways, or this one before it was restarted, have counted."""
        self._asked_at = float("-inf")

    async def tick(self, *, version: int, fence: int, now: float) -> None:
        """`version` is the intents': it grows with every key and Tenant. Raises `LeaseLost` and `StoreFailure`."""
        try:
            if now - self._asked_at >= USE_EVERY_S:
                await self._ask(fence, now)
            required = self._auth()
            if required and (version != self._version or month_of(now) != self._month):
                self._tenants = await asyncio.to_thread(self._store.tenants)
                self._keys = await asyncio.to_thread(self._store.api_keys)
                await self._count(now)
                self._version = version
            identity = identity_of(self._tenants, self._keys, self._used, now=now) if required else OPEN
            if self._sent is None or _lasting(identity) != _lasting(self._sent):
                self._sent = None
                await self._gateway.identify(identity)
                self._sent = identity
        except AgentFailure:
            self._sent = None  # it is told again when it answers; that it does not is said with the routes

    async def _ask(self, fence: int, now: float) -> None:
        report = await self._gateway.entry()
        self._asked_at = now
        if report.gateway != self._told or not report.known:
            self._sent = None
        self._told = report.gateway
        if report.uses or report.keys:
            await asyncio.to_thread(self._store.put_use, report, fence=fence, at=now)
        await self._count(now)
        own = {use.tenant: use.tokens for use in report.uses if use.month == self._month}
        others = {name: rest for name, tokens in self._used.items() if (rest := tokens - own.get(name, 0))}
        if others != self._others:
            self._others = others
            self._sent = None

    async def _count(self, now: float) -> None:
        self._month = month_of(now)
        self._used = await asyncio.to_thread(self._store.tokens_used, self._month)


def _lasting(identity: Identity) -> Identity:
    """Without what grows with every request: a gateway counts its own."""
    return replace(identity, tenants=tuple(replace(tenant, tokens_used=0) for tenant in identity.tenants))
