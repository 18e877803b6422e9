"""What a data plane is told by whoever steers it, and what it tells of itself."""

import asyncio
import os
import time
from typing import TYPE_CHECKING

from fleetctl.errors import Conflict
from fleetctl.gateway.access_log import AccessLog
from fleetctl.gateway.entry import Entry
from fleetctl.gateway.exchange import Exchange
from fleetctl.gateway.lines import ServiceLine
from fleetctl.gateway.measures import PlaneMeasures, stats_of
from fleetctl.gateway.pools import Pools
from fleetctl.gateway.records import Records
from fleetctl.gateway.refusals import STARTING
from fleetctl.gateway.replies import Refusal
from fleetctl.gateway.routing import Table
from fleetctl.gateway.scheduler.arbiter import FairArbiter
from fleetctl.model.keys import EntryReport
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Identity, Routes
from fleetctl.model.signals import QueueStats

if TYPE_CHECKING:
    from fleetctl.gateway.downstream import ClientConnection
    from fleetctl.gateway.upstream import UpstreamConnection


class SteeredPlane:
    """The part of a data plane that an admin interface sees."""

    def __init__(self, loop: asyncio.AbstractEventLoop, access_log: AccessLog | None) -> None:
        self.loop = loop
        self.now = time.monotonic  # not the loop's: uvloop counts whole milliseconds
        self.stopping = False
        self.shut: Refusal | None = STARTING
        """Why no request is taken at all; None: they are."""
        self.fence = 0
        self.epoch = ""
        self.held_bytes = 0
        """Of request bodies, as their clients count them."""
        self.clients: set[ClientConnection] = set()
        self.upstreams: set[UpstreamConnection] = set()
        self.entry = Entry()
        self.pools = Pools(loop)
        self.records = Records(self.now, access_log)
        self.local: FairArbiter[Exchange] | None = None
        """The arbiter, where it is in this process and this data plane hosts it."""
        self._began_at = time.time()
        self._lines: dict[ServiceName, ServiceLine] = {}
        self._table = Table()

    def route(self, routes: Routes) -> None:
        """Take the controller's view in place of the one before. Raises `Conflict` for a fence that is out of date."""
        if routes.epoch == self.epoch and routes.fence < self.fence:
            raise Conflict(
                f"these routes have fence {routes.fence}, and the gateway has already followed fence {self.fence}",
                hint="another controller has taken over; stop this one",
            )
        self.fence, self.epoch = routes.fence, routes.epoch
        if self.shut is STARTING:
            self.shut = None
        given = {route.service: route for route in routes.routes}
        self._table = Table(tuple(given.values()))
        for service, route in given.items():
            line = self._lines.get(service)
            if line is None:
                self._lines[service] = ServiceLine(route)
            else:
                line.probe_path = route.probe_path
        for service in self._lines.keys() - given.keys():
            del self._lines[service]  # what runs keeps its own reference
        if self.local is not None:
            self.local.configure(tuple(given.values()), self.now())
        self.pools.close_unlisted()

    def identify(self, identity: Identity) -> None:
        """Who may enter, in place of what was known. Raises `ValueError` for a key whose digest is none."""
        at = time.time()
        self.entry.identify(identity, at)
        if self.local is not None:
            self.local.identify(identity, self.now(), at)

    def entry_report(self) -> EntryReport:
        """Who used this gateway since it began: Tenants' tokens, and the keys used since the last report."""
        return EntryReport(
            gateway=f"{os.getpid()}/{self._began_at:.2f}",
            known=self.entry.known,
            uses=self.local.quotas.used() if self.local is not None else (),
            keys=self.entry.take_used(),
        )

    def stats(self) -> list[QueueStats]:
        return stats_of(self.measures(), time.time())

    def measures(self) -> PlaneMeasures:
        return PlaneMeasures(
            held_bytes=self.held_bytes,
            client_connections=len(self.clients),
            upstream_connections=len(self.upstreams),
            unrouted=self.records.unrouted,
            malformed=self.records.malformed,
            log_dropped=self.records.dropped,
            refusals=dict(self.records.refusals),
            services=tuple(line.measures for line in self._lines.values()),
            lines=self.local.views(self.now()) if self.local is not None else (),
        )

    @property
    def access_log(self) -> AccessLog | None:
        """May be replaced while requests run."""
        return self.records.log

    @access_log.setter
    def access_log(self, log: AccessLog | None) -> None:
        self.records.log = log

    @property
    def services(self) -> tuple[ServiceName, ...]:
        return tuple(self._lines)
