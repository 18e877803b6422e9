"""A gateway that has joined a fleet: says in the store that it lives, and follows what the controller grants it there.

It may use the slots of its newest grant, and says which one it follows. When it cannot say so for `FENCED_S` it gives
no request to any replica until it can again: soon after, the controller gives its slots to others.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from fleetctl import __version__
from fleetctl.decide.gateway_leases import FENCED_S, leased
from fleetctl.errors import AgentFailure, Conflict, FleetError, LeaseLost
from fleetctl.model.gateways import GatewayBeat, GatewayGrant
from fleetctl.model.keys import EntryReport
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Identity, Routes
from fleetctl.model.signals import Starved
from fleetctl.ports import FleetLink, GatewayLink

_log = logging.getLogger("fleetctl.gateway")

POLL_S: Final = 0.2
"""Between two looks at what is to be followed; with the look itself a change is followed within 250 ms."""
BEAT_S: Final = 1.0
"""Between two beats while nothing changes: a store takes those of a hundred gateways without noticing."""
KEYS_TOLD_S: Final = 30.0
"""A key that was used is told for so long: the controller reads only the newest beat, and not every one."""
RETRY_S: Final = 1.0
"""After a failure of the store's."""
STARVED_TOLD_S: Final = 5.0
"""A Service that got a request without a replica is told for so long: one beat may be overwritten by the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Who joins."""

    name: str
    incarnation: str
    """`host/pid/start`."""
    address: str
    """The public `host:port`."""
    host: str
    replaces: str = ""
    """The incarnation that had this name and is certainly over."""


@dataclass(slots=True)
class _Following:
    """What it follows, and what it has been told."""

    grant: GatewayGrant | None = None
    routes: Routes | None = None
    routes_number: int = 0
    identity: Identity | None = None
    identity_number: int = 0
    applied: Routes | None = None
    """What the data plane has, as far as is known."""
    number: int = 0
    """Of the grant that the data plane follows; 0: it gives no request to any replica."""
    keys: dict[str, float] = field(default_factory=dict)
    """When each was last told to be used."""
    starved: dict[ServiceName, float] = field(default_factory=dict)
    """When each was last told to have a request and no replica."""
    starved_count: int = 0


