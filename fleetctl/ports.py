"""The whole outside boundary on one screen. Everything that touches the world is behind one of these."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from fleetctl.model.changes import Change
from fleetctl.model.checks import Check
from fleetctl.model.decisions import Decision, Event, Plan
from fleetctl.model.gateways import GatewayBeat, GatewayGrant, GatewayOrders
from fleetctl.model.history import Interval
from fleetctl.model.instances import LaunchSpec, Leftover, Listing, Offer
from fleetctl.model.keys import ApiKey, EntryReport
from fleetctl.model.ledger import Amount, Spent
from fleetctl.model.names import InstanceId, ProviderName, ReplicaId, ServiceName
from fleetctl.model.nodes import NodeDesired, NodeStatus, Ran
from fleetctl.model.orders import Order
from fleetctl.model.outside import Signal
from fleetctl.model.routes import Identity, Routes, TenantEntry
from fleetctl.model.services import Pool, Schedule, Service
from fleetctl.model.signals import OutsideReading, QueueStats, Reading, Starved, Target, Unknown
from fleetctl.model.snapshots import Intent, Lease, Override, State
from fleetctl.model.starts import Start


class Clock(Protocol):
    def now(self) -> float:
        """Unix seconds."""

    async def sleep(self, seconds: float) -> None: ...


class Provider(Protocol):
    """A source of Instances. Every method may be repeated with the same arguments and does the same thing once.

    Raises only `errors.ProviderError`s. A time-out or a lost answer is `OutcomeUnknown`; a later `list` settles it.
    """

    name: ProviderName
    consistency_s: float
    """How long `list` may lack what exists, or still show what is gone."""

    async def offers(self, pool: Pool) -> Sequence[Offer]:
        """What can be rented for this Pool, best first."""

    async def launch(self, spec: LaunchSpec) -> None:
        """Make the Instance named `spec.id`, or find it made already."""

    async def list(self, fleet: str) -> Listing:
        """Every Instance of the fleet. Complete, or an error."""

    async def start(self, instance: InstanceId) -> None:
        """Run a stopped Instance again. Raises `Gone` when there is none; never makes one."""

    async def stop(self, instance: InstanceId) -> None:
        """Stop it, keep its disk. A stopped one stays stopped."""

    async def terminate(self, instance: InstanceId) -> None:
        """Give it back for good. One that is gone already is no error."""

    async def console(self, instance: InstanceId) -> str:
        """The last that the machine wrote to its console, for a diagnosis; empty where there is nothing yet."""

    async def leftovers(self, fleet: str) -> Sequence[Leftover]:
        """Everything of the fleet that is there besides Instances, in the order in which it can be removed."""

    async def remove(self, leftover: Leftover) -> None:
        """Remove it. One that is gone already is no error; one still in use is `InvalidRequest`. Never an Instance."""

    async def checks(self, pools: Sequence[Pool]) -> Sequence[Check]:
        """Whether credentials, each call that will be needed, and quotas suffice for these Pools. Changes nothing."""

    async def close(self) -> None: ...


class NodeLink(Protocol):
    """The way to node agents. `address` is the Instance's. Raises `errors.AgentFailure`."""

    async def status(self, address: str) -> NodeStatus: ...

    async def apply(self, address: str, desired: NodeDesired) -> None: ...

    async def logs(self, address: str, replica: ReplicaId, tail_bytes: int) -> bytes: ...

    async def close(self) -> None: ...


class Shell(Protocol):
    """Runs fleetctl's own node script on machines that are reached over SSH. Raises `errors.AgentFailure`."""

    async def run(self, address: str, words: Sequence[str], *, timeout_s: float) -> Ran:
        """One run of the script with these words, to its end; what its exit code says is the caller's to judge."""

    async def close(self) -> None: ...


class SignalSource(Protocol):
    """Reads the load of many Replicas at once; one that cannot be read is Unknown, never zero."""

    async def read(self, targets: Sequence[Target]) -> Mapping[ReplicaId, Reading | Unknown]: ...

    async def close(self) -> None: ...


class OutsideSource(Protocol):
    """Reads signals from outside the fleet, one at a time, many side by side."""

    async def read(self, signal: Signal) -> OutsideReading:
        """Its value, or why it is unknown; within the signal's own time limit, and without raising."""

    async def close(self) -> None: ...


class GatewayLink(Protocol):
    """The way to the data plane. Raises `errors.AgentFailure` when it does not answer."""

    async def route(self, routes: Routes) -> None:
        """Replace the gateway's whole view of capacity."""

    async def identify(self, identity: Identity) -> None:
        """Say who may enter, in place of what the gateway knew before."""

    async def entry(self) -> EntryReport:
        """Who used it since it began."""

    async def stats(self) -> Mapping[ServiceName, QueueStats]: ...

    async def starved(self, after: int) -> Starved:
        """Who has requests and no Replica, as soon as more than `after` such requests have come; or after a while."""

    async def close(self) -> None: ...


class FleetLink(Protocol):
    """The way of a gateway that joined to its fleet. Raises `errors.StoreFailure`."""

    async def join(self, beat: GatewayBeat) -> None:
        """A first word; whoever had its name before has it no more."""

    async def beat(self, beat: GatewayBeat) -> bool:
        """A word that it lives. False: its slots were taken back, or another has its name."""

    async def orders(self, name: str, incarnation: str, *, routes_number: int, identity_number: int) -> GatewayOrders:
        """What it is to follow."""

    async def leave(self, incarnation: str) -> None:
        """It has nothing running and ends."""

    async def close(self) -> None: ...


