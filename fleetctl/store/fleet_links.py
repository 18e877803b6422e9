"""The way of a gateway that joined to its fleet: the store, without waiting for it on the event loop."""

import asyncio

from fleetctl.model.gateways import GatewayBeat, GatewayOrders
from fleetctl.store.sqlstore import SqlStore


class StoreFleetLink:
    """A `ports.FleetLink` over a store."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    async def join(self, beat: GatewayBeat) -> None:
        await asyncio.to_thread(self._store.join_gateway, beat)

    async def beat(self, beat: GatewayBeat) -> bool:
        return await asyncio.to_thread(self._store.beat_gateway, beat)

    async def orders(self, name: str, incarnation: str, *, routes_number: int, identity_number: int) -> GatewayOrders:
        return await asyncio.to_thread(
            self._store.gateway_orders,
            name,
            incarnation,
            routes_number=routes_number,
            identity_number=identity_number,
        )

    async def leave(self, incarnation: str) -> None:
        await asyncio.to_thread(self._store.leave_gateway, incarnation)

    async def close(self) -> None:
        await asyncio.to_thread(self._store.close)
