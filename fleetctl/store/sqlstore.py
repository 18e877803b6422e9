"""The fleet's memory in a SQL database: `ports.Store`, written once for every database."""

from fleetctl.store.controller_side import ControllerSide
from fleetctl.store.everyone_side import EveryoneSide
from fleetctl.store.gateway_side import GatewaySide
from fleetctl.store.gc_side import GcSide
from fleetctl.store.user_side import UserSide


class SqlStore(ControllerSide, UserSide, GatewaySide, GcSide, EveryoneSide):
    """`ports.Store` over a Database, one side for each of those who use it.

    Each method is one transaction, under the rules of `transactions.Transactions`. Raises `errors.StoreFailure`.
    """
