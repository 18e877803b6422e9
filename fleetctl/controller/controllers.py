"""The controller: one tick serves `up`, `down`, `scale`, the loop, the daemon and the tests."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from fleetctl.controller.act import Actor
from fleetctl.controller.entrance import Entrance, keys_asked_for
from fleetctl.controller.fronts import Fronts
from fleetctl.controller.history import Gathering
from fleetctl.controller.journal import Stretches, entry
from fleetctl.controller.ledger import Ledger
from fleetctl.controller.observe import Observer, Ports
from fleetctl.controller.starvation import watch
from fleetctl.decide.gateway_leases import SILENT_S
from fleetctl.decide.planner import plan
from fleetctl.decide.uses import rates
from fleetctl.errors import AgentFailure, Conflict, FleetError, LeaseLost
from fleetctl.model.decisions import Event, Memory, Plan
from fleetctl.model.instances import Instance, LaunchSpec
from fleetctl.model.names import InstanceId, ReplicaId, ServiceName
from fleetctl.model.orders import Order
from fleetctl.model.places import Experience
from fleetctl.model.replicas import Replica
from fleetctl.model.rollouts import Rollout
from fleetctl.model.routes import Routes
from fleetctl.model.services import Pool
from fleetctl.model.snapshots import Intent, Snapshot
from fleetctl.ports import Store

LEASE_S = 15.0
"""Long enough for a tick under load, short enough that another controller takes over before users notice."""
ROUTES_EVERY_S = 5.0
"""Unchanged routes are sent again this often, for a gateway that was restarted unseen."""
FORGET_INSTANCE_S = 3600.0
"""Rows of Instances that are over stay this long, so that a late listing does not bring them back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticked:
    """One tick, for those who watch."""

    snapshot: Snapshot
    plan: Plan
    cpu_s: float
    wall_s: float


def no_boundary(_: str) -> None:
    """Nothing happens at a boundary outside of crash tests."""


def no_limit() -> float | None:
    """The fleet may cost whatever it costs."""
    return None


