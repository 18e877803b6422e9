"""A gateway that nothing needs any more is ended, so that a fleet that is down leaves no process behind."""

import asyncio
import time
from enum import StrEnum

from fleetctl.cli.session import Session
from fleetctl.wiring import lease_is_live


class Needed(StrEnum):
    """What a gateway, and the tunnels beside it, are there for; they run as long as there is one."""

    SERVICES = "services"
    """Some are up."""
    REPLICAS = "replicas"
    """Nothing is up, and some Replicas have not drained yet."""
    CONTROLLER = "controller"
    """One runs, and would start it again."""
    NOTHING = "nothing"


def end_idle_gateway(now: Session) -> Needed:
    """End the gateway and the tunnels unless something needs them; says what does. Raises `TimedOut`."""
    needed = _needed(now)
    if needed is Needed.NOTHING:
        asyncio.run(_end(now))
    return needed


def _needed(now: Session) -> Needed:
    if lease_is_live(now.store, time.time()):
        return Needed.CONTROLLER
    view = now.view()
    if any(intent.up for intent in view.intents):
        return Needed.SERVICES
    return Needed.REPLICAS if view.replicas else Needed.NOTHING


async def _end(now: Session) -> None:
    from fleetctl.gateway.supervise import stop_gateway
    from fleetctl.node.tunnels.client import stop_tunnels

    await stop_gateway(now.home.gateway_socket)
    # After the gateway: its last requests may still be on their way to machines.
    await stop_tunnels(now.home)
