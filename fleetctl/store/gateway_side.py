"""What gateways that joined and the controller tell each other by way of the store."""

from collections.abc import Iterable, Mapping

from fleetctl.model.gateways import GatewayBeat, GatewayGrant, GatewayOrders
from fleetctl.model.routes import Identity, Routes
from fleetctl.store import gateways
from fleetctl.store.transactions import Transactions


class GatewaySide(Transactions):
    """Beats from the gateways; grants, routes and identity from the controller, each with its fence."""

    def join_gateway(self, beat: GatewayBeat) -> None:
        """A gateway's first word; whoever had its name before has it no more."""
        with self._write() as transaction:
            gateways.put_beat(transaction, beat, joins=True)

    def beat_gateway(self, beat: GatewayBeat) -> bool:
        """A gateway's word that it lives. False: its slots were taken back, or another has its name: it must join."""
        with self._write() as transaction:
            return gateways.put_beat(transaction, beat, joins=False)

    def leave_gateway(self, incarnation: str) -> None:
        """A gateway that has nothing running ends; its slots are free at once."""
        with self._write() as transaction:
            gateways.remove_gateway(transaction, incarnation)

    def gateway_orders(
        self, name: str, incarnation: str, *, routes_number: int = 0, identity_number: int = 0
    ) -> GatewayOrders:
        """What a gateway is to follow; cheap while routes and identity keep their numbers."""
        with self._read() as transaction:
            return gateways.orders(
                transaction, name, incarnation, routes_number=routes_number, identity_number=identity_number
            )

    def gateways(self) -> tuple[tuple[GatewayBeat, ...], tuple[GatewayGrant, ...]]:
        """What each gateway that joined said last, by name, and every grant."""
        with self._read() as transaction:
            return gateways.beats(transaction), gateways.grants(transaction)

    def put_grants(
        self,
        grants: Iterable[GatewayGrant],
        *,
        over: Mapping[str, int],
        routes: Routes | None,
        fence: int,
    ) -> bool:
        """Store grants that changed, take back those of the incarnations in `over`, and put new routes for all.

        `over` has the number of the last beat that was seen of each. False: one has said something since, so that
        nothing was stored. Raises LeaseLost.
        """
        with self._fenced_write(fence) as transaction:
            if gateways.speaks(transaction, over, self._database.dialect.lock):
                return False
            for incarnation in over:
                gateways.remove_gateway(transaction, incarnation)
            gateways.put_grants(transaction, grants)
            if routes is not None:
                gateways.put_order(transaction, routes)
            return True

    def put_gateway_identity(self, identity: Identity, *, fence: int) -> None:
        """Tell every gateway that joined, or will, who may enter. Raises LeaseLost."""
        with self._fenced_write(fence) as transaction:
            gateways.put_order(transaction, identity)
