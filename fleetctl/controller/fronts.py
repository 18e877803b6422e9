"""All gateways of the fleet as one: the controller's own, and those that have joined through the store."""

import asyncio
from collections.abc import Callable, Mapping

from fleetctl import __version__
from fleetctl.decide.gateway_leases import SILENT_S, Slots, Step, leased, step
from fleetctl.decide.gateway_queues import Counted, as_one, counted
from fleetctl.errors import AgentFailure
from fleetctl.model.decisions import Event
from fleetctl.model.gateways import GatewayBeat, GatewayGrant, Heard
from fleetctl.model.keys import EntryReport
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Identity, Routes
from fleetctl.model.signals import QueueStats, Starved
from fleetctl.ports import Clock, GatewayLink, Store

_LOOPBACK = ("127.", "localhost", "[::1]", "::1")
"""How addresses begin that mean this computer alone: an engine on it, or a tunnel of its controller's."""


class Fronts:
    """A `ports.GatewayLink` to all gateways: their queues are told as one, and slots are divided among them.

    While nobody has joined it is the controller's own gateway, with every slot, and nothing is stored. `route` raises
    `LeaseLost` and `StoreFailure` too.
    """

    def __init__(
        self,
        store: Store,
        gateway: GatewayLink,
        clock: Clock,
        *,
        host: str,
        silent_s: float = SILENT_S,
        pending: Callable[[], None] = lambda: None,
    ) -> None:
        """`host`: this computer's name. `pending` is called when slots are on their way from one to another."""
        self._store = store
        self._gateway = gateway
        self._clock = clock
        self._host = host
        self._own = f"controller@{host}"
        """The incarnation of the controller's own gateway: there is never a second one at its socket."""
        self._silent_s = silent_s
        self._pending = pending
        self._beats: tuple[GatewayBeat, ...] = ()
        self._grants: tuple[GatewayGrant, ...] = ()
        self._heard: Mapping[str, Heard] = {}
        self._counted: Counted | None = None
        self._own_queues: Mapping[ServiceName, QueueStats] = {}
        self._own_beat: GatewayBeat | None = None
        """Of its newest stats; None: they are not known, and nothing is concluded from that."""
        self._own_beats = 0
        self._own_follows = 0
        self._sent: Routes | None = None
        """What the own gateway follows, as far as is known."""
        self._stored: Routes | None = None
        self._identity: Identity | None = None
        self._identity_stored: tuple[Identity, int] | None = None
        self._reported: dict[str, int] = {}
        self._cut: dict[str, frozenset[ReplicaId]] = {}
        self._starved: dict[str, int] = {}

    @property
    def several(self) -> bool:
        """Slots are divided: this must go on with every tick."""
        return bool(self._beats or self._grants)

    async def stats(self) -> Mapping[ServiceName, QueueStats]:
        """What all of them hold. One that is silent is taken to hold what it held, until its slots are taken back."""
        self._beats, self._grants = await asyncio.to_thread(self._store.gateways)
        follows = self._own_follows  # before the question: what came after it is not what the answer tells of
        try:
            self._own_queues = await self._gateway.stats()
        except AgentFailure:
            self._own_beat = None
            if not self._beats:
                raise
        else:
            self._own_beats += 1
            self._own_beat = GatewayBeat(
                name=self._own,
                incarnation=self._own,
                address="",
                host=self._host,
                version=__version__,
                number=self._own_beats,
                follows=follows,
                queues=tuple(self._own_queues.values()),
            )
        if not self.several:
            self._counted = Counted(last={self._own: self._own_queues}, sums=self._own_queues)
            return self._own_queues
        every = {self._own: self._own_queues, **{beat.incarnation: _queues(beat) for beat in self._beats}}
        self._counted = counted(self._counted, every)
        return as_one(self._counted, every.values())

    async def route(self, routes: Routes) -> None:
        """Replace every gateway's view of capacity; each gets its own slots."""
        if not self.several:
            await self._gateway.route(routes)
            self._sent = routes
            return
        # Read again: this is what is judged, and the answer of a slow question may be older than what was stored since.
        self._beats, self._grants = await asyncio.to_thread(self._store.gateways)
        made = self._step(routes)
        await self._put(made, routes)
        if made.pending:
            self._pending()
        own = next((grant for grant in self._grants if grant.incarnation == self._own), None)
        alone = not self._beats and not self._grants
        wanted = routes if alone else leased(routes, own.slots if own is not None else {})
        if wanted != self._sent:
            self._own_follows = 0
            self._sent = None
        # An unchanged one is sent again, too: it may be another process by now.
        await self._gateway.route(wanted)
        self._sent, self._own_follows = wanted, own.number if own is not None else 0

    def _step(self, routes: Routes) -> Step:
        beats = (*self._beats, *([self._own_beat] if self._own_beat is not None else []))
        grants = self._grants
        if not grants:
            # Until somebody joined every slot was the own gateway's.
            every = {
                one.replica: one.slots
                for known in (routes, self._sent or routes)
                for route in known.routes
                for one in route.upstreams
                if one.slots > 0
            }
            grants = (GatewayGrant(name=self._own, incarnation=self._own, number=1, slots=every, held=every),)
            if self._sent is not None:
                self._own_follows = 1
        self._grants = grants
        return step(
            _slots(routes),
            beats,
            grants,
            self._heard,
            self._clock.now(),
            unreachable={beat.incarnation: self._unreachable(beat, routes) for beat in beats},
            silent_s=self._silent_s,
        )

    async def _put(self, made: Step, routes: Routes) -> None:
        over = {one: self._heard[one].number if one in self._heard else 0 for one in made.over}
        alone = not self._beats and all(grant.incarnation == self._own for grant in made.grants)
        before = {grant.incarnation: grant for grant in self._grants}
        changed = [grant for grant in made.grants if before.get(grant.incarnation) != grant or self._stored is None]
        if alone:
            changed, over = [], {**over, self._own: 0}
        base = routes if self._stored != routes else None
        if changed or over or base is not None:
            stored = await asyncio.to_thread(
                self._store.put_grants, changed, over=over, routes=base, fence=routes.fence
            )
            if not stored:
                return  # one of those that were silent has said something: it is looked at again with the next tick
        await self._tell(made, routes)
        await self._store_identity(routes.fence)
        self._stored = None if alone else routes
        self._heard = made.heard
        self._grants = () if alone else made.grants
        if alone:
            self._heard = {}
        if self._own in made.over:  # numbers begin anew: what it says of an older one means nothing
            self._own_follows, self._own_beat, self._sent = 0, None, None

    def _unreachable(self, beat: GatewayBeat, routes: Routes) -> frozenset[ReplicaId]:
        """Replicas whose addresses mean this computer, for a gateway on another one."""
        if beat.host == self._host:
            return frozenset()
        return frozenset(
            one.replica for route in routes.routes for one in route.upstreams if one.address.startswith(_LOOPBACK)
        )

    async def _tell(self, made: Step, routes: Routes) -> None:
        """Who came, who went, and who cannot reach what."""
        at = self._clock.now()
        told: list[Event] = []
        names = {grant.incarnation: grant.name for grant in self._grants}
        for beat in self._beats:
            if beat.incarnation not in self._heard and beat.incarnation not in names:
                told.append(_event(at, "controller", beat.name, f"gateway {beat.address} on {beat.host} has joined"))
            cut = self._unreachable(beat, routes)
            if cut and not self._cut.get(beat.incarnation):
                told.append(
                    _event(
                        at,
                        "warning",
                        beat.name,
                        f"it runs on {beat.host} and has no way to {len(cut)} replicas, which only {self._host} reaches"
                        " (through its SSH tunnels, or because they run on it): they serve none of its requests",
                    )
                )
            self._cut[beat.incarnation] = cut
        for incarnation in made.over:
            if incarnation in names:
                anew = any(one.replaces == incarnation for one in self._beats)
                why = "it was started anew" if anew else f"nothing was heard of it for {self._silent_s:g} s"
                told.append(_event(at, "warning", names[incarnation], f"its slots were taken back: {why}"))
            self._cut.pop(incarnation, None)
        if told:
            await asyncio.to_thread(self._store.add_events, told)

    async def identify(self, identity: Identity) -> None:
        self._identity = identity
        await self._gateway.identify(identity)

    async def _store_identity(self, fence: int) -> None:
        if self._identity is not None and self._identity_stored != (self._identity, fence):
            await asyncio.to_thread(self._store.put_gateway_identity, self._identity, fence=fence)
            self._identity_stored = self._identity, fence

    async def keep_reports(self, fence: int) -> None:
        """Store what gateways that joined tell of who used them. Raises `LeaseLost`."""
        for beat in self._beats:
            report = beat.entry
            if report is None or self._reported.get(beat.incarnation) == beat.number:
                continue
            self._reported[beat.incarnation] = beat.number
            if report.uses or report.keys:
                await asyncio.to_thread(self._store.put_use, report, fence=fence, at=self._clock.now())
        there = {beat.incarnation for beat in self._beats}
        self._reported = {one: number for one, number in self._reported.items() if one in there}

    async def entry(self) -> EntryReport:
        return await self._gateway.entry()

    async def starved(self, after: int) -> Starved:
        return await self._gateway.starved(after)

    async def starved_elsewhere(self) -> tuple[ServiceName, ...]:
        """Services that have got a request and no Replica at gateways that joined, since this was last asked."""
        if not self._beats:
            return ()
        beats, _ = await asyncio.to_thread(self._store.gateways)
        before, self._starved = self._starved, {beat.incarnation: beat.starved.count for beat in beats}
        new = [beat.starved.services for beat in beats if beat.starved.count > before.get(beat.incarnation, 0)]
        return tuple(name for names in new for name in names)

    async def close(self) -> None:
        await self._gateway.close()


def _queues(beat: GatewayBeat) -> dict[ServiceName, QueueStats]:
    return {one.service: one for one in beat.queues}


def _slots(routes: Routes) -> Slots:
    return {
        route.service: {one.replica: one.slots for one in route.upstreams if one.slots > 0} for route in routes.routes
    }


def _event(at: float, kind: str, gateway: str, message: str) -> Event:
    return Event(at=at, kind=kind, subject=f"gateway/{gateway}", message=message)