class Store(Protocol):
    """The fleet's memory. Each method is one transaction. Raises `errors.StoreFailure`.

    Users' commands write intents at any time; everything else is written by the one holder of the Lease, and each
    such write fails with `errors.LeaseLost` when `fence` is not the newest.
    """

    epoch: str
    """Random, made with the store."""

    # the user's side
    def put_service(self, service: Service, *, revision: str, at: float, paused: bool | None = None) -> None:
        """Declare (or change) a Service and want it up. Clears nothing but an earlier `down`."""

    def put_pool(self, pool: Pool, *, at: float) -> None: ...
    def set_up(self, service: ServiceName, up: bool, *, at: float) -> None:
        """Raises `NotFound`."""

    def set_override(self, service: ServiceName, override: Override | None, *, at: float) -> None:
        """Raises `NotFound`."""

    def add_schedule(self, service: ServiceName, schedule: Schedule, *, at: float) -> bool:
        """Keep a Schedule beside the file's; whether that changes anything. Raises `NotFound` and `Conflict`."""

    def drop_schedule(self, service: ServiceName, schedule: Schedule) -> bool:
        """Take it back; whether it was there. Raises `NotFound`."""

    def set_paused(self, service: ServiceName, paused: bool) -> None:
        """Hold up a Rollout, or let it go on. Raises `NotFound`."""

    def put_order(self, order: Order) -> None:
        """Ask something of one Pool, Instance or Replica."""

    def drop_order(self, subject: str) -> bool:
        """Take it back; whether there was anything."""

    def orders(self) -> tuple[Order, ...]: ...
    def put_change(self, change: Change) -> None:
        """Keep what a command's intents were before it."""

    def changes_made(self, *, since: float) -> Sequence[Change]:
        """Those that were not taken back, the newest first."""

    def take_back(self, change: Change, *, at: float) -> None:
        """Want again what was wanted before. Raises `Conflict` where another command has done so already."""

    def put_tenant(self, tenant: TenantEntry) -> None: ...
    def tenants(self) -> Sequence[TenantEntry]: ...
    def put_key(self, key: ApiKey, *, now: float) -> None:
        """Raises `Conflict` where a key in force has its name."""

    def revoke_key(self, key: str, *, at: float) -> None:
        """Of that id. Raises `NotFound`."""

    def api_keys(self) -> Sequence[ApiKey]:
        """Every key, those that are over too, the oldest first."""

    def intents(self) -> tuple[tuple[Intent, ...], tuple[Pool, ...]]: ...
    def intents_version(self) -> int:
        """Grows with every change by the user; cheap."""

    # the controller's side
    def acquire(self, holder: str, *, ttl_s: float, now: float) -> Lease | None:
        """Take or renew the Lease. None: another holder has it. A new holder gets a larger fence."""

    def release(self, holder: str) -> None: ...
    def lease(self) -> Lease | None:
        """Who holds it, expired or not."""

    def load(self) -> State: ...
    def commit(
        self,
        plan: Plan,
        *,
        fence: int,
        journal: bytes,
        history: Sequence[tuple[ServiceName, Interval]] = (),
        spent: Spent | None = None,
    ) -> None:
        """Store a Plan's changes, the tick's journal entry, what came in and what was used, in one transaction."""

    def forget_service(self, service: ServiceName, *, fence: int) -> None:
        """Remove a Service that is down and has nothing left."""

    def put_use(self, report: EntryReport, *, fence: int, at: float) -> None:
        """Keep what a gateway tells of Tenants and keys."""

    def tokens_used(self, month: str) -> Mapping[str, int]:
        """Tokens of each Tenant in that month (`2026-11`, UTC), over all gateways."""

    def gateways(self) -> tuple[tuple[GatewayBeat, ...], tuple[GatewayGrant, ...]]:
        """What each gateway that joined said last, and every grant."""

    def put_grants(
        self, grants: Iterable[GatewayGrant], *, over: Mapping[str, int], routes: Routes | None, fence: int
    ) -> bool:
        """Store grants that changed, take back those of the incarnations in `over`, and put new routes for all.

        `over` has the number of the last beat seen of each. False: one has said something since; nothing was stored.
        """

    def put_gateway_identity(self, identity: Identity, *, fence: int) -> None:
        """Tell every gateway that joined, or will, who may enter."""

    # everyone's side
    def events(self, *, since: float = 0.0, limit: int = 1000, subject: str | None = None) -> Sequence[Event]:
        """Oldest first; the newest `limit` of them."""

    def add_events(self, events: Iterable[Event]) -> None: ...
    def decisions(self) -> Mapping[ServiceName, Decision]:
        """The newest Decision of each Service."""

    def journal(self, *, at: float) -> bytes | None:
        """The journal entry of the last tick at or before `at`."""

    def starts(
        self, service: ServiceName | None = None, *, replica: ReplicaId | None = None, limit: int = 1000
    ) -> Sequence[Start]:
        """Starts that are over, of one Service or of one Replica, oldest first; the newest `limit` of them."""

    def ledger(self, *, since: float, until: float) -> Sequence[Amount]:
        """What was used, and what it cost, by the hour, oldest first."""

    def history(self, service: ServiceName, *, since: float, until: float) -> Sequence[Interval]:
        """What came in for one Service, oldest first; where nothing came, nothing is said."""

    def close(self) -> None: ...
