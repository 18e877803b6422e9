"""The rows by which several gateways and the controller speak: beats one way, grants and routes the other."""

from collections.abc import Iterable, Mapping

from fleetctl.model.gateways import GatewayBeat, GatewayGrant, GatewayOrders
from fleetctl.model.routes import Identity, Routes
from fleetctl.store.database import Transaction
from fleetctl.store.documents import decode, encode


def put_beat(transaction: Transaction, beat: GatewayBeat, *, joins: bool) -> bool:
    """Keep what a gateway says. False: it has no row (any more), and does not join."""
    values = (beat.incarnation, beat.number, encode(beat), beat.name)
    if transaction.run(
        "UPDATE gateways SET incarnation = ?, number = ?, doc = ? WHERE name = ?"
        + ("" if joins else " AND incarnation = ?"),
        values if joins else (*values, beat.incarnation),
    ):
        return True
    if joins:
        transaction.run("INSERT INTO gateways (incarnation, number, doc, name) VALUES (?, ?, ?, ?)", values)
    return joins


def remove_gateway(transaction: Transaction, incarnation: str) -> None:
    transaction.run("DELETE FROM gateways WHERE incarnation = ?", (incarnation,))
    transaction.run("DELETE FROM gateway_grants WHERE incarnation = ?", (incarnation,))


def orders(
    transaction: Transaction, name: str, incarnation: str, *, routes_number: int, identity_number: int
) -> GatewayOrders:
    """What that incarnation is to follow; routes and identity only where their numbers are others."""
    holders = transaction.rows("SELECT incarnation FROM gateways WHERE name = ?", (name,))
    grants = transaction.rows("SELECT doc FROM gateway_grants WHERE incarnation = ?", (incarnation,))
    routes = _order(transaction, "routes", routes_number)
    identity = _order(transaction, "identity", identity_number)
    return GatewayOrders(
        holder=str(holders[0][0]) if holders else "",
        grant=decode(GatewayGrant, grants[0][0]) if grants else None,
        routes=decode(Routes, routes[1]) if routes else None,
        routes_number=routes[0] if routes else routes_number,
        identity=decode(Identity, identity[1]) if identity else None,
        identity_number=identity[0] if identity else identity_number,
    )


def _order(transaction: Transaction, kind: str, number: int) -> tuple[int, str] | None:
    rows = transaction.rows("SELECT number, doc FROM gateway_orders WHERE kind = ? AND number <> ?", (kind, number))
    return (int(rows[0][0]), str(rows[0][1])) if rows else None


def beats(transaction: Transaction) -> tuple[GatewayBeat, ...]:
    return tuple(decode(GatewayBeat, row[0]) for row in transaction.rows("SELECT doc FROM gateways ORDER BY name"))


def grants(transaction: Transaction) -> tuple[GatewayGrant, ...]:
    rows = transaction.rows("SELECT doc FROM gateway_grants ORDER BY incarnation")
    return tuple(decode(GatewayGrant, row[0]) for row in rows)


def speaks(transaction: Transaction, over: Mapping[str, int], lock: str) -> bool:
    """Whether one of these incarnations has said more than its beat of that number; none says any until this ends."""
    for incarnation, number in over.items():
        rows = transaction.rows(f"SELECT number FROM gateways WHERE incarnation = ?{lock}", (incarnation,))
        if rows and rows[0][0] > number:
            return True
    return False


def put_grants(transaction: Transaction, changed: Iterable[GatewayGrant]) -> None:
    transaction.many(
        "INSERT INTO gateway_grants (incarnation, doc) VALUES (?, ?)"
        " ON CONFLICT (incarnation) DO UPDATE SET doc = excluded.doc",
        [(grant.incarnation, encode(grant)) for grant in changed],
    )


def put_order(transaction: Transaction, order: Routes | Identity) -> None:
    kind, doc = "routes" if isinstance(order, Routes) else "identity", encode(order)
    if not transaction.run("UPDATE gateway_orders SET number = number + 1, doc = ? WHERE kind = ?", (doc, kind)):
        transaction.run("INSERT INTO gateway_orders (kind, number, doc) VALUES (?, 1, ?)", (kind, doc))
