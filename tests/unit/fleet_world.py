"""A small world for the core's tests: clouds, nodes, engines and a gateway in virtual time, with levers for faults.

It holds what a controller holds, takes a Plan over exactly as `Controller` does, and plays everything outside of it.
Nothing in it is random and nothing in it waits: the tests move its time.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from math import ceil

from fleetctl.decide.planner import plan
from fleetctl.decide.standing import own_pool
from fleetctl.model.decisions import Action, Decision, Event, Memory, Outcome, Plan, Verb
from fleetctl.model.images import image_name
from fleetctl.model.instances import (
    Instance,
    InstancePhase,
    InstanceSeen,
    LaunchSpec,
    Listing,
    Offer,
    Sighting,
    Wanted,
)
from fleetctl.model.names import InstanceId, PoolName, ProviderName, ReplicaId, ServiceName
from fleetctl.model.nodes import (
    Artifact,
    ArtifactState,
    ArtifactStatus,
    NodeDesired,
    NodeStatus,
    ReplicaSpec,
    ReplicaStatus,
)
from fleetctl.model.notices import Notice, NoticeKind
from fleetctl.model.orders import Order, Wish
from fleetctl.model.places import Experience
from fleetctl.model.replicas import Replica, ReplicaPhase, Role, Stage
from fleetctl.model.rollouts import Revision, Rollout, RolloutState
from fleetctl.model.routes import Routes
from fleetctl.model.services import REACTIVE, Gpu, Market, Pool, Service, Standby
from fleetctl.model.signals import QueueStats, Reading, Unknown
from fleetctl.model.snapshots import Intent, Override, Snapshot

START = 1_700_000_000.0
CLOUD = ProviderName("cloud")
OTHER_CLOUD = ProviderName("other-cloud")
NO_STANDBY = Standby(slots=0)


def a_service(name: str = "chat", **changes: object) -> Service:
    """A Service of the rehearsal engine: one L40S, ten requests at once at a target of all ten, no Standby."""
    return replace(
        Service(
            name=ServiceName(name),
            engine="rehearsal",
            model=f"model-of-{name}",
            gpu=(Gpu(name="L40S"),),
            concurrency=10,
            scaling=replace(REACTIVE, max=8, target=1.0, window_s=20.0, scale_down_delay_s=30.0, idle_s=30.0),
            standby=NO_STANDBY,
            drain_timeout_s=60.0,
        ),
        **changes,  # type: ignore[arg-type]
    )


def scaled(service: Service, **changes: object) -> Service:
    """The Service with some of its scaling changed."""
    return replace(service, scaling=replace(service.scaling, **changes))  # type: ignore[arg-type]


def an_offer(provider: ProviderName = CLOUD, *, gpus: int = 1, gpu: str = "L40S", price: float | None = 1.0) -> Offer:
    return Offer(
        provider=provider,
        instance_type=f"{gpu.lower()}x{gpus}",
        gpu=Gpu(name=gpu, count=gpus),
        zone="z1",
        market=Market.ON_DEMAND,
        price_per_hour=price,
        price_source="test",
        price_as_of=START,
    )


@dataclass(slots=True)
class Engine:
    """One engine process on a Node."""

    spec: ReplicaSpec
    asked_at: float
    phase: ReplicaPhase = ReplicaPhase.PREPARING
    loads_until: float = 0.0
    loads_from: float | None = None
    woken_at: float | None = None
    failure: str | None = None

    def stages(self, engine_s: float, clock_s: float) -> tuple[Stage, ...]:
        """What its Node says of its start, by a clock that is so far ahead."""
        loaded_at = None if self.loads_from is None else self.loads_from + engine_s
        waking = self.phase is ReplicaPhase.LOADING and self.woken_at is not None
        lines = [("weights", self.asked_at, self.loads_from)]
        if self.loads_from is not None:
            loading = self.phase is ReplicaPhase.LOADING and not waking
            lines.append(("engine", self.loads_from, None if loading else loaded_at))
        if self.woken_at is not None:
            lines.append(("wake", self.woken_at, None if waking else self.loads_until))
        return tuple(
            Stage(name=name, started_at=since + clock_s, ended_at=None if until is None else until + clock_s)
            for name, since, until in lines
            if until is None or until > since
        )


@dataclass(slots=True)
class Machine:
    """One Instance as its cloud has it, and the Node in it."""

    spec: LaunchSpec
    state: Sighting
    created_at: float
    up_at: float
    """When its Node answers."""
    notice: Notice | None = None
    """What its cloud says of its end; at the deadline of one that is no hint it is taken away."""
    gone_at: float | None = None
    epoch: str = ""
    fence: int = 0
    generation: str = ""
    artifacts: dict[Artifact, float] = field(default_factory=dict)
    """When each is there."""
    digests: dict[Artifact, str] = field(default_factory=dict)
    """Of images fetched by tag: what it meant then."""
    engines: dict[ReplicaId, Engine] = field(default_factory=dict)

    @property
    def gone(self) -> bool:
        return self.gone_at is not None


@dataclass(frozen=True, slots=True)
class Begun:
    action: Action
    at: float
    ends_at: float


class World:
    """A fleet and everything around it. `tick` is one tick of a controller; `run` and `until` move time."""

    def __init__(
        self,
        *services: Service,
        pools: Iterable[Pool] = (),
        offers: Iterable[Offer] = (),
        gateway: bool = True,
        boot_s: float = 20.0,
        artifact_s: float = 10.0,
        engine_s: float = 6.0,
        wake_s: float = 1.0,
        request_s: float = 4.0,
        call_s: float = 1.0,
        period_s: float = 2.0,
        consistency_s: float = 0.0,
        now: float = START,
    ) -> None:
        self.now = now
        self.boot_s, self.artifact_s, self.engine_s, self.wake_s = boot_s, artifact_s, engine_s, wake_s
        self.request_s, self.call_s, self.period_s, self.consistency_s = request_s, call_s, period_s, consistency_s
        # what the store keeps
        self.epoch = "e1"
        self.fence = 1
        self.intents: dict[ServiceName, Intent] = {}
        self.pools = {pool.name: pool for pool in pools}
        self.instances: dict[InstanceId, Instance] = {}
        self.replicas: dict[ReplicaId, Replica] = {}
        self.memories: dict[ServiceName, Memory] = {}
        self.counters: dict[str, int] = {}
        self.places: dict[str, Experience] = {}
        self.rollouts: dict[ServiceName, Rollout] = {}
        self.registry: dict[str, str] = {}
        """What the names of images by tag mean at their registry now; one that is absent: no Node says."""
        self.pins: dict[str, str] = {}
        # what is out there
        self.offers = tuple(offers) or (an_offer(),)
        self.machines: dict[InstanceId, Machine] = {}
        self.gateway = gateway
        self.demand: dict[ServiceName, int] = {}
        """Requests that users keep open at each Service."""
        self.routes: Routes | None = None
        self.sent: dict[ReplicaId, int] = {}
        """Requests inside each engine."""
        self.cut = 0
        """Requests that an engine was running when it ended, or when its machine was taken away."""
        self._arrived: dict[ServiceName, int] = {}
        self._completed: dict[ServiceName, float] = {}
        self._begun: dict[str, Begun] = {}
        self._outcomes: list[Outcome] = []
        # levers
        self.unreachable: set[ProviderName] = set()
        self.max_cost_per_hour: float | None = None
        self.orders: dict[str, Order] = {}
        """By subject."""
        self.refusals: dict[ProviderName, tuple[str, bool]] = {}
        """(error code, retryable) of every launch there."""
        self.lost_answers = 0
        """So many launches still succeed and are reported as unknown."""
        self.listing_lag_s = 0.0
        self.silent: set[InstanceId] = set()
        self.clock_s = 0.0
        """Nodes' clocks are ahead of the controller's by this."""
        self.node_facts: dict[str, object] = {}
        """Fields of every Node's status, as of what it has and lacks."""
        self.broken: set[tuple[ServiceName, str]] = set()
        """(Service, revision) whose engines fail to start…"""
        self.frail: set[tuple[ServiceName, str]] = set()
        """…or die a few seconds after they are ready…"""
        self.hanging: set[tuple[ServiceName, str]] = set()
        """…or load for ever."""
        self.unreadable = False
        """No engine's metrics can be read."""
        self.gateway_down = False
        self._since: dict[str, float] = {}
        # what happened, for the tests
        self.plan = Plan(at=now)
        self.events: list[Event] = []
        self.launched: dict[InstanceId, LaunchSpec] = {}
        self.checks: list[Callable[[Snapshot, Plan, World], None]] = []
        for service in services:
            self.up(service)

    # the user

    def up(self, service: Service, revision: str = "r1") -> None:
        before = self.intents.get(service.name)
        known = before.revisions if before else ()
        self.intents[service.name] = Intent(
            service=service,
            revision=revision,
            changed_at=self.now,
            declared_at=self.now,
            override=before.override if before else None,
            paused=before is not None and before.paused,
            revisions=(
                *(one for one in known if one.name != revision),
                Revision(name=revision, service=service, declared_at=self.now),
            ),
        )

    def pause(self, name: str = "chat", *, paused: bool = True) -> None:
        key = ServiceName(name)
        self.intents[key] = replace(self.intents[key], paused=paused)

    def undo(self, revision: str, name: str = "chat") -> None:
        """Declare an earlier revision again, whole, as `rollout undo` does."""
        key = ServiceName(name)
        self.pause(name, paused=False)
        self.up(next(one.service for one in self.intents[key].revisions if one.name == revision), revision=revision)

    def down(self, name: str) -> None:
        key = ServiceName(name)
        self.intents[key] = replace(self.intents[key], up=False, changed_at=self.now)

    def override(self, name: str, replicas: int | None, until: float | None = None) -> None:
        key = ServiceName(name)
        wanted = None if replicas is None else Override(replicas=replicas, until=until)
        self.intents[key] = replace(self.intents[key], override=wanted, changed_at=self.now)

    def order(self, subject: str, wish: Wish) -> None:
        self.orders[subject] = Order(subject=subject, wish=wish, at=self.now)

    def load(self, requests: int, name: str = "chat") -> None:
        self.demand[ServiceName(name)] = requests

    # time

    def tick(self) -> Plan:
        """One tick of a controller, then one period of time."""
        self._play()
        self._count()
        snapshot = self.snapshot()
        made = plan(snapshot)
        self._take_over(made)
        for check in self.checks:
            check(snapshot, made, self)
        for action in made.actions:
            self._begin(action)
        self.routes = made.routes
        self.events.extend(made.events)
        self.plan = made
        self.now += self.period_s
        return made

    def _count(self) -> None:
        """The gateway's counters: a request that a user keeps open is answered and sent anew every `request_s`."""
        for name in self.intents:
            served = sum(count for key, count in self.sent.items() if self.replicas[key].service == name)
            self._completed[name] = self._completed.get(name, 0.0) + served * self.period_s / self.request_s
            arrived = int(self._completed[name]) + self.demand.get(name, 0)
            self._arrived[name] = max(self._arrived.get(name, 0), arrived)

    def run(self, seconds: float) -> "World":
        for _ in range(ceil(seconds / self.period_s)):
            self.tick()
        return self

    def until(self, holds: Callable[[], bool], limit_s: float = 300.0) -> float:
        """Tick until `holds`; the seconds it took. Fails the test after `limit_s`."""
        begun = self.now
        while not holds():
            if self.now - begun > limit_s:
                raise AssertionError(f"not within {limit_s:g} s\n{self.describe()}")
            self.tick()
        return self.now - begun

    def settle(self, limit_s: float = 600.0) -> float:
        """Tick until a plan holds nothing to do and nothing is in flight."""
        begun = self.now
        while self.now - begun <= limit_s:
            made = self.tick()
            waiting = (
                self._begun
                or any(r.phase is not ReplicaPhase.READY for r in self.serving_all())
                or self.in_role(Role.DRAINING)
                or any(row.state is RolloutState.GOING and row.counts.old for row in self.rollouts.values())
                or any(i.phase not in (InstancePhase.READY, InstancePhase.STOPPED) for i in self.held())
            )
            if not (waiting or made.actions or made.instances or made.replicas or made.removed_replicas):
                return self.now - begun
        raise AssertionError(f"never at rest within {limit_s:g} s\n{self.describe()}")

    # what a test asks

    def serving(self, name: str = "chat") -> list[Replica]:
        return [r for r in self.serving_all() if r.service == name]

    def serving_all(self) -> list[Replica]:
        return [r for r in self.replicas.values() if r.role is Role.SERVING]

    def ready(self, name: str = "chat") -> list[Replica]:
        """Serving Replicas whose engines really answer."""
        return [r for r in self.serving(name) if self.answers(r)]

    def in_role(self, role: Role, phase: ReplicaPhase | None = None) -> list[Replica]:
        return [r for r in self.replicas.values() if r.role is role and phase in (None, r.phase)]

    def held(self) -> list[Instance]:
        """Instances that are not over."""
        return [instance for instance in self.instances.values() if not instance.over]

    def running(self) -> list[Machine]:
        """What the clouds would bill."""
        paid = (Sighting.BOOTING, Sighting.RUNNING, Sighting.STOPPING)
        return [machine for machine in self.machines.values() if machine.state in paid]

    def decision(self, name: str = "chat") -> Decision:
        return next(decision for decision in self.plan.decisions if decision.service == name)

    def desired(self, name: str = "chat") -> int:
        return self.decision(name).desired

    def said(self, words: str) -> list[Event]:
        return [event for event in self.events if words in event.message]

    def describe(self) -> str:
        lines = [f"now {self.now - START:g}"]
        lines += [f"  {i.id} {i.phase} wanted {i.wanted} {i.failure or ''}" for i in self.held()]
        lines += [f"  {r.id} {r.role} {r.phase} {r.revision} on {r.instance} {r.gpus}" for r in self.replicas.values()]
        lines += [f"  {d.service}: {d.current} → {d.desired}, {d.reason}" for d in self.plan.decisions]
        lines += [f"  in flight {key}" for key in self._begun]
        lines += [f"  {event.at - START:g} {event.subject}: {event.message}" for event in self.events[-12:]]
        return "\n".join(lines)

    # levers that act once

    def kill_engine(self, replica: ReplicaId) -> None:
        for machine in self.machines.values():
            if replica in machine.engines:
                machine.engines[replica].phase = ReplicaPhase.FAILED
                machine.engines[replica].failure = "killed by the test"

    def kill_machine(self, instance: InstanceId) -> None:
        """As when a cloud takes a spot Instance back."""
        machine = self.machines[instance]
        self.cut += sum(self.sent.pop(key, 0) for key in machine.engines)
        machine.state, machine.gone_at, machine.engines = Sighting.TERMINATED, self.now, {}

    def notice(self, instance: InstanceId, seconds: float, kind: NoticeKind = "spot") -> None:
        """The cloud announces that it will, or may, take the Instance in so many seconds."""
        told = Notice(kind=kind, deadline_at=self.now + seconds, detail="told by the test")
        self.machines[instance].notice = told

    def restart_controller(self, *, calls_arrived: bool) -> None:
        """What was in flight is forgotten; whether it reached the world is the test's choice."""
        for begun in self._begun.values():
            if calls_arrived:
                self._do(begun)
        self._begun.clear()
        self._outcomes.clear()
        self.fence += 1

    def lose_store(self) -> None:
        """A new, empty store; the user declares the same Services again."""
        self.restart_controller(calls_arrived=True)
        self.epoch += "x"
        self.fence = 1
        self.instances, self.replicas, self.memories, self.counters, self.places = {}, {}, {}, {}, {}
        self.rollouts, self.pins = {}, {}
        intents, self.intents = self.intents, {}
        for intent in intents.values():
            self.up(intent.service, revision=intent.revision)
            kept = self.intents[intent.service.name]
            self.intents[intent.service.name] = replace(kept, override=intent.override, up=intent.up)

    def faults_stop(self) -> None:
        self.unreachable.clear()
        self.refusals.clear()
        self.silent.clear()
        self.broken.clear()
        self.frail.clear()
        self.hanging.clear()
        self.lost_answers, self.listing_lag_s = 0, 0.0
        self.unreadable = self.gateway_down = False

    # the controller's half

    def snapshot(self) -> Snapshot:
        """What a controller's observation of this world is now."""
        providers = {offer.provider for offer in self.offers}
        pools = dict(self.pools)
        for intent in self.intents.values():
            if intent.service.pool is None:
                pools.setdefault(intent.service.pool_name, own_pool(intent.service))
        outcomes, self._outcomes = tuple(self._outcomes), []
        return Snapshot(
            now=self.now,
            fleet="test",
            epoch=self.epoch,
            fence=self.fence,
            intents=tuple(self.intents.values()),
            pools=tuple(self.pools.values()),
            instances=self.instances,
            replicas=self.replicas,
            memories=self.memories,
            counters=self.counters,
            places=self.places,
            rollouts=self.rollouts,
            pins=self.pins,
            listings={name: self._listing(name) for name in sorted(providers)},
            consistency_s=dict.fromkeys(providers, self.consistency_s),
            offers={name: tuple(o for o in self.offers if _fits(o, pool)) for name, pool in pools.items()},
            nodes={
                instance.id: self._status(instance.id)
                for instance in self.instances.values()
                if instance.address is not None
                and instance.phase in (InstancePhase.BOOTING, InstancePhase.READY)
                and instance.wanted is Wanted.RUNNING
            },
            readings={
                replica.id: self._reading(replica)
                for replica in self.replicas.values()
                if replica.phase is ReplicaPhase.READY and replica.address is not None
            },
            queues=self._queues(),
            in_flight=frozenset(self._begun),
            outcomes=outcomes,
            max_cost_per_hour=self.max_cost_per_hour,
            orders=tuple(self.orders.values()),
        )

    def _take_over(self, made: Plan) -> None:
        self.instances = {**self.instances, **{row.id: row for row in made.instances}}
        self.replicas = {**self.replicas, **{row.id: row for row in made.replicas}}
        for gone in made.removed_replicas:
            del self.replicas[gone]
        self.memories = {**self.memories, **dict(made.memories)}
        self.counters = {**self.counters, **dict(made.counters)}
        self.places = {**self.places, **{str(one.place): one for one in made.places}}
        self.rollouts = {**self.rollouts, **{one.service: one for one in made.rollouts}}
        self.pins = {name: digest for name, digest in self.pins.items() if name not in made.removed_pins}
        self.pins |= dict(made.pins)

    def _begin(self, action: Action) -> None:
        assert action.key not in self._begun, f"{action.key} was begun while in flight"
        if action.launch is not None:
            known = self.launched.setdefault(action.instance, action.launch)
            assert known == action.launch, f"{action.instance} was launched twice with different specs"
        ends_at = self.now + (0.0 if action.verb is Verb.APPLY else self.call_s)
        self._begun[action.key] = Begun(action, self.now, ends_at)

    # the world's half

    def _play(self) -> None:
        """Everything that happens up to now."""
        for key, begun in list(self._begun.items()):
            if begun.ends_at <= self.now:
                del self._begun[key]
                self._outcomes.append(self._do(begun))
        for key, machine in self.machines.items():
            notice = machine.notice
            if notice is not None and notice.kind != "rebalance" and (notice.deadline_at or self.now) <= self.now:
                machine.notice = None
                if not machine.gone:
                    self.kill_machine(key)
        for machine in self.machines.values():
            self._live(machine)
        self._send()

    def _do(self, begun: Begun) -> Outcome:
        action = begun.action
        code, retryable = self._attempt(action, begun.ends_at)
        return Outcome(
            key=action.key,
            instance=action.instance,
            verb=action.verb,
            at=begun.ends_at,
            took_s=begun.ends_at - begun.at,
            error=None if code is None else f"the test says {code}",
            error_code=code,
            retryable=retryable,
        )

    def _attempt(self, action: Action, at: float) -> tuple[str | None, bool]:
        if action.verb is Verb.APPLY:
            assert action.desired is not None
            return self._apply(action.instance, action.desired, at)
        if action.provider in self.unreachable:
            return "provider", True
        machine = self.machines.get(action.instance)
        alive = machine is not None and not machine.gone
        match action.verb:
            case Verb.LAUNCH:
                if not alive and action.provider in self.refusals:
                    return self.refusals[action.provider]
                assert action.launch is not None
                if machine is None:
                    self.machines[action.instance] = Machine(action.launch, Sighting.BOOTING, at, at + self.boot_s)
                if self.lost_answers > 0:
                    self.lost_answers -= 1
                    return "unknown_outcome", True
            case Verb.START:
                if machine is None or not alive:
                    return "gone", False
                if machine.state is Sighting.STOPPED:
                    machine.state, machine.up_at = Sighting.BOOTING, at + self.boot_s / 2
            case Verb.STOP:
                if machine is not None and alive:
                    machine.state, machine.engines = Sighting.STOPPED, {}
            case Verb.TERMINATE:
                if machine is not None and alive:
                    machine.state, machine.gone_at, machine.engines = Sighting.TERMINATED, at, {}
        return None, True

    def _apply(self, instance: InstanceId, desired: NodeDesired, at: float) -> tuple[str | None, bool]:
        machine = self.machines.get(instance)
        if machine is None or machine.state is not Sighting.RUNNING or instance in self.silent:
            return "agent", True
        if machine.epoch == desired.epoch and desired.fence < machine.fence:
            return "agent", True
        there = {key: engine.phase for key, engine in machine.engines.items()}
        awake = [spec for spec in desired.replicas if not (spec.asleep and there.get(spec.id) is ReplicaPhase.ASLEEP)]
        taken = [gpu for spec in awake for gpu in spec.gpus]
        assert len(taken) == len(set(taken)), f"two replicas share a GPU of {instance}: {desired.replicas}"
        assert all(gpu < machine.spec.offer.gpu.count for gpu in taken), f"{instance} has no such GPU: {taken}"
        machine.epoch, machine.fence, machine.generation = desired.epoch, desired.fence, desired.generation
        held = {image_name(key.name).at(digest): machine.artifacts[key] for key, digest in machine.digests.items()}
        there_at = {
            key: machine.artifacts.get(key, held.get(key.name, at + self.artifact_s)) for key in desired.artifacts
        }
        resolved = {key: self.registry[key.name] for key in desired.artifacts if key.name in self.registry}
        machine.digests = {key: machine.digests.get(key, digest) for key, digest in resolved.items()}
        machine.artifacts = there_at
        engines = {}
        for spec in desired.replicas:
            engine = machine.engines.get(spec.id) or Engine(spec, at)
            if engine.phase is ReplicaPhase.ASLEEP and not spec.asleep:
                engine.phase, engine.loads_until = ReplicaPhase.LOADING, at + self.wake_s
                engine.woken_at = at
            elif engine.phase is ReplicaPhase.READY and spec.asleep:
                engine.phase = ReplicaPhase.ASLEEP
            engine.spec = spec
            engines[spec.id] = engine
        self.cut += sum(self.sent.pop(key, 0) for key in machine.engines if key not in engines)
        machine.engines = engines
        return None, True

    def _live(self, machine: Machine) -> None:
        if machine.state is Sighting.BOOTING and machine.up_at <= self.now:
            machine.state = Sighting.RUNNING
        for engine in machine.engines.values():
            needs = [Artifact(kind="weights", name=engine.spec.model)]
            if engine.spec.image is not None:
                needs.append(Artifact(kind="image", name=engine.spec.image))
            there_at = max(machine.artifacts.get(need, self.now + 1.0) for need in needs)
            if engine.phase is ReplicaPhase.PREPARING and there_at <= self.now:
                engine.phase = ReplicaPhase.LOADING
                engine.loads_from = max(there_at, engine.asked_at)
                engine.loads_until = engine.loads_from + self.engine_s
            which = (engine.spec.service, engine.spec.revision)
            if engine.phase is ReplicaPhase.READY and which in self.frail and engine.loads_until + 4.0 <= self.now:
                engine.phase, engine.failure = ReplicaPhase.FAILED, "died at its first requests"
            if engine.phase is ReplicaPhase.LOADING and engine.loads_until <= self.now and which not in self.hanging:
                if which in self.broken:
                    engine.phase, engine.failure = ReplicaPhase.FAILED, "exit code 1"
                else:
                    engine.phase = ReplicaPhase.ASLEEP if engine.spec.asleep else ReplicaPhase.READY

    def _send(self) -> None:
        """Users' requests go to the engines, as the last routes say; a draining one keeps what it has for a while."""
        sent: dict[ReplicaId, int] = {}
        for name in self.intents:
            rows = [replica for replica in self.replicas.values() if replica.service == name and self.answers(replica)]
            open_to = [replica for replica in rows if replica.role is Role.SERVING]
            for replica in rows:
                if replica.drain_from is not None and self.now - replica.drain_from < self.request_s:
                    sent[replica.id] = self.sent.get(replica.id, 0)
            left = max(0, self.demand.get(name, 0) - sum(sent.get(replica.id, 0) for replica in rows))
            for place, replica in enumerate(open_to):
                share = ceil(left / (len(open_to) - place))
                sent[replica.id] = min(share, self.intents[name].service.concurrency) if self.gateway else share
                left -= sent[replica.id]
        self.sent = sent

    def _engine(self, replica: Replica) -> Engine | None:
        machine = self.machines.get(replica.instance) if replica.instance is not None else None
        if machine is None or machine.state is not Sighting.RUNNING:
            return None
        return machine.engines.get(replica.id)

    def answers(self, replica: Replica) -> bool:
        engine = self._engine(replica)
        return engine is not None and engine.phase is ReplicaPhase.READY

    def _listing(self, provider: ProviderName) -> Listing | Unknown:
        if provider in self.unreachable:
            return self._unknown(f"provider {provider}", "unreachable")
        self._since.pop(f"provider {provider}", None)
        lines = []
        for key, machine in self.machines.items():
            if machine.spec.offer.provider != provider or machine.created_at + self.listing_lag_s > self.now:
                continue
            state = machine.state
            if machine.gone_at is not None:
                if machine.gone_at + self.listing_lag_s <= self.now:
                    continue
                state = Sighting.RUNNING
            lines.append(
                InstanceSeen(
                    id=key,
                    pool=machine.spec.pool,
                    state=state,
                    offer=machine.spec.offer,
                    created_at=machine.created_at,
                    address=f"node:{key}",
                )
            )
        return Listing(provider=provider, at=self.now, instances=tuple(lines))

    def _status(self, instance: InstanceId) -> NodeStatus | Unknown:
        machine = self.machines.get(instance)
        if machine is None or machine.state is not Sighting.RUNNING or instance in self.silent:
            return self._unknown(f"node {instance}", "no answer")
        self._since.pop(f"node {instance}", None)
        status = NodeStatus(
            instance=instance,
            version="test",
            at=self.now + self.clock_s,
            heard_at=self.now,
            generation=machine.generation,
            epoch=machine.epoch,
            fence=machine.fence,
            artifacts=tuple(
                ArtifactStatus(
                    artifact=artifact,
                    state=ArtifactState.PRESENT if there_at <= self.now else ArtifactState.FETCHING,
                    digest=machine.digests.get(artifact, "") if there_at <= self.now else "",
                )
                for artifact, there_at in machine.artifacts.items()
            ),
            replicas=tuple(
                ReplicaStatus(
                    id=key,
                    service=engine.spec.service,
                    revision=engine.spec.revision,
                    phase=engine.phase,
                    gpus=engine.spec.gpus,
                    address=f"engine:{key}",
                    failure=engine.failure,
                    accepted_at=engine.asked_at + self.clock_s,
                    stages=engine.stages(self.engine_s, self.clock_s),
                )
                for key, engine in machine.engines.items()
            ),
            notice=machine.notice,
        )
        return replace(status, **self.node_facts)  # type: ignore[arg-type]

    def _reading(self, replica: Replica) -> Reading | Unknown:
        if self.unreadable or not self.answers(replica) or replica.instance in self.silent:
            return self._unknown(f"engine {replica.id}", "no answer")
        self._since.pop(f"engine {replica.id}", None)
        return Reading(at=self.now, running=float(self.sent.get(replica.id, 0)), waiting=0.0)

    def _queues(self) -> dict[ServiceName, QueueStats] | Unknown | None:
        if not self.gateway:
            return None
        if self.gateway_down:
            return self._unknown("gateway", "no answer")
        self._since.pop("gateway", None)
        found = {}
        for name in self.intents:
            sent = {key: count for key, count in self.sent.items() if self.replicas[key].service == name}
            found[name] = QueueStats(
                at=self.now,
                service=name,
                queued=max(0, self.demand.get(name, 0) - sum(sent.values())),
                oldest_wait_s=0.0,
                in_flight=tuple(sent.items()),
                arrived=self._arrived.get(name, 0),
                completed=int(self._completed.get(name, 0.0)),
                failed=0,
            )
        return found

    def _unknown(self, what: str, reason: str) -> Unknown:
        return Unknown(reason=reason, since=self._since.setdefault(what, self.now))


