"""What watches the loop of `fleetctl run`, told of each tick that ended: systemd's watchdog, the log, metrics."""

import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fleetctl import __version__
from fleetctl.cli.daemon_state import daemon_log, daemon_socket
from fleetctl.cli.session import Session
from fleetctl.controller.controllers import Ticked
from fleetctl.host.health import Facts
from fleetctl.host.measures import LoopMeasures, Tick
from fleetctl.host.metrics_server import serving
from fleetctl.host.notify import Notifier, from_environment
from fleetctl.host.rotation import Rotation
from fleetctl.model.signals import Reading, Unknown
from fleetctl.views.figures import dollars, several
from fleetctl.wiring import this_holder


class Watching:
    """Takes in each tick. The watchdog is told after a tick that really ended, and by nothing else."""

    def __init__(self, notifier: Notifier, measures: LoopMeasures, rotation: Rotation) -> None:
        self._notifier = notifier
        self._measures = measures
        self._rotation = rotation
        self._ready = False

    def tick(self, ticked: Ticked) -> None:
        """A tick has ended."""
        self._measures.tick(tick_of(ticked), now=time.monotonic())
        self._rotation.check()
        status = told(ticked)
        if not self._ready:
            self._ready = True
            self._notifier.ready(status)
        self._notifier.beat(status)

    def trouble(self) -> None:
        """The store began to fail."""
        self._measures.trouble()


def notifier() -> Notifier:
    """Of this process; taken before it starts others, which must not speak for it."""
    return from_environment()


@asynccontextmanager
async def watching(now: Session, spoken: Notifier, *, listen: str | None) -> AsyncIterator[Watching]:
    """Watch the loop of this process, which holds the Lease, until the block ends."""
    measures = LoopMeasures(period_s=now.config.period_s)
    facts = Facts(version=__version__, pid=os.getpid(), holder=this_holder())
    try:
        async with serving(measures, facts, socket=daemon_socket(now.home), listen=listen):
            yield Watching(spoken, measures, Rotation(daemon_log(now.home)))
            spoken.stopping()
    finally:
        spoken.close()


def tick_of(ticked: Ticked) -> Tick:
    """What is counted of a tick."""
    snapshot, plan = ticked.snapshot, ticked.plan
    readings: dict[str, list[Reading | Unknown]] = defaultdict(list)
    for name, reading in snapshot.readings.items():
        replica = snapshot.replicas.get(name)
        if replica is not None:
            readings[str(replica.service)].append(reading)
    return Tick(
        began_at=snapshot.now,
        wall_s=ticked.wall_s,
        cpu_s=ticked.cpu_s,
        fence=snapshot.fence,
        decisions=plan.decisions,
        instances=tuple({**snapshot.instances, **{one.id: one for one in plan.instances}}.values()),
        readings=readings,
        outcomes=snapshot.outcomes,
        starts=plan.starts,
        silent_providers=tuple(
            sorted(str(name) for name, listing in snapshot.listings.items() if isinstance(listing, Unknown))
        ),
        max_cost_per_hour=snapshot.max_cost_per_hour,
    )


def told(ticked: Ticked) -> str:
    """One line on how the fleet is."""
    decisions = ticked.plan.decisions
    ready, wanted = sum(one.ready for one in decisions), sum(one.desired for one in decisions)
    billed = [one.offer.price_per_hour for one in ticked.snapshot.instances.values() if one.billed]
    price = None if None in billed else sum(price for price in billed if price is not None)
    what = f"{several(len(decisions), 'service')}, {ready}/{wanted} replicas ready"
    return f"{what}, {dollars(price)}/h, tick {1000 * ticked.wall_s:.0f} ms"
