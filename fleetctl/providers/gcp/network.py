"""The fleet's place in the network: one network, and rules that open port 22 to the configured sources, the peers' port
to the fleet's own machines, and no more.

The project's `default` network comes with rules that let anyone in by SSH. Rules of ours stand before them for the
fleet's machines alone: first who may reach those two ports, then nobody may reach anything. Replies, and what a machine
itself begins, pass.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from fleetctl.errors import Gone, InvalidRequest
from fleetctl.model.nodes import PEER_PORT
from fleetctl.providers.gcp import names
from fleetctl.providers.gcp.api import Api
from fleetctl.providers.gcp.asking import Asking
from fleetctl.providers.gcp.failures import AlreadyThere
from fleetctl.providers.gcp.settings import Settings

if TYPE_CHECKING:
    from google.cloud import compute_v1

_ALLOW_PRIORITY = 900
_DENY_PRIORITY = 901
"""Smaller goes first; the rules that a network comes with have 65,534, and those that people make 1,000."""

DEFAULT = "default"

_READY_S = 600.0
"""Rules that somebody has removed meanwhile are put back within this; a look costs four requests."""


def allow_rule(settings: Settings, network: str) -> dict[str, object]:
    """Who may reach port 22. Google reads a rule without sources as one for everybody: never make one."""
    return {
        **_rule(settings.fleet, "ssh", network, _ALLOW_PRIORITY),
        "allowed": [{"I_p_protocol": "tcp", "ports": ["22"]}],
        "source_ranges": list(settings.ssh_sources),
    }


def peers_rule(settings: Settings, network: str) -> dict[str, object]:
    """What the fleet's machines reach of each other, by their addresses inside the network."""
    return {
        **_rule(settings.fleet, "peers", network, _ALLOW_PRIORITY),
        "allowed": [{"I_p_protocol": "tcp", "ports": [str(PEER_PORT)]}],
        "source_tags": [names.tag(settings.fleet)],
    }


def deny_rule(settings: Settings, network: str) -> dict[str, object]:
    return {
        **_rule(settings.fleet, "deny", network, _DENY_PRIORITY),
        "denied": [{"I_p_protocol": "all"}],
        "source_ranges": ["0.0.0.0/0"],
    }


def _rule(fleet: str, kind: str, network: str, priority: int) -> dict[str, object]:
    return {
        "name": names.rule_name(fleet, kind, network),
        "description": names.mark(fleet),
        "network": network,
        "direction": "INGRESS",
        "priority": priority,
        "target_tags": [names.tag(fleet)],
    }


class Network:
    """The fleet's network, made ready by the first launch and looked at again from time to time."""

    def __init__(self, api: Api, settings: Settings, asking: Asking) -> None:
        self._api = api
        self._settings = settings
        self._asking = asking
        self._ready = ""
        self._ready_until = 0.0
        self._one = asyncio.Lock()

    def forget(self) -> None:
        """It may have gone: look again at the next launch."""
        self._ready = ""

    async def ready(self) -> str:
        """The network's path, with the fleet's rules in force on it."""
        async with self._one:
            if not self._ready or time.monotonic() > self._ready_until:
                path = f"global/networks/{await self._network()}"
                await self._rule(deny_rule(self._settings, path))
                await self._rule(peers_rule(self._settings, path))
                if self._settings.ssh_sources:
                    await self._rule(allow_rule(self._settings, path))
                else:
                    await self._no_rule(names.rule_name(self._settings.fleet, "ssh", path))
                self._ready, self._ready_until = path, time.monotonic() + _READY_S
            return self._ready

    async def chosen(self) -> str:
        """The name of the network that launches use; empty: the fleet's own is still to be made. Changes nothing."""
        own = names.network_name(self._settings.fleet)
        for name in (self._settings.network,) if self._settings.network else (own, DEFAULT):
            try:
                await self._asking.read(f"network {name}", partial(self._api.network, name))
            except Gone:
                continue
            return name
        if self._settings.network:
            raise InvalidRequest(
                f"gcp: project {self._settings.project} has no network {self._settings.network}",
                hint="see providers.gcp.network of the fleet's file",
            )
        return ""

    async def _network(self) -> str:
        if name := await self.chosen():
            return name
        name = names.network_name(self._settings.fleet)
        body = {"name": name, "description": names.mark(self._settings.fleet), "auto_create_subnetworks": True}
        with suppress(AlreadyThere):  # another process was first
            await self._asking.changed(f"make network {name}", lambda: self._api.insert_network(body))
        return name

    async def _rule(self, body: Mapping[str, object]) -> None:
        name = str(body["name"])
        try:
            found = await self._asking.read(f"firewall rule {name}", lambda: self._api.firewall(name))
        except Gone:
            with suppress(AlreadyThere):  # another process was first, and made it of the same settings
                await self._asking.changed(f"make firewall rule {name}", lambda: self._api.insert_firewall(body))
            return
        if _drifted(found, body):
            await self._asking.changed(f"mend firewall rule {name}", lambda: self._api.update_firewall(name, body))

    async def _no_rule(self, name: str) -> None:
        try:
            await self._asking.read(f"firewall rule {name}", lambda: self._api.firewall(name))
            await self._asking.changed(f"remove firewall rule {name}", lambda: self._api.delete_firewall(name))
        except Gone:
            return


def _drifted(found: "compute_v1.Firewall", body: Mapping[str, object]) -> bool:
    """Whether the rule that is there lets through something else than it should."""
    wanted = type(found)(body)
    return found.disabled or _lets_through(found) != _lets_through(wanted)


def _lets_through(rule: "compute_v1.Firewall") -> tuple[object, ...]:
    """What counts in a rule, in an order that does not depend on how Google lists it."""
    return (
        rule.priority,
        sorted(rule.source_ranges),
        sorted(rule.source_tags),
        sorted(rule.source_service_accounts),
        sorted(rule.target_tags),
        sorted((allowed.I_p_protocol, tuple(allowed.ports)) for allowed in rule.allowed),
        sorted((denied.I_p_protocol, tuple(denied.ports)) for denied in rule.denied),
    )