def _fits(offer: Offer, pool: Pool) -> bool:
    allowed = pool.placement.providers
    return (not allowed or offer.provider in allowed) and offer.gpu in pool.gpu


def check_laws(snapshot: Snapshot, made: Plan, world: World) -> None:
    """What holds after every tick, whatever happened."""
    for intent in snapshot.intents:
        service = intent.service
        serving = [r for r in world.replicas.values() if r.service == service.name and r.role is Role.SERVING]
        fresh = [replica for replica in serving if replica.revision == intent.revision]
        assert len(fresh) <= service.scaling.max, f"more than max\n{world.describe()}"
    taken: set[tuple[InstanceId, int]] = set()
    for replica in world.replicas.values():
        if replica.instance is None:
            continue
        instance = world.instances[replica.instance]
        assert not instance.over, f"{replica.id} is on {instance.phase} {instance.id}"
        if instance.reclaimed:
            assert replica.role is Role.DRAINING, f"{replica.id} is on {instance.id}, which goes\n{world.describe()}"
        for gpu in replica.gpus:
            assert gpu < instance.offer.gpu.count, f"{replica.id} is on GPU {gpu} of {instance.offer.gpu}"
            pool = world.pools.get(instance.pool)
            if (
                pool is not None
                and pool.standby.share
                and (replica.role, replica.phase) == (Role.ASLEEP, ReplicaPhase.ASLEEP)
            ):
                continue
            assert (instance.id, gpu) not in taken, f"two replicas on GPU {gpu} of {instance.id}\n{world.describe()}"
            taken.add((instance.id, gpu))
    made_now: dict[PoolName, int] = {}
    for row in made.instances:
        if row.id not in snapshot.instances and row.phase is InstancePhase.INTENDED:
            made_now[row.pool] = made_now.get(row.pool, 0) + 1
    limits = dict(world.pools)
    for intent in snapshot.intents:
        if intent.service.pool is None:
            limits[intent.service.pool_name] = own_pool(intent.service)
    for pool in made_now:
        held = sum(1 for instance in world.held() if instance.pool == pool)
        assert held <= limits[pool].max, f"{held} instances in a pool of {limits[pool].max}\n{world.describe()}"
