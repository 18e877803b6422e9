"""The scheduler process: one arbiter for all workers, and the place where the gateway is steered and looked at."""

import asyncio
import logging
import os
import signal
import socket
import time
from dataclasses import replace
from typing import Any, assert_never

from fleetctl.errors import Conflict, FleetError
from fleetctl.gateway.entry import Entry
from fleetctl.gateway.limits import TICK_S
from fleetctl.gateway.loops import settle_garbage
from fleetctl.gateway.measures import PlaneMeasures, stats_of
from fleetctl.gateway.scheduler.views import LineView
from fleetctl.gateway.settings import Settings
from fleetctl.gateway.starvation import Starvation
from fleetctl.gateway.steering_ports import SteeringPorts
from fleetctl.gateway.workers.controls import Apply, Call, Cut, Drain, Here, Join, Keep, Ready, Stop, Told
from fleetctl.gateway.workers.hosting import ArbiterHost
from fleetctl.gateway.workers.links import Link
from fleetctl.gateway.workers.messages import BadFrame, Up
from fleetctl.gateway.workers.posts import Post
from fleetctl.model.keys import EntryReport
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Identity, Routes
from fleetctl.model.signals import QueueStats

_log = logging.getLogger("fleetctl.gateway")


class Scheduler:
    """An `admin.Steered`: the gateway of many processes as one."""

    def __init__(self, post: Post, loop: asyncio.AbstractEventLoop) -> None:
        self.starvation = Starvation()
        self.fence = 0
        self.stopping = False
        self._post = post
        self._loop = loop
        self._epoch = ""
        self._services: tuple[ServiceName, ...] = ()
        self._began_at = time.time()
        self._entry = Entry()
        """Takes in what workers are to take in, before they are told: what it refuses would end them all."""
        self._kept: Routes | None = None
        self._over: asyncio.Future[int] = loop.create_future()
        self._orphaned = asyncio.Event()
        self._joining: set[asyncio.Task[object]] = set()
        self._host = ArbiterHost(expected=post.workers, starved=self.starvation.note, cut=self._cut)

    # an admin.Steered

    @property
    def services(self) -> tuple[ServiceName, ...]:
        return self._services

    def route(self, routes: Routes) -> None:
        self._take_routes(routes)
        if routes != self._kept:
            self._kept = routes
            self._post.control.say(Keep(routes=routes))

    def identify(self, identity: Identity) -> None:
        self._take_identity(identity)
        self._post.control.say(Keep(identity=identity))

    def entry_report(self) -> EntryReport:
        return EntryReport(
            gateway=f"{os.getpid()}/{self._began_at:.2f}",
            known=self._entry.known,
            uses=self._host.arbiter.quotas.used(),
            keys=self._host.take_used(),
        )

    def stats(self) -> list[QueueStats]:
        return stats_of(self.measures(), time.time())

    def measures(self) -> PlaneMeasures:
        """All workers' together, as they said within the last quarter of a second."""
        merged = self._host.measures()
        merged.lines = tuple(self._with_carried(view) for view in self._host.arbiter.views(self._host.now()))
        return merged

    # its life

    async def run(self) -> int:
        """The exit code."""
        post, loop = self._post, self._loop
        loop.add_reader(post.control.sock, self._controlled)
        loop.add_signal_handler(signal.SIGTERM, self._drain)
        self._apply(post.settings)
        ticking = loop.create_task(self._tick_on())
        ticking.add_done_callback(self._ticked)
        orphaned = loop.create_task(self._orphaned.wait())
        try:
            async with SteeringPorts(
                self,
                admin=post.place.admin,
                metrics=post.place.metrics,
                address=post.address,
                pid=post.guardian,
                workers=lambda: tuple(sorted(one.pid for one in self._host.workers if one.present)),
                stop=lambda: post.control.say(Stop()),
            ):
                settle_garbage()
                post.control.say(Ready())
                either: set[asyncio.Future[Any]] = {self._over, orphaned}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return await self._over
        finally:
            ticking.cancel()
            orphaned.cancel()
            loop.remove_reader(post.control.sock)
            self._host.close()
            await asyncio.sleep(0)  # one turn, in which closed links end

    async def _tick_on(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._host.advance()
            self._end_when_drained()

    def _end_when_drained(self) -> None:
        if self.stopping and not self._host.workers and not self._over.done():
            self._over.set_result(0)

    def _drain(self) -> None:
        """Until the last worker is gone: what runs there holds slots."""
        self.stopping = True
        self._end_when_drained()

    def _controlled(self) -> None:
        told = self._post.control.receive()
        if told is None:  # the first process is gone: the workers drain, and another gateway may want our ports
            self._loop.remove_reader(self._post.control.sock)
            self._orphaned.set()
            self._drain()
            return
        for one, file in told:
            self._follow(one, file)

    def _follow(self, one: Told, file: socket.socket | None) -> None:
        match one:
            case Join():
                assert file is not None
                worker = self._host.join(one.worker)
                link: Link[Up] = Link(Up, loop=self._loop, takes=worker.takes, lost=worker.lost)
                worker.linked_by(link)
                joining = self._loop.create_task(self._loop.create_unix_connection(lambda: link, sock=file))
                self._joining.add(joining)
                joining.add_done_callback(self._joining.discard)
            case Drain():
                self._drain()
            case Apply():
                try:
                    self._apply(one.settings)
                except (FleetError, ValueError) as error:
                    _log.error("routes or keys stay as they were: %s; %s", error, getattr(error, "hint", ""))
                self._post.control.say(Ready())
            case Call():
                self._post.control.say(Here())
            case _:
                assert_never(one)

    def _ticked(self, ticking: asyncio.Task[None]) -> None:
        if not ticking.cancelled() and (error := ticking.exception()) is not None and not self._over.done():
            _log.error("the scheduler cannot go on", exc_info=error)
            self._over.set_result(1)

    def _apply(self, settings: Settings) -> None:
        if settings.routes is not None:
            self._take_routes(settings.routes)
        if settings.identity is not None:
            self._take_identity(settings.identity)

    def _take_routes(self, routes: Routes) -> None:
        if routes.epoch == self._epoch and routes.fence < self.fence:
            raise Conflict(
                f"these routes have fence {routes.fence}, and the gateway has already followed fence {self.fence}",
                hint="another controller has taken over; stop this one",
            )
        self.fence, self._epoch = routes.fence, routes.epoch
        self._services = tuple(dict.fromkeys(route.service for route in routes.routes))
        self._host.configure(routes)

    def _take_identity(self, identity: Identity) -> None:
        self._entry.identify(identity, time.time())
        self._host.identify(identity)

    def _with_carried(self, view: LineView) -> LineView:
        """With the requests that an earlier scheduler had seated: they run, too."""
        carried = {
            replica: count for (service, replica, _), count in self._host.carried().items() if service == view.service
        }
        if not carried:
            return view
        in_flight = dict(view.in_flight)
        for replica, count in carried.items():
            in_flight[ReplicaId(replica)] = in_flight.get(ReplicaId(replica), 0) + count
        return replace(view, running=view.running + sum(carried.values()), in_flight=tuple(in_flight.items()))

    def _cut(self, number: int, why: Exception) -> None:
        if isinstance(why, BadFrame):
            self._post.control.say(Cut(number, str(why)))
        elif not self._over.done():
            # What the arbiter was told is half done: nobody knows which slots are taken. Begin anew.
            self._over.set_result(1)
