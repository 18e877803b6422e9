"""The short way from a command that changes who may enter to a gateway that runs on this machine."""

import time
from enum import Enum, auto

from fleetctl.cli.session import Session
from fleetctl.errors import AgentFailure
from fleetctl.wiring import lease_is_live


class Told(Enum):
    """Who knows what has changed."""

    GATEWAY = auto()
    CONTROLLER = auto()
    """It runs, and tells the gateway with its next tick."""
    NOBODY = auto()
    OPEN = auto()
    """Nobody needs to: no key is asked for."""


async def tell_gateway(now: Session) -> Told:
    """Tell the gateway of this fleet who may enter, without waiting for a controller's tick."""
    from fleetctl.decide.identity import identity_of, month_of
    from fleetctl.gateway.link import UnixGatewayLink

    if now.config.gateway_auth == "none":
        return Told.OPEN
    at = time.time()
    without = Told.CONTROLLER if lease_is_live(now.store, at) else Told.NOBODY
    if not now.home.gateway_socket.exists():
        return without
    used = now.store.tokens_used(month_of(at))
    link = UnixGatewayLink(now.home.gateway_socket)
    try:
        await link.identify(identity_of(now.store.tenants(), now.store.api_keys(), used, now=at))
    except AgentFailure:
        return without
    finally:
        await link.close()
    return Told.GATEWAY