class Joined:
    """Keeps one gateway with its fleet. `run` goes on until it is cancelled."""

    def __init__(
        self,
        fleet: FleetLink,
        gateway: GatewayLink,
        place: Place,
        *,
        fenced_s: float = FENCED_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fleet = fleet
        self._gateway = gateway
        self._place = place
        self._fenced_s = fenced_s
        self._now = now
        self._follows = _Following()
        self._beats = 0
        self._contact_s = now()
        """When the last beat that arrived was begun."""
        self._joined = False
        self._fenced = True
        self._steering = asyncio.Lock()
        self._leaving = False
        self._changed = asyncio.Event()
        self.serves = asyncio.Event()
        """Set once it knows who may enter and which slots it may use."""

    @property
    def fenced(self) -> bool:
        """It has not been heard for too long, or not yet, and gives no request to any replica."""
        return self._fenced

    def leave(self) -> None:
        """Say from now on that it takes nothing new: its slots go to others as its requests end."""
        self._leaving = True
        self._changed.set()

    async def run(self) -> None:
        """Follow the fleet. Raises `Conflict` when another gateway has taken its name."""
        beside = (asyncio.create_task(self._guard()), asyncio.create_task(self._hear_starved()))
        try:
            while True:
                try:
                    await self._round()
                except (FleetError, TimeoutError) as error:
                    if isinstance(error, Conflict):
                        raise
                    if isinstance(error, AgentFailure):
                        self._forget()
                    if not self._leaving:
                        _log.warning("the fleet cannot be followed for the moment: %s", error)
                    await asyncio.sleep(RETRY_S)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    async def end(self) -> None:
        """Nothing runs here any more: its slots are free at once."""
        try:
            await self._fleet.leave(self._place.incarnation)
        except FleetError as error:
            _log.warning("the fleet does not hear that this gateway ends, and waits for it: %s", error)

    async def _round(self) -> None:
        """One beat, and a look at what is to be followed until the next is due."""
        await self._beat()
        due = self._now() + BEAT_S
        while self._now() < due:
            followed = self._follows.number
            await self._look()
            if self._follows.number != followed:
                return  # it is waited for
            try:
                async with asyncio.timeout(POLL_S):
                    await self._changed.wait()
                self._changed.clear()
                return
            except TimeoutError:
                pass

    async def _beat(self) -> None:
        async with self._steering:
            follows = self._follows.number
        queues = tuple((await self._gateway.stats()).values())
        entry = self._told_keys(await self._gateway.entry())
        began_s = self._now()
        self._beats += 1
        beat = GatewayBeat(
            name=self._place.name,
            incarnation=self._place.incarnation,
            address=self._place.address,
            host=self._place.host,
            version=__version__,
            number=self._beats,
            follows=follows,
            replaces=self._place.replaces,
            leaving=self._leaving,
            queues=queues,
            entry=entry,
            starved=self._starved(),
        )
        if self._joined:
            heard = await self._fleet.beat(beat)
        else:
            await self._fleet.join(beat)
            self._joined = heard = True
            _log.info("joined the fleet as %s", self._place.name)
        # A word that took so long to arrive is worth nothing: the slots may be another's by now.
        if heard and self._now() - began_s < self._fenced_s:
            self._contact_s = began_s
            if self._fenced:
                self._fenced = False
                self._follows.grant = None

    async def _look(self) -> None:
        follows = self._follows
        orders = await self._fleet.orders(
            self._place.name,
            self._place.incarnation,
            routes_number=follows.routes_number,
            identity_number=follows.identity_number,
        )
        if orders.holder != self._place.incarnation:
            await self._fence("its slots were taken back" if not orders.holder else "its name was taken")
            if orders.holder:
                raise Conflict(
                    f"another gateway has joined as {self._place.name}: {orders.holder}",
                    hint="give each gateway its own --name; this one has stopped",
                )
            self._joined = False
            self._changed.set()
            return
        if orders.identity is not None:
            follows.identity, follows.identity_number = orders.identity, orders.identity_number
            await self._gateway.identify(orders.identity)
        if orders.routes is not None:
            follows.routes, follows.routes_number = orders.routes, orders.routes_number
        follows.grant = orders.grant
        await self._apply()

    async def _apply(self) -> None:
        async with self._steering:
            follows = self._follows
            if self._fenced or follows.routes is None:
                return
            grant = follows.grant
            wanted = leased(follows.routes, grant.slots if grant is not None else {})
            if wanted != follows.applied:
                follows.number = 0
                await self._steer(wanted)
            follows.number = grant.number if grant is not None else 0
            if follows.number and follows.identity is not None:
                self.serves.set()

    def _forget(self) -> None:
        """The data plane may be another one by now, which knows nothing."""
        self._follows.applied = None
        self._follows.identity_number = 0

    async def _guard(self) -> None:
        """Fence it in time, whatever else waits for an answer; and again until the data plane has heard of it."""
        while True:
            await asyncio.sleep(POLL_S)
            unheard = self._follows.routes is not None and self._follows.applied is None
            if (unheard or not self._fenced) and self._now() - self._contact_s >= self._fenced_s:
                try:
                    await self._fence(f"the fleet could not be reached for {self._fenced_s:g} s")
                except FleetError as error:
                    _log.warning("%s", error)

    async def _fence(self, why: str) -> None:
        async with self._steering:
            follows = self._follows
            if not self._fenced:
                _log.warning("no request is given to any replica: %s", why)
            self._fenced = True
            follows.number = 0
            if follows.routes is not None:
                await self._steer(leased(follows.routes, {}))

    async def _steer(self, routes: Routes) -> None:
        self._follows.applied = None
        try:
            await self._gateway.route(routes)
        except LeaseLost as error:  # of a controller before the one that it follows
            raise AgentFailure(error.message, hint=error.hint) from error
        self._follows.applied = routes

    async def _hear_starved(self) -> None:
        """Beat at once when a request meets no replica: a controller may be waiting for nothing else."""
        follows = self._follows
        while True:
            try:
                told = await self._gateway.starved(follows.starved_count)
            except FleetError:
                await asyncio.sleep(RETRY_S)
                continue
            if told.count == follows.starved_count:
                await asyncio.sleep(POLL_S)  # it holds the question, unless it ends
                continue
            follows.starved_count = told.count
            follows.starved.update(dict.fromkeys(told.services, self._now()))
            self._changed.set()

    def _starved(self) -> Starved:
        now, starved = self._now(), self._follows.starved
        for name in [name for name, at in starved.items() if now - at > STARVED_TOLD_S]:
            del starved[name]
        return Starved(count=self._follows.starved_count, services=tuple(starved))

    def _told_keys(self, report: EntryReport) -> EntryReport:
        now, keys = self._now(), self._follows.keys
        for key in report.keys:
            keys[key] = now
        for key in [key for key, at in keys.items() if now - at > KEYS_TOLD_S]:
            del keys[key]
        return replace(report, keys=tuple(keys))