class Controller:
    """Observes, decides, records and acts. Holds the Lease while it does."""

    def __init__(
        self,
        store: Store,
        ports: Ports,
        *,
        fleet: str,
        holder: str,
        holder_is_dead: Callable[[str], bool] = lambda holder: False,
        boundary: Callable[[str], None] = no_boundary,
        max_cost_per_hour: Callable[[], float | None] = no_limit,
        complete: Callable[[LaunchSpec], LaunchSpec] = lambda spec: spec,
        auth: Callable[[], bool] = keys_asked_for,
        silent_s: float = SILENT_S,
    ) -> None:
        """`complete` adds to a launch what only this computer knows, as its key and its first boot's script; `auth`
        tells whether the gateway asks for keys; a gateway that is silent for `silent_s` loses its slots."""
        self._max_cost_per_hour = max_cost_per_hour
        self._store = store
        self.poked = asyncio.Event()
        """Set when something ended that a tick should look at soon."""
        self._fronts = None
        if ports.gateway is not None:
            self._fronts = Fronts(
                store,
                ports.gateway,
                ports.clock,
                host=holder.partition("/")[0],
                silent_s=silent_s,
                pending=self.poked.set,
            )
            ports = replace(ports, gateway=self._fronts)
        self._ports = ports
        self._fleet = fleet
        self._holder = holder
        self._holder_is_dead = holder_is_dead
        self._boundary = boundary
        self._observer = Observer(ports, fleet=fleet)
        self.starved = asyncio.Event()
        """Set when a request met no Replica: a tick should begin at once."""
        self._watch: asyncio.Task[None] | None = None
        self._actor = Actor(
            ports.clock, ports.providers, ports.nodes, on_end=self.poked.set, boundary=boundary, complete=complete
        )
        self._fence: int | None = None
        self._renewed_at = 0.0
        self._intents_version = -1
        self._intents: tuple[Intent, ...] = ()
        self._pools: tuple[Pool, ...] = ()
        self._orders: tuple[Order, ...] = ()
        self._instances: dict[InstanceId, Instance] = {}
        self._replicas: dict[ReplicaId, Replica] = {}
        self._memories: dict[ServiceName, Memory] = {}
        self._counters: dict[str, int] = {}
        self._places: dict[str, Experience] = {}
        self._rollouts: dict[ServiceName, Rollout] = {}
        self._pins: dict[str, str] = {}
        self._routes: Routes | None = None
        self._routes_at = 0.0
        self._gateway_failing = False
        self._entrance = None if ports.gateway is None else Entrance(store, ports.gateway, auth=auth)
        self._stretches = Stretches()
        self._gathering = Gathering()
        self._ledger = Ledger()

    async def acquire(self) -> None:
        """Become the one controller. Raises `Conflict` while another one is."""
        now = self._ports.clock.now()
        lease = await asyncio.to_thread(self._store.acquire, self._holder, ttl_s=LEASE_S, now=now)
        if lease is None:
            other = await asyncio.to_thread(self._store.lease)
            if other is not None and self._holder_is_dead(other.holder):
                # Its process is gone from this very machine: nobody can still be acting on that Lease.
                await asyncio.to_thread(self._store.release, other.holder)
                lease = await asyncio.to_thread(self._store.acquire, self._holder, ttl_s=LEASE_S, now=now)
            if lease is None:
                holder = "another process" if other is None else other.holder
                raise Conflict(
                    f"another controller holds the fleet: {holder}", hint="see it with: fleetctl daemon status"
                )
        if lease.fence != self._fence:
            state = await asyncio.to_thread(self._store.load)
            self._instances = dict(state.instances)
            self._replicas = dict(state.replicas)
            self._memories = dict(state.memories)
            self._counters = dict(state.counters)
            self._places = dict(state.places)
            self._rollouts = dict(state.rollouts)
            self._pins = dict(state.pins)
            self._ledger = Ledger(state.counted_until)
            self._intents_version = -1
            self._fence = lease.fence
            self._routes = None
        self._renewed_at = now
        if self._fronts is not None and (self._watch is None or self._watch.done()):
            self._watch = asyncio.create_task(watch(self._fronts, self._ports.clock, self.starved.set))

    async def tick(self) -> Ticked:
        """Observe, decide, store what was decided, then begin the Actions. Raises `LeaseLost` and `StoreFailure`."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.poked.clear()
        self.starved.clear()
        if self._fence is None or self._ports.clock.now() - self._renewed_at > LEASE_S / 3:
            await self.acquire()
        assert self._fence is not None
        await self._reload_intents()
        in_flight = self._actor.in_flight
        in_force = [intent.in_force(self._rollouts.get(intent.service.name)) for intent in self._intents]
        observed = await self._observer.observe(in_force, self._pools, self._instances, self._replicas)
        snapshot = Snapshot(
            now=self._ports.clock.now(),
            fleet=self._fleet,
            epoch=self._store.epoch,
            fence=self._fence,
            intents=self._intents,
            pools=self._pools,
            instances=self._instances,
            replicas=self._replicas,
            memories=self._memories,
            counters=self._counters,
            places=self._places,
            rollouts=self._rollouts,
            pins=self._pins,
            listings=observed.listings,
            consistency_s={name: provider.consistency_s for name, provider in self._ports.providers.items()},
            offers=observed.offers,
            nodes=observed.nodes,
            readings=observed.readings,
            queues=observed.queues,
            outside=observed.outside,
            # What ended while the world was looked at counts as in flight: the look may be older than the end.
            in_flight=in_flight | self._actor.in_flight,
            outcomes=self._actor.take_outcomes(),
            max_cost_per_hour=self._max_cost_per_hour(),
            orders=self._orders,
        )
        made = plan(snapshot)
        self._boundary("before commit")
        journal = entry(snapshot, made, self._stretches)
        history = self._gathering.add(made.decisions)
        spent = self._ledger.add(snapshot.now, rates(snapshot))
        try:
            await asyncio.to_thread(
                self._store.commit, made, fence=self._fence, journal=journal, history=history, spent=spent
            )
        except FleetError as error:
            self._stretches = Stretches()  # this tick is not in the journal, so the next begins a stretch
            if isinstance(error, LeaseLost):
                self._fence = None
            raise
        if spent is not None:
            self._ledger.kept(spent)
        self._boundary("after commit")
        self._take_over(snapshot, made)
        await self._send_routes(made)
        for action in made.actions:
            self._actor.begin(action)
        await self._keep_entrance()
        return Ticked(
            snapshot=snapshot,
            plan=made,
            cpu_s=time.process_time() - cpu,
            wall_s=time.perf_counter() - wall,
        )

    async def _keep_entrance(self) -> None:
        if self._entrance is None or self._fence is None:
            return
        try:
            await self._entrance.tick(version=self._intents_version, fence=self._fence, now=self._ports.clock.now())
        except LeaseLost:
            self._fence = None
            raise

    async def _reload_intents(self) -> None:
        version = await asyncio.to_thread(self._store.intents_version)
        if version != self._intents_version:
            self._intents, self._pools = await asyncio.to_thread(self._store.intents)
            self._orders = await asyncio.to_thread(self._store.orders)
            self._intents_version = version

    def _take_over(self, snapshot: Snapshot, made: Plan) -> None:
        """The rows as stored become the rows of the next tick. Snapshots keep their own."""
        self._instances = dict(self._instances)
        for instance in made.instances:
            self._instances[instance.id] = instance
        for key, instance in list(self._instances.items()):
            if instance.over and snapshot.now - instance.phase_at > FORGET_INSTANCE_S:
                del self._instances[key]
        self._replicas = dict(self._replicas)
        for replica in made.replicas:
            self._replicas[replica.id] = replica
        for gone in made.removed_replicas:
            del self._replicas[gone]
        self._memories = {**self._memories, **dict(made.memories)}
        self._counters = {**self._counters, **dict(made.counters)}
        self._places = {**self._places, **{str(one.place): one for one in made.places}}
        self._rollouts = {**self._rollouts, **{one.service: one for one in made.rollouts}}
        kept = {name: digest for name, digest in self._pins.items() if name not in made.removed_pins}
        self._pins = {**kept, **dict(made.pins)}

    async def _send_routes(self, made: Plan) -> None:
        if self._fronts is None or made.routes is None:
            return
        same = made.routes == self._routes and made.at - self._routes_at < ROUTES_EVERY_S
        if same and not self._fronts.several:
            return
        try:
            await self._fronts.route(made.routes)
            await self._fronts.keep_reports(made.routes.fence)
        except LeaseLost:
            self._fence = None
            raise
        except AgentFailure as error:
            self._routes = None
            if not self._gateway_failing:
                self._gateway_failing = True
                await asyncio.to_thread(
                    self._store.add_events,
                    [Event(at=made.at, kind="warning", subject="gateway", message=str(error))],
                )
            return
        self._gateway_failing = False
        self._routes, self._routes_at = made.routes, made.at

    @property
    def in_flight(self) -> frozenset[str]:
        return self._actor.in_flight

    async def close(self, *, release: bool = True) -> None:
        """Stop acting and let the Lease go, so that the next controller need not wait for it to expire."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._actor.close()
        await self._observer.close()
        if release and self._fence is not None:
            await asyncio.to_thread(self._store.release, self._holder)
